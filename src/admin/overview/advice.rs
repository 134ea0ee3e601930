//! What each reason means and what to do about it, in a line each: `docs/CACHING.md` in short. Pure.

use crate::reason::Reason;

/// What an operator should know about a reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advice {
    pub(super) means: &'static str,
    pub(super) to_do: &'static str,
}

/// Nothing is wrong.
const NOTHING: &str = "Nothing to do: this is as it should be.";

const SERVICE_LOG: &str = "Look into the service's log.";

const MEND_CLIENT: &str = "Mend the client.";

/// The compiler sees that no reason is missing.
pub(super) const fn advice(reason: Reason) -> Advice {
    let (means, to_do) = match reason {
        Reason::NoRoute => (
            "No route covers the method and path.",
            "Write a [[route]], or take a preset; `sidecache check` lists the routes.",
        ),
        Reason::RouteOff => (
            "The route says cache = false, or its mode does not cache the method.",
            "Take cache = false away, if answers may be shared.",
        ),
        Reason::Method => (
            "The route covers any method, and this one changes something.",
            "Name the method in the route's match, if it only asks.",
        ),
        Reason::Upgrade => ("The connection becomes a WebSocket or the like.", NOTHING),
        Reason::DotSegment => ("The path has a dot segment.", "Send the path that is meant."),
        Reason::NotJson => (
            "A built-in route fits, and the request is not said to be JSON.",
            "Send Content-Type: application/json.",
        ),
        Reason::NotInDialect => (
            "A built-in route fits, and the body lacks what its API requires.",
            "Send it, or write a [[route]].",
        ),
        Reason::RequestTooLarge => (
            "A built-in route for files fits, and the body is larger than limits.max_body.",
            "Raise limits.max_body.",
        ),
        Reason::RequestNoStore => (
            "The request says Cache-Control: no-store.",
            "Do not send it, or set honor_request_cache_control = false.",
        ),
        Reason::RequestNoCache => (
            "The request says Cache-Control: no-cache. Its answer is stored.",
            "Do not send it, or set honor_request_cache_control = false.",
        ),
        Reason::RequestRange => ("The request asks for a part.", "Ask for the whole, if that will do."),
        Reason::RequestEncoded => (
            "The request's body is compressed in a way that is not read.",
            "Send it plain, or as gzip or zstd.",
        ),
        Reason::RequestNotJson => (
            "The request's body should be JSON and is not.",
            "Send JSON as application/json, or set dialect = \"none\".",
        ),
        Reason::RequestNotInDialect => (
            "The request's body is not what the route's dialect requires.",
            "Check the route's dialect, or leave it out.",
        ),
        Reason::RequestRepeatedMember => ("An object in the body has a member twice.", MEND_CLIENT),
        Reason::RequestLoneSurrogate => ("A text in the body has half a surrogate pair.", MEND_CLIENT),
        Reason::RequestTooDeep => ("The body is nested more than 128 deep.", MEND_CLIENT),
        Reason::RequestBackground => (
            "The request asks for work in the background.",
            "Ask without background, if the answer may be shared.",
        ),
        Reason::RequestSigned => (
            "The request is signed over its body, and the service would get only a part of that.",
            "Send one input with each request, or leave out the signature.",
        ),
        Reason::RequestMethod => ("Answers to this method have no body.", NOTHING),
        Reason::RequestPrecondition => {
            ("The request has a condition that only the service can judge.", NOTHING)
        }
        Reason::TtlZero => ("The TTL is zero.", "Set a ttl for the route, or send no X-Cache-TTL: 0."),
        Reason::Status => ("The service did not answer 200.", SERVICE_LOG),
        Reason::Encoded => (
            "The answer came compressed though nobody asked for that.",
            "Compress in front of sidecache and not in the service.",
        ),
        Reason::NoStore => (
            "The answer says Cache-Control: no-store.",
            "Have the service leave it out, if answers may be shared.",
        ),
        Reason::Private => (
            "The answer says Cache-Control: private.",
            "Have the service leave it out, if answers may be shared.",
        ),
        Reason::NoCache => ("The answer says Cache-Control: no-cache.", "Have the service leave it out."),
        Reason::NoFreshness => (
            "The answer does not say how long it is fresh.",
            "Have the service say max-age, or no-cache with an ETag.",
        ),
        Reason::Authorization => (
            "The request had an Authorization, and the answer is not said to be for others.",
            "Have the service say public or s-maxage.",
        ),
        Reason::SetCookie => {
            ("The answer sets a cookie.", "Set set_cookie = \"strip\", if the cookie does not matter.")
        }
        Reason::Vary => (
            "The answer varies on a header that is not in the key.",
            "Name that header in the route's scope.",
        ),
        Reason::TooLarge => ("The answer is larger than store.max_entry.", "Raise store.max_entry."),
        Reason::Truncated => (
            "The answer was cut off, or failed.",
            "The log's error line with the same request_id says who broke it off.",
        ),
        Reason::Unframed => (
            "Nothing shows where the answer ends.",
            "Have the service send a Content-Length, or set framing.",
        ),
        Reason::NoProperEnd => {
            ("The stream came without its end.", "Name its end in the route's stream_end.")
        }
        Reason::UnknownEnd => (
            "The answer ended with an unknown word; the log has it as metadata.end.",
            "Name the word in the route's good_ends, if it ends an answer well.",
        ),
        Reason::ErrorEvent => ("An event of the stream reports an error.", SERVICE_LOG),
        Reason::AnswerError => ("The answer reports an error, though its status is 200.", SERVICE_LOG),
        Reason::AnswerIncomplete => (
            "The answer lacks what the route's require asks for.",
            "Look at the service's answer, or change require.",
        ),
        Reason::NotAsAsked => ("The request asked for JSON, and the answer's text is not JSON.", SERVICE_LOG),
        Reason::UnreadVectors => ("The answer is not one vector for each input.", SERVICE_LOG),
        Reason::UnreadBatch => (
            "The answer has not one element for each input.",
            "Compare the route's batch_answer with an answer.",
        ),
        Reason::UnreadScores => ("The answer is not one score for each document.", SERVICE_LOG),
        Reason::Invalid => {
            ("The answer is not what its dialect defines.", "Check the route's dialect; json takes any JSON.")
        }
        Reason::Empty => ("The answer says nothing.", SERVICE_LOG),
        Reason::Filtered => ("A filter held the answer back, or the model refused.", NOTHING),
        Reason::Length => (
            "The answer was cut at a length that the request did not set.",
            "Set the limit in the request, for example max_tokens.",
        ),
        Reason::ToolCalls => (
            "The answer calls tools, and the route says cache_tool_calls = false.",
            "Take that away, if the tools change nothing.",
        ),
        Reason::OpensConversation => ("The answer opens a conversation for its caller.", NOTHING),
        Reason::ConversationTurn => (
            "A turn of a conversation, which changes with it.",
            "Name the member in the route's ignore, if answers do not depend on it.",
        ),
        Reason::OtherFormKept => ("The answer that is stored already serves more forms.", NOTHING),
        Reason::Retired => ("What it depends on changed while it was running.", NOTHING),
        Reason::Settling => ("The service still works on a change of what it depends on.", NOTHING),
        Reason::TooManyTags => ("The answer names more than 1,000 tags.", "Name fewer in the route's tags."),
        Reason::StoreUnavailable => (
            "Redis is out of reach, refuses writes, or is too slow.",
            "Look at Redis, and at the log's store lines.",
        ),
        Reason::Unfinished => ("The answer says that it is not finished. It is stored for 5 s.", NOTHING),
        Reason::Unproven => (
            "It does not show that a model answered. It is stored for 10 s.",
            "If it is an error, name its text in the route's error.",
        ),
    };
    Advice { means, to_do }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_line_of_meaning_and_one_of_advice() {
        for reason in Reason::ALL {
            let Advice { means, to_do } = advice(*reason);
            for text in [means, to_do] {
                assert!((10..=90).contains(&text.len()), "{reason:?}: {text}");
                assert!(text.ends_with('.') && !text.contains('\n'), "{reason:?}: {text}");
            }
        }
    }

    /// What is named in advice for the configuration exists.
    #[test]
    fn advice_names_settings_that_exist() {
        let known = include_str!("../../../docs/CONFIGURATION.md");
        for reason in Reason::ALL {
            let Advice { means, to_do } = advice(*reason);
            let words = means.split(' ').chain(to_do.split(' '));
            for word in words.filter(|word| word.contains('_')) {
                let word = word.trim_end_matches([',', '.']);
                let is_metadata = ["request_id", "max_tokens"].contains(&word);
                assert!(is_metadata || known.contains(word), "{reason:?}: {word}");
            }
        }
    }
}
