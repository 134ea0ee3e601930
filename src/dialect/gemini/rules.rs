//! How the chunks of a stream make the document (ai.google.dev/api/generate-content, "GenerateContentResponse"; Vertex
//! AI's reference has a few members more).

use crate::dialect::merge::{Members, Rule};

/// The members of a chunk beside its candidates.
pub(super) const ANSWER: &Members = &Members {
    known: &[
        ("promptFeedback", Rule::Members(ALL_SAME)),
        ("usageMetadata", Rule::Members(USAGE)),
        ("modelVersion", Rule::Same),
        ("responseId", Rule::Same),
        ("createTime", Rule::Same),
        ("modelStatus", Rule::Same),
        // They would make an event of the answer that reports something else.
        ("error", Rule::Refused),
        ("type", Rule::Refused),
        ("event", Rule::Refused),
        ("object", Rule::Refused),
    ],
    other: Rule::Once,
};

/// The counts so far, which each chunk may have ("UsageMetadata").
const USAGE: &Members = &Members {
    known: &[
        ("promptTokenCount", Rule::Last),
        ("cachedContentTokenCount", Rule::Last),
        ("candidatesTokenCount", Rule::Last),
        ("toolUsePromptTokenCount", Rule::Last),
        ("thoughtsTokenCount", Rule::Last),
        ("totalTokenCount", Rule::Last),
        ("promptTokensDetails", Rule::Last),
        ("cacheTokensDetails", Rule::Last),
        ("candidatesTokensDetails", Rule::Last),
        ("toolUsePromptTokensDetails", Rule::Last),
    ],
    other: Rule::Same,
};

/// The members that say which answer a chunk is of.
pub(super) const IDENTITY: [&str; 3] = ["modelVersion", "responseId", "createTime"];

/// The members of a candidate beside its content.
///
/// Whether averages and counts are those of a chunk or of the answer so far is not known: they are in one chunk only.
/// The indices within `groundingMetadata` are those of its own lists, so two of them never become one.
pub(super) const CANDIDATE: &Members = &Members {
    known: &[
        ("index", Rule::Same),
        ("finishReason", Rule::Same),
        ("finishMessage", Rule::Same),
        ("safetyRatings", Rule::Same),
        ("citationMetadata", Rule::Members(CITATIONS)),
        ("groundingMetadata", Rule::Members(ALL_SAME)),
        ("urlContextMetadata", Rule::Members(ALL_SAME)),
        (LOGPROBS, Rule::Members(LOGPROB_LISTS)),
    ],
    other: Rule::Once,
};

/// The members of a candidate's content beside its parts.
pub(super) const CONTENT: &Members = &Members { known: &[("role", Rule::Same)], other: Rule::Once };

/// The member for the log-probabilities of a candidate.
pub(super) const LOGPROBS: &str = "logprobsResult";

/// Its lists, with an element for each token: the chosen one, and those that it was chosen from.
pub(super) const TOKEN_LISTS: [&str; 2] = ["chosenCandidates", "topCandidates"];

const LOGPROB_LISTS: &Members =
    &Members { known: &[(TOKEN_LISTS[0], Rule::List), (TOKEN_LISTS[1], Rule::List)], other: Rule::Once };

/// Vertex AI's list, and the Gemini API's.
const CITATIONS: &Members =
    &Members { known: &[("citations", Rule::News), ("citationSources", Rule::News)], other: Rule::Once };

const ALL_SAME: &Members = &Members { known: &[], other: Rule::Same };
