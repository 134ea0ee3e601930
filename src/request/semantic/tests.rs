use std::{collections::HashMap, net::Ipv4Addr, time::Duration};

use http::{HeaderValue, Request};
use proptest::prelude::*;

use super::*;
use crate::{
    cache::{
        encryption::{Encryption, EncryptionKey},
        identity::Identities,
        invalidation::resource::Resources,
        semantic::SemanticRoute,
    },
    dialect::Dialect,
    json::canonical::Normalize,
    request::{Choices, body::RawBody, classify, parse_cache::ParseCache},
};

fn classify_context(epoch: Option<&str>, encrypted: bool) -> ClassifyContext {
    let encryption = encrypted
        .then(|| Arc::new(Encryption::new(&EncryptionKey::parse(&"1".repeat(64)).expect("a key"), None)));
    ClassifyContext {
        namespace: "ns".into(),
        epoch: epoch.map(str::to_owned),
        encryption,
        host_counts: false,
        log_questions: false,
        resources: Resources::default(),
        parse_cache: ParseCache::for_store(0),
        choices: Choices::default(),
        identities: Arc::new(Identities::unverified(|| 0)),
    }
}

fn route(dialect: Option<Dialect>) -> Route {
    let route = Route::new("POST /**", Kind::Query, Duration::from_secs(60), Scope::Credential);
    let semantic = Some(SemanticRoute { max_temperature: 1.0 });
    Route { dialect, semantic, ..route.expect("a route") }
}

/// A request as it came.
struct Sent<'a> {
    route: Route,
    context: ClassifyContext,
    path: &'a str,
    headers: &'a [(&'static str, &'a str)],
    body: &'a str,
}

impl<'a> Sent<'a> {
    fn new(dialect: Dialect, body: &'a str) -> Self {
        let path = if dialect == Dialect::Gemini { "/v1beta/models/m:generateContent" } else { "/ask" };
        Self { route: route(Some(dialect)), context: classify_context(None, false), path, headers: &[], body }
    }

    fn parts(&self) -> Parts {
        let request = Request::post(self.path).header("content-type", "application/json").body(());
        let (mut parts, ()) = request.expect("a request").into_parts();
        for (name, value) in self.headers {
            parts.headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        parts
    }

    fn classified(&self, parts: &Parts) -> (Arc<Route>, Box<CacheRequest>) {
        let route = Arc::new(self.route.clone());
        let head = RequestHead::new(&route, parts);
        let request = classify(&head, parts, &RawBody::new(self.body.as_bytes()), &self.context);
        (route, request.unwrap_or_else(|why| panic!("{why:?}: {}", self.body)))
    }

    fn question(&self) -> Result<Question, Ineligible> {
        self.question_from(Ipv4Addr::LOCALHOST.into())
    }

    fn question_from(&self, peer: IpAddr) -> Result<Question, Ineligible> {
        let parts = self.parts();
        let (route, cache_request) = self.classified(&parts);
        let body = self.body.as_bytes();
        Asked {
            route: &route,
            cache_request: &cache_request,
            classify_context: &self.context,
            parts: &parts,
            body,
            peer,
        }
        .question()
    }

    fn key(&self) -> String {
        let (_, request) = self.classified(&self.parts());
        request.key.expect("a key").name()
    }
}

/// What is replaced in a request, and by what.
type Changes = &'static [(&'static str, &'static str)];

/// For each API, a request with the last text `Q`, and how it may differ besides.
const APIS: [(Dialect, &str, Changes); 13] = [
    (
        Dialect::OpenAiChat,
        r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"e"},{"role":"assistant","content":"a"},{"role":"user","content":"Q"}],"temperature":0.5,"stream":false}"#,
        &[
            (r#""model":"m""#, r#""model":"n""#),
            (r#""content":"s""#, r#""content":"t""#),
            (r#""content":"e""#, r#""content":"f""#),
            ("0.5", "0.6"),
            (r#""stream":false"#, r#""tools":[{"type":"function"}]"#),
        ],
    ),
    (
        Dialect::OpenAiChat,
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"Q"}],"name":"x"}]}"#,
        &[(r#""name":"x""#, r#""name":"y""#), (r#""model":"m""#, r#""model":"m","seed":1"#)],
    ),
    (
        Dialect::OpenAiCompletions,
        r#"{"model":"m","prompt":"Q","max_tokens":5}"#,
        &[("5", "6"), (r#""m""#, r#""n""#)],
    ),
    (
        Dialect::OpenAiCompletions,
        r#"{"model":"m","prompt":["Q"],"max_tokens":5}"#,
        &[("5", "6"), (r#""m""#, r#""n""#)],
    ),
    (
        Dialect::OpenAiResponses,
        r#"{"model":"m","input":"Q","instructions":"i","top_p":0.5,"store":false}"#,
        &[(r#""i""#, r#""j""#), ("0.5", "0.6")],
    ),
    (
        Dialect::OpenAiResponses,
        r#"{"model":"m","input":[{"role":"developer","content":"d"},{"type":"reasoning","summary":[]},{"role":"user","content":[{"type":"input_text","text":"Q"}]}],"text":{"format":{"type":"text"}},"store":false}"#,
        &[(r#""content":"d""#, r#""content":"e""#), (r#""format":{"type":"text"}"#, r#""verbosity":"low""#)],
    ),
    (
        Dialect::Anthropic,
        r#"{"model":"m","max_tokens":9,"system":"s","messages":[{"role":"user","content":"e"},{"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"a"}]},{"role":"user","content":[{"type":"text","text":"Q"}]}]}"#,
        &[(r#""system":"s""#, r#""system":"t""#), ("9", "8"), (r#""text":"a""#, r#""text":"b""#)],
    ),
    (
        Dialect::Gemini,
        r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"e"}]},{"role":"model","parts":[{"text":"a"}]},{"role":"user","parts":[{"text":"Q"}]}],"generationConfig":{"temperature":0.5}}"#,
        &[(r#""text":"s""#, r#""text":"t""#), (r#""text":"e""#, r#""text":"f""#), ("0.5", "0.6")],
    ),
    (Dialect::Gemini, r#"{"contents":[{"parts":[{"text":"Q"}]}],"x":1}"#, &[("1", "2")]),
    (
        Dialect::CohereChat,
        r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"Q"}]}],"documents":["d"]}"#,
        &[(r#""s""#, r#""t""#), (r#""d""#, r#""e""#)],
    ),
    (
        Dialect::OllamaChat,
        r#"{"model":"m","messages":[{"role":"user","content":"Q"}],"options":{"temperature":0.5}}"#,
        &[("0.5", "0.6"), (r#""m""#, r#""n""#)],
    ),
    (
        Dialect::OllamaGenerate,
        r#"{"model":"m","prompt":"Q","system":"s","images":[]}"#,
        &[(r#""s""#, r#""t""#)],
    ),
    (
        Dialect::Rag,
        r#"{"query":"Q","top_k":5,"history":[{"role":"user","content":"e"}]}"#,
        &[("5", "6"), (r#""e""#, r#""f""#)],
    ),
];

fn with_text(body: &str, text: &str) -> String {
    body.replace(r#""Q""#, &format!("\"{text}\""))
}

proptest! {
    /// Requests have one partition exactly if they differ in the last user's text alone, in every API, whatever else is
    /// in the key.
    #[test]
    fn a_partition_is_the_key_without_the_text(
        api in 0..APIS.len(),
        texts in ("[a-c]{1,2} [a-c]{1,2} x", "[a-c]{1,2} [a-c]{1,2} x"),
        change in 0..16_usize,
        (one_client, other_client) in ("[ab]", "[ab]"),
        (one_epoch, other_epoch) in (0..2_usize, 0..2_usize),
        encrypted in any::<bool>(),
        shared in any::<bool>(),
    ) {
        let (dialect, body, changes) = APIS[api];
        let one = with_text(body, &texts.0);
        let mut other = with_text(body, &texts.1);
        if let Some((from, to)) = changes.get(change) {
            prop_assert!(other.contains(from), "{} in {}", from, other);
            other = other.replacen(from, to, 1);
        }
        let epochs = [None, Some("e")];
        let sent = |body, client: &str, epoch: usize| {
            let mut sent = Sent::new(dialect, body);
            sent.context = classify_context(epochs[epoch], encrypted);
            if shared { sent.route.scope = Scope::Shared; }
            let header = [("authorization", client.to_owned())];
            let headers: Vec<_> = header.iter().map(|(name, value)| (*name, &**value)).collect();
            let sent = Sent { headers: &headers, ..sent };
            (sent.key(), sent.question())
        };
        let (one_key, one) = sent(&one, &one_client, one_epoch);
        let (other_key, other) = sent(&other, &other_client, other_epoch);
        let (one, other) = (one.expect("a question"), other.expect("a question"));
        prop_assert_eq!(&one.text, &texts.0);
        // With the same text, the keys say what else differs.
        let (twin_key, twin) = sent(&with_text(body, &texts.1), &one_client, one_epoch);
        prop_assert_eq!(one.partition, twin.expect("a question").partition);
        prop_assert_eq!(one.partition == other.partition, twin_key == other_key);
        prop_assert_eq!(one_key == twin_key, texts.0 == texts.1);
        prop_assert_eq!(one.caller.is_some(), shared);
    }
}

#[test]
fn what_takes_no_part_says_why() {
    use Ineligible::{
        Conversation, Media, NoText, NotUsers, SeveralAnswers, Temperature, TooLong, TooShort, ToolResults,
    };
    let chat = |messages: &str, more: &str| format!(r#"{{"model":"m","messages":[{messages}]{more}}}"#);
    let user = r#"{"role":"user","content":"How are you?"}"#;
    let long = format!(r#"{{"role":"user","content":"{}"}}"#, "word ".repeat(513));
    for (dialect, body, expected) in [
        (Dialect::OpenAiChat, chat(user, ""), None),
        (Dialect::OpenAiChat, chat(user, r#","temperature":1.0,"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"file":{"type":"string"}}}}}]"#), None),
        (Dialect::OpenAiChat, chat(user, r#","temperature":null,"n":1,"tool_choice":"auto","audio":null"#), None),
        (Dialect::OpenAiChat, chat(user, r#","temperature":1.01"#), Some(Temperature)),
        (Dialect::OpenAiChat, chat(user, r#","temperature":"hot""#), Some(Temperature)),
        (Dialect::OpenAiChat, chat(user, r#","n":2"#), Some(SeveralAnswers)),
        (Dialect::OpenAiChat, chat(user, r#","audio":{"voice":"v"}"#), Some(Media)),
        (Dialect::OpenAiChat, chat(r#"{"role":"user","content":"Hi you"}"#, ""), Some(TooShort)),
        (Dialect::OpenAiChat, chat(r#"{"role":"user","content":"  "}"#, ""), Some(TooShort)),
        (Dialect::OpenAiChat, chat(&long, ""), Some(TooLong)),
        (Dialect::OpenAiChat, chat(&format!(r#"{user},{{"role":"assistant","content":"x"}}"#), ""), Some(NotUsers)),
        (Dialect::OpenAiChat, chat(&format!(r#"{user},{{"role":"system","content":"x"}}"#), ""), Some(NotUsers)),
        (Dialect::OpenAiChat, chat(&format!(r#"{user},{{"role":"tool","tool_call_id":"1","content":"x"}}"#), ""), Some(ToolResults)),
        (Dialect::OpenAiChat, chat(&format!(r#"{{"role":"tool","content":"x"}},{user}"#), ""), Some(ToolResults)),
        (Dialect::OpenAiChat, chat(&format!(r#"{{"role":"assistant","tool_calls":[{{"id":"1"}}]}},{user}"#), ""), Some(ToolResults)),
        (Dialect::OpenAiChat, chat(&format!(r#"{{"role":"assistant","content":"a","tool_calls":[]}},{user}"#), ""), None),
        (Dialect::OpenAiChat, chat(&format!(r#"{{"role":"user","content":[{{"type":"text","text":"x"}},{{"type":"image_url","image_url":{{"url":"u"}}}}]}},{user}"#), ""), Some(Media)),
        (Dialect::OpenAiChat, chat(r#"{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"u"}}]}"#, ""), Some(Media)),
        (Dialect::OpenAiChat, chat(r#"{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"novel"}]}"#, ""), Some(Media)),
        (Dialect::OpenAiChat, chat(r#"{"role":"user","content":[{"type":"text","text":"What is"},{"type":"text","text":"this?"}]}"#, ""), Some(NoText)),
        (Dialect::OpenAiChat, chat(&format!(r#"{{"role":"critic","content":"x"}},{user}"#), ""), Some(NoText)),
        (Dialect::OpenAiChat, chat(user, r#","conversation_id":"c""#), Some(Conversation)),
        (Dialect::OpenAiCompletions, r#"{"model":"m","prompt":["How are you?","And how is she?"]}"#.to_owned(), Some(SeveralAnswers)),
        (Dialect::OpenAiCompletions, r#"{"model":"m","prompt":[1,2,3]}"#.to_owned(), Some(NoText)),
        (Dialect::OpenAiResponses, r#"{"model":"m","input":"How are you?","previous_response_id":"r"}"#.to_owned(), Some(Conversation)),
        (Dialect::OpenAiResponses, r#"{"model":"m","input":"How are you?","prompt":{"id":"p"}}"#.to_owned(), Some(Conversation)),
        (Dialect::OpenAiResponses, r#"{"model":"m","input":"How are you?"}"#.to_owned(), Some(Conversation)),
        (Dialect::OpenAiResponses, r#"{"model":"m","input":"How are you?","store":false}"#.to_owned(), None),
        (Dialect::OpenAiResponses, format!(r#"{{"model":"m","input":[{{"type":"item_reference","id":"x"}},{user}]}}"#), Some(Conversation)),
        (Dialect::OpenAiResponses, format!(r#"{{"model":"m","input":[{{"id":"x"}},{user}]}}"#), Some(Conversation)),
        (Dialect::OpenAiResponses, format!(r#"{{"model":"m","input":[{{"type":"function_call_output","call_id":"1","output":"x"}},{user}]}}"#), Some(ToolResults)),
        (Dialect::OpenAiResponses, format!(r#"{{"model":"m","input":[{{"type":"web_search_call","id":"1"}},{user}]}}"#), Some(ToolResults)),
        (Dialect::OpenAiResponses, r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"f"},{"type":"input_text","text":"What is this?"}]}]}"#.to_owned(), Some(Media)),
        (Dialect::Anthropic, format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"1","content":"x"}}]}},{user}]}}"#), Some(ToolResults)),
        (Dialect::Anthropic, format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"assistant","content":[{{"type":"tool_use","id":"1"}}]}},{user}]}}"#), Some(ToolResults)),
        (Dialect::Anthropic, format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":[{{"type":"document","source":{{}}}}]}},{user}]}}"#), Some(Media)),
        (Dialect::Anthropic, format!(r#"{{"model":"m","max_tokens":9,"container":"c","messages":[{user}]}}"#), Some(Conversation)),
        (Dialect::Gemini, r#"{"contents":[{"parts":[{"text":"How are you?"}]}],"generationConfig":{"temperature":2}}"#.to_owned(), Some(Temperature)),
        (Dialect::Gemini, r#"{"contents":[{"parts":[{"text":"How are you?"}]}],"generationConfig":{"candidateCount":2}}"#.to_owned(), Some(SeveralAnswers)),
        (Dialect::Gemini, r#"{"contents":[{"parts":[{"text":"How are you?"}]}],"generationConfig":{"responseModalities":["TEXT","IMAGE"]}}"#.to_owned(), Some(Media)),
        (Dialect::Gemini, r#"{"contents":[{"parts":[{"text":"How are you?"},{"inlineData":{"data":"x"}}]}]}"#.to_owned(), Some(Media)),
        (Dialect::Gemini, r#"{"contents":[{"parts":[{"functionResponse":{"name":"f"}}]},{"role":"user","parts":[{"text":"How are you?"}]}]}"#.to_owned(), Some(ToolResults)),
        (Dialect::Gemini, r#"{"contents":[{"parts":[{"text":"How are you?"}]}],"cachedContent":"c"}"#.to_owned(), Some(Conversation)),
        (Dialect::OllamaChat, r#"{"model":"m","messages":[{"role":"user","content":"What is this?","images":["x"]}]}"#.to_owned(), Some(Media)),
        (Dialect::OllamaGenerate, r#"{"model":"m","prompt":"What is this?","images":["x"]}"#.to_owned(), Some(Media)),
        (Dialect::OllamaGenerate, r#"{"model":"m","prompt":"What is this?","context":[1]}"#.to_owned(), Some(Conversation)),
        (Dialect::OllamaGenerate, r#"{"model":"m","prompt":"What is this?","options":{"temperature":1.5}}"#.to_owned(), Some(Temperature)),
        (Dialect::Rag, r#"{"query":"What is this?","question":"And what is that?"}"#.to_owned(), Some(NoText)),
        (Dialect::Rag, r#"{"query":"What is this?","session_id":"s"}"#.to_owned(), Some(Conversation)),
        (Dialect::Rag, r#"{"query":"What is this?","files":["f"]}"#.to_owned(), Some(Media)),
        (Dialect::Json, r#"{"query":"What is this?"}"#.to_owned(), Some(NoText)),
    ] {
        assert_eq!(Sent::new(dialect, &body).question().err(), expected, "{dialect:?} {body}");
    }
}

#[test]
fn a_request_for_something_else_takes_no_part() {
    let body = r#"{"query":"What is this?"}"#;
    let asked = |change: &dyn Fn(&mut Sent<'_>)| {
        let mut sent = Sent::new(Dialect::Rag, body);
        change(&mut sent);
        sent.question().err()
    };
    assert_eq!(asked(&|_| {}), None);
    assert_eq!(asked(&|sent| sent.route.kind = Kind::Other), Some(Ineligible::NotStored));
    assert_eq!(asked(&|sent| sent.route.ttl = Duration::ZERO), Some(Ineligible::NotStored));
    for header in [
        ("range", "bytes=0-1"),
        ("if-none-match", "\"x\""),
        ("cache-control", "no-cache"),
        ("cache-control", "no-store"),
    ] {
        let refused = asked(&|sent| sent.headers = Vec::leak(vec![header]));
        assert_eq!(refused, Some(Ineligible::NotStored), "{header:?}");
    }
    assert_eq!(
        asked(&|sent| sent.route.ignore = vec!["/query".parse().expect("a pointer")]),
        Some(Ineligible::NoText)
    );
    let sent = Sent::new(Dialect::Rag, body);
    let mut parts = sent.parts();
    let (route, cache_request) = sent.classified(&parts);
    let of = |route: Route, parts: &Parts| {
        let asked = Asked {
            route: &Arc::new(route),
            cache_request: &cache_request,
            classify_context: &sent.context,
            parts,
            body: body.as_bytes(),
            peer: Ipv4Addr::LOCALHOST.into(),
        };
        asked.question().err()
    };
    assert_eq!(of(Route::clone(&route), &parts), None);
    assert_eq!(
        of(Route { mode: Mode::Rfc9111, ..Route::clone(&route) }, &parts),
        Some(Ineligible::NotStored)
    );
    parts.method = Method::HEAD;
    assert_eq!(of(Route::clone(&route), &parts), Some(Ineligible::NotStored));
}

#[test]
fn the_route_says_where_the_text_is() {
    let pointers = |texts: &[&str]| Some(texts.iter().map(|text| text.parse().expect("a pointer")).collect());
    let of = |dialect, body, texts: &[&str]| {
        let mut sent = Sent::new(dialect, body);
        sent.route.text = pointers(texts);
        sent.question().map(|question| question.text)
    };
    let own = r#"{"ask":{"what":"What is this?"},"list":[{"t":"One of these things?"},{"t":"And these things?"}],"one":[{"t":"Only this thing?"}]}"#;
    assert_eq!(of(Dialect::Json, own, &["/ask/what"]).as_deref(), Ok("What is this?"));
    assert_eq!(of(Dialect::Json, own, &["/one/*/t"]).as_deref(), Ok("Only this thing?"));
    assert_eq!(of(Dialect::Json, own, &["/list/*/t"]), Err(Ineligible::NoText));
    assert_eq!(of(Dialect::Json, own, &["/ask/what", "/one/0/t"]), Err(Ineligible::NoText));
    assert_eq!(of(Dialect::Json, own, &["/none"]), Err(Ineligible::NoText));
    let chat = r#"{"model":"m","messages":[{"role":"tool","content":"x"},{"role":"user","content":"How are you?"}]}"#;
    assert_eq!(of(Dialect::OpenAiChat, chat, &["/messages/1/content"]), Err(Ineligible::ToolResults));
}

#[test]
fn the_text_is_as_in_the_key_and_names_keep_their_capitals() {
    let sent = |body| {
        let mut sent = Sent::new(Dialect::Rag, body);
        sent.route.normalize = vec![Normalize::Casefold, Normalize::Trim, Normalize::Collapse];
        sent.route.mask = vec![r"\d{4}-\d{2}-\d{2}".parse().expect("a mask")];
        sent.question().expect("a question")
    };
    let one = sent(r#"{"query":"  As of 2026-01-01: is it warm in   Paris?"}"#);
    let other = sent(r#"{"query":"As of 2026-02-02: is it warm in Paris?"}"#);
    assert_eq!(one.text, "as of : is it warm in paris?");
    assert_eq!((one.text, one.partition), (other.text.clone(), other.partition));
    assert_eq!(one.signature.conflict(&other.signature), None);
    let rome = sent(r#"{"query":"As of 2026-02-02: is it warm in Lucca?"}"#);
    assert!(other.signature.conflict(&rome.signature).is_some());
}

#[test]
fn a_caller_is_known_by_credentials_or_by_address() {
    let caller = |credentials: Option<&str>, address: &str| {
        let mut sent = Sent::new(Dialect::Rag, r#"{"query":"What is this?"}"#);
        sent.route.scope = Scope::Shared;
        let headers: Vec<_> = credentials.map(|value| ("authorization", value)).into_iter().collect();
        let question = Sent { headers: &headers, ..sent }.question_from(address.parse().expect("an address"));
        question.expect("a question").caller.expect("a caller")
    };
    let mut known: HashMap<CallerId, &str> = HashMap::new();
    for (who, credentials, address) in [
        ("a", Some("a"), "10.0.0.1"),
        ("a", Some("a"), "10.0.0.2"),
        ("b", Some("b"), "10.0.0.1"),
        ("1", None, "10.0.0.1"),
        ("1", None, "::ffff:10.0.0.1"),
        ("2", None, "10.0.0.2"),
        ("net", None, "2001:db8:1:2::1"),
        ("net", None, "2001:db8:1:2:ffff::9"),
        ("other net", None, "2001:db8:1:3::1"),
    ] {
        assert_eq!(*known.entry(caller(credentials, address)).or_insert(who), who);
    }
    assert_eq!(known.len(), 6);
}
