//! What an operation of an unknown service is, by its path, its request and its answer. Pure.
//!
//! A guess that may store what it must not is written down commented out. Invalidating too much only costs hits.

use super::openapi::Operation;
use crate::dialect::is_conversation_name;

/// Members with the text of a question, the likeliest first.
const QUESTIONS: [&str; 11] = [
    "query",
    "question",
    "message",
    "prompt",
    "q",
    "text",
    "input",
    "user_input",
    "content",
    "user_query",
    "search",
];

/// Those that the dialect `rag` knows.
const RAG_QUESTIONS: [&str; 3] = ["query", "question", "message"];

/// Words of paths that ask something.
const ASKS: [&str; 20] = [
    "ask",
    "answer",
    "answers",
    "chat",
    "complete",
    "completion",
    "completions",
    "generate",
    "predict",
    "qa",
    "query",
    "question",
    "questions",
    "rag",
    "retrieval",
    "retrieve",
    "search",
    "summarise",
    "summarize",
    "translate",
];

/// Words of paths that do something, or that no other caller may see.
const ACTS: [&str; 32] = [
    "agent", "agents", "auth", "batch", "cancel", "create", "delete", "email", "execute", "feedback", "job",
    "jobs", "login", "logout", "notify", "order", "password", "pay", "payment", "register", "remove",
    "reset", "run", "runs", "send", "signup", "task", "tasks", "token", "tool", "train", "webhook",
];

/// Words of paths to what answers are made from.
const DOCUMENTS: [&str; 15] = [
    "chunk",
    "chunks",
    "collection",
    "collections",
    "corpus",
    "doc",
    "docs",
    "document",
    "documents",
    "file",
    "files",
    "index",
    "ingest",
    "knowledge",
    "upload",
];

/// Words of paths to conversations.
const CONVERSATIONS: [&str; 7] =
    ["chats", "conversation", "conversations", "history", "session", "sessions", "threads"];

/// A route, as it is written into the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    /// `METHOD PATH`.
    pub(super) pattern: String,
    /// Why, in one line.
    pub(super) why: String,
    /// Its keys besides `match`, each with its value in TOML.
    pub(super) keys: Vec<(&'static str, String)>,
    /// Further lines for the reader, as comments.
    pub(super) hints: Vec<String>,
    /// Whether it is written so that it counts.
    pub(super) is_sure: bool,
}

/// What `operation` is; `None` if nothing says so, and it is passed through.
pub(super) fn guess(operation: &Operation) -> Option<Guess> {
    match operation.method.as_str() {
        "GET" => view(operation).or_else(|| search(operation)),
        "POST" => embedding(operation)
            .or_else(|| ranking(operation))
            .or_else(|| change(operation))
            .or_else(|| question(operation)),
        _ => change(operation),
    }
}

fn words(path: &str) -> impl Iterator<Item = String> {
    let segments = path.split('/').filter(|segment| !segment.is_empty() && !segment.starts_with('{'));
    segments.flat_map(|segment| segment.split(['-', '_', '.', ':'])).map(str::to_ascii_lowercase)
}

fn has_word(operation: &Operation, list: &[&str]) -> Option<String> {
    words(&operation.path).find(|word| list.contains(&word.as_str()))
}

fn pattern(operation: &Operation) -> String {
    format!("{} {}", operation.method, operation.path)
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn route(operation: &Operation, kind: &str, why: String, is_sure: bool) -> Guess {
    Guess { pattern: pattern(operation), why, keys: vec![("kind", quoted(kind))], hints: Vec::new(), is_sure }
}

/// A document or a conversation that a path names.
fn view(operation: &Operation) -> Option<Guess> {
    if !operation.path.trim_end_matches('/').ends_with('}') {
        return None;
    }
    let before: Vec<_> = operation.path.split('/').filter(|segment| !segment.is_empty()).collect();
    let owner = before.iter().rev().find(|segment| !segment.starts_with('{'))?.to_ascii_lowercase();
    let is = |list: &[&str]| owner.split(['-', '_']).any(|word| list.contains(&word));
    let (kind, what) = match (is(&CONVERSATIONS), is(&DOCUMENTS)) {
        (true, _) => ("conversation", "a conversation"),
        (_, true) => ("document", "a document"),
        _ => return None,
    };
    let why = format!("the path names {what}; writes to it, or below it, invalidate it and what cites it");
    Some(route(operation, kind, why, gives_json(operation)))
}

fn gives_json(operation: &Operation) -> bool {
    operation.gives.iter().any(|media| media.contains("json"))
}

/// A question in a URL.
fn search(operation: &Operation) -> Option<Guess> {
    let parameter = operation.parameters.iter().find(|name| QUESTIONS.contains(&name.as_str()))?;
    let word = has_word(operation, &ASKS)?;
    let why = format!("\"{word}\" in the path, and the parameter `{parameter}` asks");
    let is_sure = has_word(operation, &ACTS).is_none() && gives_json(operation);
    let mut guess = route(operation, "query", why, is_sure);
    guess.keys.push(("dialect", quoted("json")));
    add_tags(&mut guess, operation);
    Some(guess)
}

fn embedding(operation: &Operation) -> Option<Guess> {
    words(&operation.path).find(|word| word.starts_with("embed"))?;
    let names = |name: &str| operation.members.iter().any(|member| member.name == name);
    let of_known_api = [
        (["input", "model"], "embeddings as OpenAI and Ollama have them"),
        (["texts", "input_type"], "embeddings as Cohere has them"),
        (["inputs", "truncate"], "embeddings as Text Embeddings Inference has them"),
    ];
    let known = of_known_api.into_iter().find(|(members, _)| members.iter().all(|name| names(name)));
    let guess = if let Some((_, why)) = known {
        route(operation, "embedding", why.to_owned(), true)
    } else {
        let why = "embeddings in a shape of their own: whole requests are stored, not each text".to_owned();
        let mut guess = route(operation, "query", why, takes_json(operation));
        guess.keys.extend([("dialect", quoted("json")), ("ttl", quoted("24h"))]);
        guess
    };
    Some(guess)
}

/// Documents that are ranked.
fn ranking(operation: &Operation) -> Option<Guess> {
    words(&operation.path).find(|word| word.starts_with("rerank"))?;
    let names = |name: &str| operation.members.iter().any(|member| member.name == name);
    if !names("query") || !(names("documents") || names("texts")) {
        return None;
    }
    let why = "documents ranked as Cohere, or Text Embeddings Inference, does it".to_owned();
    let mut guess = route(operation, "rerank", why, true);
    guess.hints.push("If the model scores each document by itself: per_item = true".to_owned());
    Some(guess)
}

/// A write to what answers are made from.
fn change(operation: &Operation) -> Option<Guess> {
    const ALSO_ASK: [&str; 6] = ["ask", "chat", "query", "search", "retrieve", "retrieval"];
    let word = has_word(operation, &DOCUMENTS)?;
    // `POST /documents/search` asks.
    if operation.method == "POST" && has_word(operation, &ALSO_ASK).is_some() {
        return None;
    }
    let why = format!("\"{word}\" in the path: a success may change what answers are made from");
    let mut guess = route(operation, "other", why, true);
    guess
        .keys
        .extend([("cache", "false".to_owned()), ("invalidates", "[\"query\", \"document\"]".to_owned())]);
    guess.hints.push("If the service indexes after it has answered: settle = \"30s\"".to_owned());
    Some(guess)
}

fn takes_json(operation: &Operation) -> bool {
    operation.takes.iter().any(|media| media.contains("json"))
}

fn question(operation: &Operation) -> Option<Guess> {
    let is_text =
        |name: &&str| operation.members.iter().any(|member| member.name == **name && member.is_text);
    let text = QUESTIONS.into_iter().find(is_text);
    let word = has_word(operation, &ASKS);
    let has_messages = operation.members.iter().any(|member| member.name == "messages" && member.is_list);
    let why = match (&word, text) {
        (Some(word), Some(text)) => format!("\"{word}\" in the path, and the member `{text}` is a text"),
        (Some(word), None) if has_messages => format!("\"{word}\" in the path, and `messages` are a list"),
        (Some(word), None) => {
            format!("\"{word}\" in the path, but nothing in the description says where the question is")
        }
        (None, Some(text)) => format!("the member `{text}` is a text"),
        (None, None) => return None,
    };
    let acts = has_word(operation, &ACTS);
    let is_sure =
        word.is_some() && (text.is_some() || has_messages) && acts.is_none() && takes_json(operation);
    let mut guess = route(operation, "query", why, is_sure);
    match text {
        Some(text) if !RAG_QUESTIONS.contains(&text) => {
            guess.keys.extend([("dialect", quoted("json")), ("text", format!("[\"/{text}\"]"))]);
        }
        None => guess.keys.push(("dialect", quoted("json"))),
        Some(_) => {}
    }
    add_tags(&mut guess, operation);
    if let Some(acts) = acts {
        guess.hints.push(format!("\"{acts}\" in the path: if it does something, it must not be cached."));
    }
    add_conversation(&mut guess, operation);
    add_stream(&mut guess, operation);
    Some(guess)
}

fn add_tags(guess: &mut Guess, operation: &Operation) {
    if !operation.cites.is_empty() {
        let pointers: Vec<_> = operation.cites.iter().map(|pointer| quoted(pointer)).collect();
        guess.keys.push(("tags", format!("[{}]", pointers.join(", "))));
    }
}

fn add_conversation(guess: &mut Guess, operation: &Operation) {
    let named: Vec<_> =
        operation.members.iter().filter(|member| is_conversation_name(&member.name)).collect();
    for member in named {
        guess.hints.push(format!(
            "A request with `{0}` is a turn of a conversation, and always goes to the service. If answers do not depend \
             on it: ignore = [\"/{0}\"]",
            member.name
        ));
    }
}

/// Frameworks describe a stream as any JSON, or not at all.
fn add_stream(guess: &mut Guess, operation: &Operation) {
    let gives = |part: &str| operation.gives.iter().any(|media| media.contains(part));
    if gives("text/plain") || gives("ndjson") || gives("jsonl") {
        guess.keys.push(("stream_end", quoted("eof")));
    } else if gives("event-stream")
        || operation.members.iter().any(|member| member.name == "stream")
        || words(&operation.path).any(|word| word.starts_with("stream"))
    {
        guess.hints.push(
            "A stream is stored if its end is known: an event `done` or `end`, `[DONE]`, \"done\": true. Otherwise name it, as \
             in stream_end = '/type = \"finished\"'; or, where only the body ends: stream_end = \"eof\""
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{super::openapi::Member, *};

    fn operation(pattern: &str, members: &[&str]) -> Operation {
        let (method, path) = pattern.split_once(' ').expect("a pattern");
        let member = |name: &&str| {
            let is_list = name.ends_with("[]");
            Member { name: name.trim_end_matches("[]").to_owned(), is_text: !is_list, is_list }
        };
        Operation {
            method: method.to_owned(),
            path: path.to_owned(),
            takes: vec!["application/json".to_owned()],
            gives: vec!["application/json".to_owned()],
            members: members.iter().map(member).collect(),
            ..Operation::default()
        }
    }

    #[test]
    fn operations_are_what_they_look_like() {
        for (pattern, members, expected) in [
            ("POST /ask", &["question"][..], Some(("query", true))),
            ("POST /api/v2/chat-messages", &["message", "session_id"], Some(("query", true))),
            ("POST /generate", &["prompt"], Some(("query", true))),
            ("POST /chat", &["messages[]"], Some(("query", true))),
            ("POST /chat", &["turns[]"], Some(("query", false))),
            ("POST /helper", &["text"], Some(("query", false))),
            ("POST /agent/chat", &["message"], Some(("query", false))),
            ("POST /orders", &["item"], None),
            ("POST /embed", &["texts[]"], Some(("query", true))),
            ("POST /v3/embeddings", &["input", "model"], Some(("embedding", true))),
            ("POST /embed", &["inputs", "truncate"], Some(("embedding", true))),
            ("POST /v9/embed", &["model", "input_type", "texts[]"], Some(("embedding", true))),
            ("POST /rerank", &["query", "texts[]"], Some(("rerank", true))),
            ("POST /models/rerank", &["query", "documents[]", "top_n"], Some(("rerank", true))),
            ("POST /rerank", &["query"], Some(("query", false))),
            ("POST /documents", &["text"], Some(("other", true))),
            ("POST /documents/search", &["query"], Some(("query", true))),
            ("DELETE /files/{id}", &[], Some(("other", true))),
            ("PUT /users/{id}", &[], None),
            ("GET /documents/{doc_id}", &[], Some(("document", true))),
            ("GET /documents", &[], None),
            ("GET /chat/history/{session}", &[], Some(("conversation", true))),
            ("GET /users/{id}", &[], None),
        ] {
            let found = guess(&operation(pattern, members));
            let found = found.map(|guess| (guess.keys[0].1.trim_matches('"').to_owned(), guess.is_sure));
            let expected = expected.map(|(kind, is_sure)| (kind.to_owned(), is_sure));
            assert_eq!(found, expected, "{pattern}");
        }
        let search = Operation { parameters: vec!["q".to_owned()], ..operation("GET /search", &[]) };
        assert!(guess(&search).is_some_and(|guess| guess.is_sure));
    }

    #[test]
    fn a_route_has_what_the_description_says() {
        let mut asked = operation("POST /generate", &["prompt", "thread_id", "stream"]);
        asked.cites = vec!["/sources/*/doc_id".to_owned()];
        let found = guess(&asked).expect("a question");
        let key =
            |name: &str| found.keys.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str());
        assert_eq!(key("dialect"), Some("\"json\""));
        assert_eq!(key("text"), Some("[\"/prompt\"]"));
        assert_eq!(key("tags"), Some("[\"/sources/*/doc_id\"]"));
        assert!(found.hints.iter().any(|hint| hint.contains("`thread_id`")));
        assert!(found.hints.iter().any(|hint| hint.contains("stream_end")));
        asked.gives = vec!["text/plain".to_owned()];
        let text = guess(&asked).expect("a question");
        assert!(text.keys.contains(&("stream_end", "\"eof\"".to_owned())));
    }
}
