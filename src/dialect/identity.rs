//! New ids and times of creation for a hit (`identity = "fresh"`). Every other byte is the recorded one.

use std::{ops::Range, time::SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use super::name::Dialect;
use crate::{
    http::sse::Framing,
    json::{Json, splice::Splicer},
};

/// What a new time takes in bytes, and more.
const ROOM: usize = 64;

/// `body` with a new id, the same in all its events, and created `now`. It stays as it was if the dialect has
/// no such members, or if they cannot be new: the upstream knows the id of a Responses answer.
pub(crate) fn renewed(dialect: Dialect, framing: Framing, body: &Bytes, now: SystemTime) -> Bytes {
    let mut renewal = Renewal { dialect, now, id: None, edits: Vec::new() };
    match framing.events(body) {
        Some(events) => {
            for event in events {
                let parsed = Json::parse(event.data.as_bytes());
                if let (Ok(json), Some(span)) = (parsed, event.span) {
                    renewal.read(&json, span.start);
                }
            }
        }
        None => {
            if let Ok(json) = Json::parse(body) {
                // A stream may be one list.
                std::iter::once(&json).chain(json.items()).for_each(|json| renewal.read(json, 0));
            }
        }
    }
    renewal.apply(body)
}

struct Renewal {
    dialect: Dialect,
    now: SystemTime,
    id: Option<String>,
    edits: Vec<(Range<usize>, String)>,
}

impl Renewal {
    /// Notes what changes in a document that begins at `start`.
    fn read(&mut self, json: &Json<'_>, start: usize) {
        match self.dialect {
            Dialect::OpenAiChat | Dialect::OpenAiCompletions => {
                self.renew_id(json, start);
                let seconds = crate::time::since_epoch(self.now).as_secs();
                self.replace(json, "created", start, &seconds.to_string());
            }
            // The id is a UUID, which clients may read as one.
            Dialect::CohereChat => {
                self.id.get_or_insert_with(|| Uuid::new_v4().to_string());
                self.renew_id(json, start);
            }
            Dialect::Anthropic => self.renew_id(json.get("message").unwrap_or(json), start),
            Dialect::OllamaChat | Dialect::OllamaGenerate => {
                let time = format!("\"{}\"", crate::time::rfc3339(self.now));
                self.replace(json, "created_at", start, &time);
            }
            Dialect::Gemini => {
                self.renew(json, "responseId", start, random_like);
                let time = format!("\"{}\"", crate::time::rfc3339(self.now));
                self.replace(json, "createTime", start, &time);
            }
            Dialect::OpenAiResponses
            | Dialect::OpenAiTranscription
            | Dialect::OpenAiSpeech
            | Dialect::OpenAiSearch
            | Dialect::Rag
            | Dialect::Embedding
            | Dialect::TeiEmbed
            | Dialect::TeiEmbedSparse
            | Dialect::CohereEmbed
            | Dialect::GeminiEmbed
            | Dialect::GeminiBatchEmbed
            | Dialect::OpenAiModerations
            | Dialect::Rerank
            | Dialect::TeiRerank
            | Dialect::Score
            | Dialect::Json
            | Dialect::None => {}
        }
    }

    fn renew_id(&mut self, json: &Json<'_>, start: usize) {
        self.renew(json, "id", start, like);
    }

    /// Notes that the id under `name` changes; `new` makes the new one of it.
    fn renew(&mut self, json: &Json<'_>, name: &str, start: usize, new: fn(&str) -> String) {
        let Some(id) = json.get(name).and_then(Json::as_str) else { return };
        // Some services leave the id of some chunks empty.
        if !id.is_empty() {
            let id = self.id.get_or_insert_with(|| new(id)).clone();
            self.replace(json, name, start, &format!("\"{id}\""));
        }
    }

    fn replace(&mut self, json: &Json<'_>, name: &str, start: usize, text: &str) {
        if let Some(member) = json.member(name).filter(|member| !member.value.is_null()) {
            self.edits.push((start + member.span.start..start + member.span.end, text.to_owned()));
        }
    }

    fn apply(mut self, body: &Bytes) -> Bytes {
        if self.edits.is_empty() {
            return body.clone();
        }
        self.edits.sort_by_key(|(span, _)| span.start);
        let mut splicer = Splicer::with_capacity(body, body.len() + ROOM);
        for (span, text) in self.edits {
            splicer.replace(span, text.as_bytes());
        }
        splicer.finish().into()
    }
}

/// A random id that looks like `id`: the same prefix, and as many letters and digits behind it.
fn like(id: &str) -> String {
    let prefix = id.find(['-', '_']).map_or(0, |at| at + 1);
    id[..prefix].to_owned() + &random_like(&id[prefix..])
}

/// As many letters and digits as `id` has bytes.
fn random_like(id: &str) -> String {
    id.bytes().map(|_| fastrand::alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn renew(dialect: Dialect, framing: Framing, body: &'static str) -> String {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let body = renewed(dialect, framing, &Bytes::from_static(body.as_bytes()), now);
        String::from_utf8(body.to_vec()).expect("UTF-8")
    }

    #[test]
    fn an_answer_gets_a_new_id_and_time_and_nothing_else() {
        let body = renew(
            Dialect::OpenAiChat,
            Framing::Whole,
            r#"{ "id":"chatcmpl-abc", "created" : 1, "x":"abc" }"#,
        );
        let id =
            body.strip_prefix(r#"{ "id":"chatcmpl-"#).and_then(|rest| rest.get(..3)).expect("the id's place");
        assert_ne!(id, "abc");
        assert_eq!(body, format!(r#"{{ "id":"chatcmpl-{id}", "created" : 1700000000, "x":"abc" }}"#));
    }

    #[test]
    fn all_events_of_a_stream_get_the_same_id() {
        let body = renew(
            Dialect::OpenAiChat,
            Framing::Events,
            "data: {\"id\":\"c-12345678\",\"created\":1}\n\ndata: {\"id\":\"c-12345678\",\"created\":1}\n\ndata: [DONE]\n\n",
        );
        let events: Vec<_> = body.split("\n\n").collect();
        assert_eq!(events[0], events[1]);
        assert!(!body.contains("12345678") && body.ends_with("data: [DONE]\n\n"));
    }

    #[test]
    fn each_dialect_has_its_own_members() {
        let anthropic =
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\"}}\n\n";
        assert!(renew(Dialect::Anthropic, Framing::Events, anthropic).contains("\"id\":\"msg_"));
        assert_ne!(renew(Dialect::Anthropic, Framing::Events, anthropic), anthropic);
        let cohere = "event: message-start\ndata: {\"type\":\"message-start\",\"id\":\"d93f187e-e9ac-44a9-a2d9-bdf2d65fee94\"}\n\ndata: {\"index\":0}\n\n";
        let renewed = renew(Dialect::CohereChat, Framing::Events, cohere);
        let id = renewed.split('"').nth(7).and_then(|id| id.parse::<Uuid>().ok()).expect("a UUID");
        assert_eq!(renewed.replace(&id.to_string(), "d93f187e-e9ac-44a9-a2d9-bdf2d65fee94"), cohere);
        assert_ne!(renewed, cohere);
        let ollama = "{\"created_at\":\"2020-01-01T00:00:00Z\"}\n";
        let expected = "{\"created_at\":\"2023-11-14T22:13:20.000Z\"}\n";
        assert_eq!(renew(Dialect::OllamaChat, Framing::Lines, ollama), expected);
        let gemini = r#"[{"responseId":"a-b_cdefghij","createTime":"2020-01-01T00:00:00Z"},{"responseId":"a-b_cdefghij"}]"#;
        let made = renew(Dialect::Gemini, Framing::Whole, gemini);
        let id = &made["[{\"responseId\":\"".len()..][.."a-b_cdefghij".len()];
        assert_ne!(id, "a-b_cdefghij");
        let expected =
            gemini.replace("a-b_cdefghij", id).replace("2020-01-01T00:00:00Z", "2023-11-14T22:13:20.000Z");
        assert_eq!(made, expected);
        let responses = r#"{"id":"resp_1","created":1}"#;
        assert_eq!(renew(Dialect::OpenAiResponses, Framing::Whole, responses), responses);
    }
}
