//! `POST /v1/chat/completions` and `GET /v1/models`: the same answers in OpenAI's shape.

use super::answer::{MODEL, Question, Usage, research};
use super::http::{Failure, Reply, json_reply, openai_body};
use super::{Service, openai_stream, text, unix_time};
use ::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

const MAX_CHOICES: usize = 16;
const TOP_K: usize = 5;

/// What has an effect here. Other members are accepted and change nothing: there is no temperature to set.
#[derive(Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<usize>,
    /// The old name of the next one.
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "content must be a string or an array of text parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// Parts without a text are pictures and sounds, which this service cannot read and so refuses.
#[derive(Deserialize)]
struct Part {
    text: String,
}

/// A completion before it is written as JSON or as a stream.
pub(super) struct Completion {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Usage,
}

/// One of the answers.
pub(super) struct Choice {
    pub(super) content: String,
    pub(super) finish_reason: &'static str,
}

/// `POST /v1/chat/completions`
pub(super) async fn chat_completions(service: &Service, body: &[u8]) -> Result<Reply, Failure> {
    let request: Request = openai_body(body)?;
    let completion = complete(service, &request)?;
    if request.stream == Some(true) {
        let include_usage = request.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
        return Ok(openai_stream::reply(&completion, include_usage, service.delay));
    }
    tokio::time::sleep(service.delay).await;
    Ok(json_reply(StatusCode::OK, &Written::from(&completion)))
}

/// `GET /v1/models`
pub(super) fn models() -> Reply {
    let model = |id: &str| json!({ "id": id, "object": "model", "created": 0, "owned_by": "rag-service" });
    json_reply(StatusCode::OK, &json!({ "object": "list", "data": [model(MODEL), model("hashed-words")] }))
}

/// Answers the last of the user's messages, with the one before it in mind.
fn complete(service: &Service, request: &Request) -> Result<Completion, Failure> {
    let count = request.n.unwrap_or(1);
    if !(1..=MAX_CHOICES).contains(&count) {
        return Err(Failure::openai_parameter("n", &format!("n must be between 1 and {MAX_CHOICES}")));
    }
    let max_tokens = request.max_completion_tokens.or(request.max_tokens).unwrap_or(usize::MAX);
    if max_tokens == 0 {
        return Err(Failure::openai_parameter("max_tokens", "max_tokens must be at least 1"));
    }
    let questions: Vec<String> =
        request.messages.iter().filter(|message| message.role == "user").map(Message::text).collect();
    let Some(question) = questions.last().filter(|question| !question.trim().is_empty()) else {
        return Err(Failure::openai_parameter("messages", "messages must hold a question by the user"));
    };
    let previous = questions.len().checked_sub(2).and_then(|before| questions.get(before));

    let library = service.library();
    let question =
        Question { text: question, previous: previous.map(String::as_str), top_k: TOP_K, hybrid: false };
    let findings = research(library.index(), &question);
    let choices: Vec<Choice> =
        (0..count).map(|skip| Choice::new(findings.phrase(skip), max_tokens)).collect();

    let asked: usize = request.messages.iter().map(|message| text::count_tokens(&message.text())).sum();
    let answered = choices.iter().map(|choice| text::count_tokens(&choice.content)).sum();
    Ok(Completion {
        id: format!("chatcmpl-{:032x}", fastrand::u128(..)),
        created: unix_time(),
        model: request.model.clone(),
        choices,
        usage: Usage::new(asked + findings.context_tokens(), answered),
    })
}

impl Choice {
    fn new(content: String, max_tokens: usize) -> Self {
        if text::count_tokens(&content) <= max_tokens {
            return Self { content, finish_reason: "stop" };
        }
        Self { content: text::truncate_tokens(&content, max_tokens), finish_reason: "length" }
    }
}

impl Message {
    fn text(&self) -> String {
        match &self.content {
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("\n")
            }
            None => String::new(),
        }
    }
}

/// A completion as JSON.
#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<WrittenChoice<'a>>,
    usage: Usage,
}

#[derive(Serialize)]
struct WrittenChoice<'a> {
    index: usize,
    message: WrittenMessage<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct WrittenMessage<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

impl<'a> From<&'a Completion> for Written<'a> {
    fn from(completion: &'a Completion) -> Self {
        let choice = |(index, choice): (usize, &'a Choice)| WrittenChoice {
            index,
            message: WrittenMessage { role: "assistant", content: &choice.content, refusal: None },
            logprobs: None,
            finish_reason: choice.finish_reason,
        };
        Self {
            id: &completion.id,
            object: "chat.completion",
            created: completion.created,
            model: &completion.model,
            choices: completion.choices.iter().enumerate().map(choice).collect(),
            usage: completion.usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, builtin_docs};
    use super::*;
    use std::time::Duration;

    fn ask(json: &str) -> Result<Completion, Failure> {
        let service = Service::new(Options { docs: builtin_docs(), delay: Duration::ZERO });
        complete(&service, &openai_body(json.as_bytes())?)
    }

    #[test]
    fn the_last_question_is_answered() {
        let json = r#"{"model": "m", "messages": [{"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "How long do embeddings live?"}]}]}"#;
        let completion = ask(json).expect("a completion");
        assert_eq!((completion.model.as_str(), completion.choices.len()), ("m", 1));
        assert!(completion.choices[0].content.contains("24 hours"), "{}", completion.choices[0].content);
    }

    #[test]
    fn limits_are_kept() {
        let json =
            r#"{"model": "m", "n": 2, "max_tokens": 3, "messages": [{"role": "user", "content": "Redis?"}]}"#;
        let completion = ask(json).expect("a completion");
        assert_eq!(completion.choices.len(), 2);
        for choice in completion.choices {
            assert_eq!((text::count_tokens(&choice.content), choice.finish_reason), (3, "length"));
        }
    }

    #[test]
    fn bad_requests_are_refused() {
        let user = r#"[{"role": "user", "content": "a"}]"#;
        assert!(ask(&format!(r#"{{"model": "m", "n": 0, "messages": {user}}}"#)).is_err());
        assert!(ask(&format!(r#"{{"messages": {user}}}"#)).is_err());
        assert!(ask(r#"{"model": "m", "messages": []}"#).is_err());
        let picture = r#"[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]"#;
        assert!(ask(&format!(r#"{{"model": "m", "messages": {picture}}}"#)).is_err());
    }
}
