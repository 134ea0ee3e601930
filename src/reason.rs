//! Why a request was passed through, did not ask the store, or its answer was not stored. Every "no" has a name, and a row in
//! `docs/CACHING.md` that says what to do about it.

/// Makes the enum, the list of its variants and their names from one table, so that none can be missing in
/// another.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $reason:ident => $name:literal,)*) => {
        /// Why a request was passed through, did not ask the store, or its answer was not stored.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])* $reason,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            /// The name in the log and in `Cache-Status`. It never changes.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// No route covers the request.
    NoRoute => "no-route",
    /// The request's route caches nothing, or not the method that it names.
    RouteOff => "route-off",
    /// The request's route covers all methods, and does not cache answers to this one.
    Method => "method",
    /// The request asks its connection to become another protocol's.
    Upgrade => "upgrade",
    /// The request's path has a dot segment, so that the service may take it for another one.
    DotSegment => "dot-segment",
    /// The request's route is built in and covers JSON, and the body is of another type.
    NotJson => "not-json",
    /// The request's route is built in, and the body lacks what the route's API requires.
    NotInDialect => "not-in-dialect",
    /// The request's route is built in and for files, and the body is larger than `limits.max_body`.
    RequestTooLarge => "request-too-large",
    /// The request said `Cache-Control: no-store`.
    RequestNoStore => "request-no-store",
    /// The request said `Cache-Control: no-cache`: answered by the upstream, and stored.
    RequestNoCache => "request-no-cache",
    /// The request asks for a part of the answer.
    RequestRange => "request-range",
    /// The request's body is compressed in a way that is not read.
    RequestEncoded => "request-encoded",
    /// The request's body should be JSON and is not.
    RequestNotJson => "request-not-json",
    /// The request's body is not what its route's dialect requires.
    RequestNotInDialect => "request-not-in-dialect",
    /// An object in the request's body has a member twice: parsers differ on what that means.
    RequestRepeatedMember => "request-repeated-member",
    /// A string in the request's body has half a surrogate pair: parsers differ on what that means.
    RequestLoneSurrogate => "request-lone-surrogate",
    /// The request's body is nested too deep.
    RequestTooDeep => "request-too-deep",
    /// The service answers the request before the work is done, which goes on under the answer's id.
    RequestBackground => "request-background",
    /// The request is signed over its body, and the service would get only a part of that.
    RequestSigned => "request-signed",
    /// Answers to the request's method are not stored.
    RequestMethod => "request-method",
    /// The request has a condition that only the upstream can evaluate.
    RequestPrecondition => "request-precondition",
    /// The route's TTL, or the request's `X-Cache-TTL`, is zero.
    TtlZero => "ttl-zero",
    /// The answer is not a 200.
    Status => "status",
    /// The answer is compressed though that was not asked for.
    Encoded => "encoded",
    /// The answer said `Cache-Control: no-store`.
    NoStore => "no-store",
    /// The answer said `Cache-Control: private`.
    Private => "private",
    /// The answer said `Cache-Control: no-cache`, and does not answer a question.
    NoCache => "no-cache",
    /// The answer does not say how long it is fresh, and cannot be revalidated.
    NoFreshness => "no-freshness",
    /// The request had an `Authorization`, and the answer does not say that others may have it.
    Authorization => "authorization",
    /// The answer sets a cookie.
    SetCookie => "set-cookie",
    /// The answer varies on something that is not in the key.
    Vary => "vary",
    /// The answer is larger than `store.max_entry`.
    TooLarge => "too-large",
    /// The answer was cut off, or failed.
    Truncated => "truncated",
    /// Nothing shows where the answer should end, so that a cut would not be seen.
    Unframed => "unframed",
    /// The stream ended without its dialect's end.
    NoProperEnd => "no-proper-end",
    /// The answer ended with a word that is not known to end an answer well.
    UnknownEnd => "unknown-end",
    /// An event of the stream reports an error.
    ErrorEvent => "error-event",
    /// The answer reports an error, though its status is 200.
    AnswerError => "answer-error",
    /// The answer lacks something that the route requires.
    AnswerIncomplete => "answer-incomplete",
    /// The request asked for JSON, and the answer's text is not JSON.
    NotAsAsked => "not-as-asked",
    /// The answer is not one vector of numbers for each input.
    UnreadVectors => "unread-vectors",
    /// The answer to a batch does not have one element for each input where the route says, or repeats an id of its
    /// caller.
    UnreadBatch => "unread-batch",
    /// The answer does not have the results that were asked for, each with a number for its score.
    UnreadScores => "unread-scores",
    /// The answer is not what its dialect defines.
    Invalid => "invalid",
    /// The answer says nothing.
    Empty => "empty",
    /// The answer was held back by a filter, or refused.
    Filtered => "filtered",
    /// The answer was cut at a length that the request did not set.
    Length => "length",
    /// The answer calls tools, and the route does not store those.
    ToolCalls => "tool-calls",
    /// The answer opens a conversation for the client that asked.
    OpensConversation => "opens-conversation",
    /// The request is a turn of a conversation, which the turn itself changes.
    ConversationTurn => "conversation-turn",
    /// The stored answer serves both forms, and this one does not.
    OtherFormKept => "other-form-kept",
    /// Something that the answer depends on was changed or purged while it was running.
    Retired => "retired",
    /// The service still works on a change of something that the answer depends on.
    Settling => "settling",
    /// The answer names more tags than an entry can have.
    TooManyTags => "too-many-tags",
    /// The store does not answer.
    StoreUnavailable => "store-unavailable",
    /// The answer says that it is not finished. It is stored for a moment.
    Unfinished => "unfinished",
    /// The answer was stored for a short time: it does not say that a model has generated a token.
    Unproven => "unproven",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names in the first column of the tables of reasons in `docs/CACHING.md`.
    fn documented() -> BTreeSet<&'static str> {
        let tables = include_str!("../docs/CACHING.md").split("\n| reason |").skip(1);
        let rows = tables.flat_map(|table| table.lines().skip(1).take_while(|line| line.starts_with('|')));
        let cells = rows.filter_map(|row| row.strip_prefix("| ")?.split(" |").next());
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
    }

    #[test]
    fn every_reason_has_a_row_that_says_what_to_do() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len(), "two reasons of one name");
        assert_eq!(documented(), names);
    }
}
