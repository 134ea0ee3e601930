//! What clients say about themselves beside the question: ids of sessions, turns and runs, and what a vendor books a
//! request under. It changes no answer, so it is not in the key.
//!
//! - This file: the tables. Each line names one header or one member of one API, and its documentation or the client
//!   that sends it.
//! - `shapes.rs`: what the value of a member must look like. Anything else stays in the key.
//!
//! `docs/CACHING.md` has the same tables with the reasons. A line belongs here only if no service that speaks the API
//! can mean something by it. `user` and `metadata` are not here: services read rights and filters from them.

mod shapes;
#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName};

use self::shapes::Shape;
use super::name::Dialect;
use crate::json::{Json, canonical::LeftOut};

/// Headers that tools for observability define, with any vendor's API.
const HEADERS: [&str; 9] = [
    // docs.helicone.ai/features/sessions
    "helicone-request-id",
    "helicone-session-id",
    "helicone-session-name",
    "helicone-session-path",
    // docs.portkey.ai, "Tracing"
    "x-portkey-parent-span-id",
    "x-portkey-span-id",
    "x-portkey-span-name",
    "x-portkey-trace-id",
    // docs.litellm.ai, "Getting the LiteLLM Call ID"
    "x-litellm-call-id",
];

/// Headers of Claude Code and the Claude Agent SDK.
const ANTHROPIC_HEADERS: [&str; 3] =
    ["x-claude-code-session-id", "x-claude-code-agent-id", "x-claude-code-parent-agent-id"];

/// Headers of Codex.
const RESPONSES_HEADERS: [&str; 4] =
    ["x-codex-turn-metadata", "x-codex-window-id", "x-codex-installation-id", "x-codex-parent-thread-id"];

/// Headers with names that a service may use for its own sessions. They are left out where another header says that
/// a client sends them that puts the whole conversation into each request.
struct OfClient {
    dialects: &'static [Dialect],
    /// The header that shows the client, and how its value begins.
    shown_by: (&'static str, &'static str),
    headers: &'static [&'static str],
}

const OF_CLIENTS: [OfClient; 2] = [
    // Codex. Older versions write `_`.
    OfClient {
        dialects: &[Dialect::OpenAiResponses],
        shown_by: ("originator", "codex"),
        headers: &["session-id", "thread-id", "session_id", "conversation_id"],
    },
    OfClient {
        dialects: &[Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Anthropic],
        shown_by: ("user-agent", "opencode/"),
        headers: &["x-session-affinity", "x-session-id", "x-parent-session-id"],
    },
];

/// A member that is left out of the key if its value has the known shape.
struct Rule {
    /// The way to it: names, [`ANY`] element of a list, [`FIRST`].
    path: &'static [&'static str],
    shape: Shape,
    /// What the member of the body must be in which the way begins.
    within: fn(&Json<'_>) -> bool,
    /// Every body that has it has this text, too, if no letter of it is escaped.
    needle: &'static str,
    /// Whether it still counts that there is such a member.
    leaves_place: bool,
}

const ANY: &str = "*";
const FIRST: &str = "0";

impl Rule {
    const fn member(path: &'static [&'static str], shape: Shape, needle: &'static str) -> Self {
        Self { path, shape, within: |_| true, needle, leaves_place: false }
    }
}

// platform.openai.com/docs/api-reference, of both APIs: where the vendor's own cache looks, how long it keeps what it
// finds, and who is asked about abuse.
const PROMPT_CACHE_KEY: Rule = Rule::member(&["prompt_cache_key"], shapes::is_text, "\"prompt_cache_key\"");
const PROMPT_CACHE_RETENTION: Rule =
    Rule::member(&["prompt_cache_retention"], shapes::is_text, "\"prompt_cache_retention\"");
const SAFETY_IDENTIFIER: Rule =
    Rule::member(&["safety_identifier"], shapes::is_text, "\"safety_identifier\"");

const CHAT: [Rule; 3] = [PROMPT_CACHE_KEY, PROMPT_CACHE_RETENTION, SAFETY_IDENTIFIER];

/// How all bodies of Codex are known.
const CODEX: &str = "\"x-codex-";

const fn of_codex(path: &'static [&'static str]) -> Rule {
    Rule::member(path, shapes::is_text_of_codex, CODEX)
}

const RESPONSES: [Rule; 11] = [
    PROMPT_CACHE_KEY,
    PROMPT_CACHE_RETENTION,
    SAFETY_IDENTIFIER,
    // Codex.
    of_codex(&["client_metadata", "root_turn_id"]),
    of_codex(&["client_metadata", "session_id"]),
    of_codex(&["client_metadata", "thread_id"]),
    of_codex(&["client_metadata", "turn_id"]),
    of_codex(&["client_metadata", "x-codex-installation-id"]),
    of_codex(&["client_metadata", "x-codex-turn-metadata"]),
    of_codex(&["client_metadata", "x-codex-window-id"]),
    // An item that the client has made, and sends whole. Items that the service has made keep theirs.
    Rule {
        within: shapes::has_no_reference,
        ..Rule::member(&["input", ANY, "id"], shapes::is_id_of_clients_item, "\"id\"")
    },
];

const ANTHROPIC: [Rule; 2] = [
    // The line that Claude Code is booked under. It is a block of its own, which is not removed, so that pointers of a
    // route lead where they did.
    Rule {
        leaves_place: true,
        ..Rule::member(&["system", FIRST, "text"], shapes::is_billing_line, "\"x-anthropic-billing-header:")
    },
    Rule::member(&["metadata", "user_id"], shapes::is_coding_session, "session"),
];

/// The members of an answer that repeat those of its request. Only the client that asked gets them.
const ECHOED: [&str; 2] = ["prompt_cache_key", "safety_identifier"];

/// The values in an answer, or in an event of its stream, that repeat what its request says of its client.
pub(super) fn echoes<'j>(json: &'j Json<'j>) -> impl Iterator<Item = std::ops::Range<usize>> + 'j {
    // An event of Responses has the response in a member.
    let objects = [Some(json), json.get("response")].into_iter().flatten();
    let echoes = objects.flat_map(|object| ECHOED.iter().filter_map(|name| object.member(name)));
    echoes.filter(|member| !member.value.is_null()).map(|member| member.span.clone())
}

/// Whether the name that ends behind `text` is one of those of [`echoes`].
pub(super) fn ends_in_echo(text: &[u8]) -> bool {
    // Most names end in other letters.
    matches!(text, [.., b'k', b'e', b'y'] | [.., b'i', b'e', b'r'])
        && ECHOED.iter().any(|name| text.ends_with(name.as_bytes()))
}

impl Dialect {
    /// The dialect's own rules and headers.
    const fn client_info(self) -> (&'static [Rule], &'static [&'static str]) {
        match self {
            Self::OpenAiChat => (&CHAT, &[]),
            Self::OpenAiResponses => (&RESPONSES, &RESPONSES_HEADERS),
            Self::Anthropic => (&ANTHROPIC, &ANTHROPIC_HEADERS),
            _ => (&[], &[]),
        }
    }

    /// Whether answers repeat what the request says of its client, as an API that is known to do so.
    pub(crate) const fn echoes_client_info(self) -> bool {
        matches!(self, Self::OpenAiResponses)
    }

    /// What of a request's body tells of its client alone, in the order of the text.
    pub(crate) fn left_out(self, body: &Json<'_>) -> Vec<LeftOut> {
        let (rules, _) = self.client_info();
        let mut found = Vec::new();
        for member in body.members() {
            let leads_there = |rule: &&Rule| rule.path[0] == member.name && (rule.within)(&member.value);
            for rule in rules.iter().filter(leads_there) {
                if rule.path.len() == 1 {
                    rule.check(body, &mut found);
                } else {
                    rule.follow(&member.value, &rule.path[1..], &mut found);
                }
            }
        }
        found.sort_unstable_by_key(|left_out| left_out.at);
        found
    }

    /// Whether a body with this text may have something that tells of its client alone.
    pub(crate) fn may_leave_out(self, body: &[u8]) -> bool {
        let (rules, _) = self.client_info();
        rules.iter().any(|rule| memchr::memmem::find(body, rule.needle.as_bytes()).is_some())
    }

    /// Whether a request header tells of the client alone, whoever sends it.
    pub(crate) fn leaves_out_header(self, name: &HeaderName) -> bool {
        let (_, own) = self.client_info();
        self.is_a_vendors() && (HEADERS.contains(&name.as_str()) || own.contains(&name.as_str()))
    }

    /// Whether some known client tells of itself in the header `name`.
    pub(crate) fn has_client_with_header(self, name: &HeaderName) -> bool {
        OF_CLIENTS
            .iter()
            .any(|client| client.headers.contains(&name.as_str()) && client.dialects.contains(&self))
    }

    /// Whether the header `name` among `headers` tells of the client alone, since a known one sends it.
    pub(crate) fn leaves_out_header_of_client(self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let is_shown = |(header, beginning): (&str, &str)| {
            let mut lines = headers.get_all(header).iter();
            let shows = |line: &http::HeaderValue| line.as_bytes().starts_with(beginning.as_bytes());
            lines.next().is_some_and(shows) && lines.next().is_none()
        };
        OF_CLIENTS.iter().any(|client| {
            client.headers.contains(&name.as_str())
                && client.dialects.contains(&self)
                && is_shown(client.shown_by)
        })
    }
}

impl Rule {
    /// Finds the member at the rest `path` of the way from `json`.
    fn follow(&self, json: &Json<'_>, path: &[&str], found: &mut Vec<LeftOut>) {
        match path {
            [] | [_] => self.check(json, found),
            [ANY, rest @ ..] => json.items().iter().for_each(|item| self.follow(item, rest, found)),
            [FIRST, rest @ ..] => {
                json.items().first().into_iter().for_each(|item| self.follow(item, rest, found));
            }
            [name, rest @ ..] => {
                json.get(name).into_iter().for_each(|inner| self.follow(inner, rest, found));
            }
        }
    }

    /// Adds the last member of the way, which `object` may have.
    fn check(&self, object: &Json<'_>, found: &mut Vec<LeftOut>) {
        let last = self.path.last().and_then(|name| object.member(name));
        if let Some(member) = last.filter(|member| (self.shape)(&member.value, object)) {
            found.push(LeftOut { at: member.span.start, leaves_place: self.leaves_place });
        }
    }
}
