//! Why a request did not go by the store, or an answer was not stored. Every "no" has a name, and a row in
//! `docs/CACHING.md` that says what to do about it.

/// Why a request did not go by the store, or an answer was not stored. Every "no" has one of these; its name
/// is in the log and in `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request said `Cache-Control: no-store`.
    RequestNoStore,
    /// The request said `Cache-Control: no-cache`: answered by the upstream, and stored.
    RequestNoCache,
    /// The request asks for a part of the answer.
    RequestRange,
    /// The request's body is compressed.
    RequestEncoded,
    /// The request's body should be JSON and is not.
    RequestNotJson,
    /// The request's body is not what its route's dialect requires.
    RequestNotInDialect,
    /// An object in the request's body has a member twice: parsers differ on what that means.
    RequestRepeatedMember,
    /// A string in the request's body has half a surrogate pair: parsers differ on what that means.
    RequestLoneSurrogate,
    /// The request's body is nested too deep.
    RequestTooDeep,
    /// The request's method is none whose answers are kept.
    RequestMethod,
    /// The request has a condition that only the upstream can evaluate.
    RequestPrecondition,
    /// The route's TTL, or the request's `X-Cache-TTL`, is zero.
    TtlZero,
    /// The answer is not a 200.
    Status,
    /// The answer is compressed though that was not asked for.
    Encoded,
    /// The answer said `Cache-Control: no-store`.
    NoStore,
    /// The answer said `Cache-Control: private`.
    Private,
    /// The answer said `Cache-Control: no-cache`, and is no answer to a question.
    NoCache,
    /// The answer does not say how long it is fresh, and cannot be validated.
    NoFreshness,
    /// The request had an `Authorization`, and the answer does not say that others may have it.
    Authorization,
    /// The answer sets a cookie.
    SetCookie,
    /// The answer varies on something that is not in the key.
    Vary,
    /// The answer is larger than `store.max_entry`.
    TooLarge,
    /// The answer was cut off, or failed.
    Truncated,
    /// Nothing shows where the answer should end, so a cut would not be seen.
    Unframed,
    /// The stream ended without its dialect's end.
    NoProperEnd,
    /// The answer ended with a word that is not known to end an answer well.
    UnknownEnd,
    /// The stream tells of an error.
    ErrorEvent,
    /// The answer tells of an error, though its status is a 200.
    AnswerError,
    /// The request asked for JSON, and the answer's text is none.
    NotAsAsked,
    /// The answer is not one vector of numbers for each input.
    UnreadVectors,
    /// The answer is not what its dialect defines.
    Invalid,
    /// The answer says nothing.
    Empty,
    /// The answer was held back by a filter, or refused.
    Filtered,
    /// The answer was cut at a length that the request did not set.
    Length,
    /// The answer calls tools, and the route does not store those.
    ToolCalls,
    /// The answer opens a conversation for its own caller.
    OpensConversation,
    /// The request is a turn of a conversation, which the turn itself changes.
    ConversationTurn,
    /// The stored answer serves both forms, which this one does not.
    OtherFormKept,
    /// Something that the answer depends on was changed, or purged, while it was running.
    Retired,
    /// The answer names more tags than an entry can have.
    TooManyTags,
    /// The store is out of reach.
    StoreUnavailable,
    /// The answer says that it is not finished: it is stored, for a moment.
    Unfinished,
}

impl Reason {
    /// The name in the log and in `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestNoStore => "request-no-store",
            Self::RequestNoCache => "request-no-cache",
            Self::RequestRange => "request-range",
            Self::RequestEncoded => "request-encoded",
            Self::RequestNotJson => "request-not-json",
            Self::RequestNotInDialect => "request-not-in-dialect",
            Self::RequestRepeatedMember => "request-repeated-member",
            Self::RequestLoneSurrogate => "request-lone-surrogate",
            Self::RequestTooDeep => "request-too-deep",
            Self::RequestMethod => "request-method",
            Self::RequestPrecondition => "request-precondition",
            Self::TtlZero => "ttl-zero",
            Self::Status => "status",
            Self::Encoded => "encoded",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::NoFreshness => "no-freshness",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::Vary => "vary",
            Self::TooLarge => "too-large",
            Self::Truncated => "truncated",
            Self::Unframed => "unframed",
            Self::NoProperEnd => "no-proper-end",
            Self::UnknownEnd => "unknown-end",
            Self::ErrorEvent => "error-event",
            Self::AnswerError => "answer-error",
            Self::NotAsAsked => "not-as-asked",
            Self::UnreadVectors => "unread-vectors",
            Self::Invalid => "invalid",
            Self::Empty => "empty",
            Self::Filtered => "filtered",
            Self::Length => "length",
            Self::ToolCalls => "tool-calls",
            Self::OpensConversation => "opens-conversation",
            Self::ConversationTurn => "conversation-turn",
            Self::OtherFormKept => "other-form-kept",
            Self::Retired => "retired",
            Self::TooManyTags => "too-many-tags",
            Self::StoreUnavailable => "store-unavailable",
            Self::Unfinished => "unfinished",
        }
    }
}
