//! `POST /api/v1/query` and `POST /api/v1/chat`: questions in the shape that RAG services tend to have.

use super::answer::{Answer, Question, Source, Usage, answer};
use super::http::{Failure, Reply, event, json_body, json_reply, stream_reply};
use super::{Service, conversations, text};
use ::http::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const DEFAULT_TOP_K: usize = 5;
const MAX_TOP_K: usize = 50;

/// The body of both endpoints. Members that are not named here have no effect.
#[derive(Deserialize)]
struct Ask {
    #[serde(alias = "question", alias = "message")]
    query: String,
    top_k: Option<usize>,
    use_hybrid: Option<bool>,
    stream: Option<bool>,
    conversation_id: Option<String>,
}

impl Ask {
    fn read(body: &[u8]) -> Result<Self, Failure> {
        let ask: Self = json_body(body)?;
        if ask.query.trim().is_empty() {
            return Err(Failure::invalid(Some("query"), "the question is empty"));
        }
        if !(1..=MAX_TOP_K).contains(&ask.top_k()) {
            return Err(Failure::invalid(Some("top_k"), &format!("must be between 1 and {MAX_TOP_K}")));
        }
        Ok(ask)
    }

    fn top_k(&self) -> usize {
        self.top_k.unwrap_or(DEFAULT_TOP_K)
    }

    fn question<'a>(&'a self, previous: Option<&'a str>) -> Question<'a> {
        let hybrid = self.use_hybrid.unwrap_or(false);
        Question { text: &self.query, previous, top_k: self.top_k(), hybrid }
    }
}

/// An answer within a conversation says which.
#[derive(Serialize)]
struct Turn<'a> {
    #[serde(flatten)]
    answer: &'a Answer,
    conversation_id: &'a str,
}

/// `POST /api/v1/query`: one question, nothing remembered.
pub(super) async fn query(service: &Service, body: &[u8]) -> Result<Reply, Failure> {
    let ask = Ask::read(body)?;
    let answer = answer(service.library().index(), &ask.question(None));
    if ask.stream == Some(true) {
        return Ok(stream_reply(events(&answer, None), service.delay));
    }
    tokio::time::sleep(service.delay).await;
    Ok(json_reply(StatusCode::OK, &answer))
}

/// `POST /api/v1/chat`: a question in a conversation, which is opened if none is named.
pub(super) async fn chat(service: &Service, body: &[u8]) -> Result<Reply, Failure> {
    let ask = Ask::read(body)?;
    let previous = match ask.conversation_id.as_deref() {
        Some(id) => service.conversations().last_question(id).ok_or_else(conversations::not_found)?,
        None => None,
    };
    let answer = answer(service.library().index(), &ask.question(previous.as_deref()));

    // The turn is taken once it has its answer; how long this takes to tell is the wire's business.
    let id = service
        .conversations()
        .append(ask.conversation_id.as_deref(), &ask.query, &answer.answer)
        .ok_or_else(conversations::not_found)?;
    if ask.stream == Some(true) {
        return Ok(stream_reply(events(&answer, Some(&id)), service.delay));
    }
    tokio::time::sleep(service.delay).await;
    Ok(json_reply(StatusCode::OK, &Turn { answer: &answer, conversation_id: &id }))
}

/// The first events of a stream: a few words each.
#[derive(Serialize)]
struct Delta {
    delta: String,
}

/// The last one: everything else that a whole answer has.
#[derive(Serialize)]
struct Rest<'a> {
    sources: &'a [Source],
    model: &'static str,
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<&'a str>,
}

fn events(answer: &Answer, conversation_id: Option<&str>) -> Vec<Bytes> {
    let pieces = text::word_groups(&answer.answer).into_iter();
    let mut events: Vec<Bytes> = pieces.map(|delta| event(&Delta { delta })).collect();
    let Answer { sources, model, usage, .. } = answer;
    events.push(event(&Rest { sources, model, usage: *usage, conversation_id }));
    events
}

#[cfg(test)]
mod tests {
    use super::super::documents::{Document, Library};
    use super::super::http::read_event;
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_question_has_three_names() {
        for member in ["query", "question", "message"] {
            let ask =
                Ask::read(format!(r#"{{"{member}": "Why?", "extra": 1}}"#).as_bytes()).expect("a question");
            assert_eq!((ask.query.as_str(), ask.top_k()), ("Why?", DEFAULT_TOP_K));
        }
        for bad in ["", "{}", r#"{"query": " "}"#, r#"{"query": 1}"#, r#"{"query": "a", "top_k": 0}"#] {
            assert!(Ask::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stream_tells_the_same_as_the_whole_answer() {
        let text = "Redis keeps the entries for as long as their time to live says.";
        let library = Library::new(vec![Document { id: "a".into(), title: "A".into(), text: text.into() }]);
        let ask = Ask::read(br#"{"query": "Who keeps entries?"}"#).expect("a question");
        let answer = answer(library.index(), &ask.question(None));
        let events = events(&answer, Some("c1"));
        let events: Vec<Value> = events.iter().map(|event| read_event(event)).collect();
        let told: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(told, answer.answer);
        let last = events.last().expect("a last event");
        assert_eq!(last["sources"][0]["document_id"], "a");
        assert_eq!(last["conversation_id"], "c1");
    }
}
