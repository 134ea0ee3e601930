use std::time::Duration;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::cache::route::kind::Kind;

fn route() -> Route {
    Route::new("POST /ask", Kind::Query, Duration::from_secs(60), Scope::Credential).expect("a route")
}

#[derive(Clone, Debug)]
struct Asked {
    route: Route,
    dialect: Dialect,
    method: Method,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

impl Asked {
    fn new(body: &str) -> Self {
        Self {
            route: route(),
            dialect: Dialect::OpenAiChat,
            method: Method::POST,
            target: "/ask?x=1".into(),
            headers: vec![("authorization", "Bearer one"), ("x-some", "1")],
            body: body.into(),
        }
    }

    fn digest(&self) -> blake3::Hash {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let json = Json::parse(self.body.as_bytes()).expect("JSON");
        digest(&Request {
            route: &self.route,
            dialect: self.dialect,
            method: &self.method,
            target: &self.target,
            headers: &headers,
            host_counts: false,
            body: BodyDigest::new(&self.route, self.dialect, Body::Json(&json)),
        })
    }
}

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn what_can_change_the_answer_changes_the_key() {
    let base = Asked::new(BODY);
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Asked));
    let changes: [Change<'_>; 12] = [
        ("method", &|asked| asked.method = Method::PUT),
        ("path", &|asked| asked.target = "/asks?x=1".into()),
        ("query", &|asked| asked.target = "/ask?x=2".into()),
        ("credential", &|asked| asked.headers[0].1 = "Bearer two"),
        ("another credential header", &|asked| asked.headers[0].0 = "x-api-key"),
        ("a second credential", &|asked| asked.headers.push(("cookie", "a=b"))),
        ("an unknown header", &|asked| asked.headers[1].1 = "2"),
        ("a further line of it", &|asked| asked.headers.push(("x-some", "1"))),
        ("another header's name", &|asked| asked.headers[1].0 = "x-other"),
        ("the route", &|asked| asked.route.name = "other".into()),
        ("the dialect", &|asked| asked.dialect = Dialect::Json),
        ("what the route leaves out", &|asked| {
            asked.route.ignore = vec!["/none".parse().expect("a pointer")]
        }),
    ];
    let mut seen = vec![base.digest()];
    for (what, change) in changes {
        let mut changed = base.clone();
        change(&mut changed);
        let digest = changed.digest();
        assert!(!seen.contains(&digest), "{what}");
        seen.push(digest);
    }
}

#[test]
fn what_cannot_does_not() {
    let base = Asked::new(BODY);
    let mut other = Asked::new(
        &BODY.replace("\"model\":\"m\",", "\"stream\":true,\"stream_options\":{},\"model\":\"\\u006d\", "),
    );
    other.headers.reverse();
    other.headers.extend([
        ("user-agent", "x"),
        ("accept", "text/event-stream"),
        ("content-type", "application/json; charset=utf-8"),
        ("x-request-id", "7"),
        ("x-stainless-os", "Linux"),
        ("sec-fetch-mode", "cors"),
        ("host", "elsewhere"),
        ("x-forwarded-for", "10.0.0.1"),
    ]);
    assert_eq!(base.digest(), other.digest());
}

/// RFC 9110, section 12.5.1: without `Accept`, any media type will do.
#[test]
fn to_accept_anything_is_to_say_nothing() {
    let accepting = |lines: &[&'static str]| {
        let mut asked = Asked { dialect: Dialect::Rag, ..Asked::new(BODY) };
        asked.headers.extend(lines.iter().map(|line| ("accept", *line)));
        asked.digest()
    };
    assert_eq!(accepting(&["*/*"]), accepting(&[]));
    assert_ne!(accepting(&["text/html"]), accepting(&[]));
    assert_ne!(accepting(&["*/*", "text/html"]), accepting(&["text/html"]));
}

const VENDORS: [Dialect; 21] = [
    Dialect::OpenAiChat,
    Dialect::OpenAiCompletions,
    Dialect::OpenAiResponses,
    Dialect::OpenAiTranscription,
    Dialect::OpenAiSpeech,
    Dialect::OpenAiSearch,
    Dialect::Anthropic,
    Dialect::CohereChat,
    Dialect::OllamaChat,
    Dialect::OllamaGenerate,
    Dialect::Gemini,
    Dialect::Embedding,
    Dialect::TeiEmbed,
    Dialect::TeiEmbedSparse,
    Dialect::CohereEmbed,
    Dialect::GeminiEmbed,
    Dialect::GeminiBatchEmbed,
    Dialect::OpenAiModerations,
    Dialect::Rerank,
    Dialect::TeiRerank,
    Dialect::Score,
];

/// Node's `fetch` says `*`, a browser its user's languages, and Python nothing.
#[test]
fn languages_count_where_a_service_may_speak_them() {
    for dialect in Dialect::NAMED.into_iter().chain([Dialect::Embedding]) {
        let speaking = |lines: &[&'static str]| {
            let mut asked = Asked { dialect, ..Asked::new(BODY) };
            asked.headers.extend(lines.iter().map(|line| ("accept-language", *line)));
            asked.digest()
        };
        let is_vendors = VENDORS.contains(&dialect);
        assert_eq!(speaking(&["*"]), speaking(&[]), "{dialect:?}");
        for lines in [&["de"][..], &["*", "de"], &["de, *;q=0.5"], &[""]] {
            assert_eq!(speaking(lines) == speaking(&[]), is_vendors, "{dialect:?} {lines:?}");
        }
        assert_eq!(speaking(&["de"]) == speaking(&["en"]), is_vendors, "{dialect:?}");
    }
    let named = Scope::Headers(vec![header::ACCEPT_LANGUAGE]);
    let mut asked = Asked { route: Route { scope: named, ..route() }, ..Asked::new(BODY) };
    let without = asked.digest();
    asked.headers.push(("accept-language", "de"));
    assert_ne!(asked.digest(), without, "a header that the scope names is in the key");
}

/// A request to Gemini with this query, for a document or for a stream.
fn gemini(method: &str, query: &str) -> Asked {
    let route = Route { name: format!("POST /**/{{model}}:{method}"), ..route() };
    let target = format!("/v1beta/models/m:{method}{query}");
    Asked { route, dialect: Dialect::Gemini, target, ..Asked::new(r#"{"contents":[1]}"#) }
}

#[test]
fn the_path_and_alt_choose_a_form_and_no_key() {
    let document = gemini("generateContent", "").digest();
    for query in ["", "?", "?alt=sse", "?%61lt=json", "?$alt=sse&", "?alt=proto"] {
        for method in ["generateContent", "streamGenerateContent"] {
            assert_eq!(gemini(method, query).digest(), document, "{method}{query}");
        }
    }
    for (method, query) in [
        ("countTokens", ""),
        ("generateContent", "?fields=candidates"),
        ("generateContent", "?altitude=1"),
        ("streamGenerateContent", "?alt=sse&prettyPrint=false"),
    ] {
        assert_ne!(gemini(method, query).digest(), document, "{method}{query}");
    }
    let other = Asked { dialect: Dialect::OpenAiChat, ..gemini("generateContent", "?alt=sse") };
    let without = Asked { target: "/v1beta/models/m:generateContent".into(), ..other.clone() };
    assert_ne!(other.digest(), without.digest(), "in another API it is a parameter like any other");
    let mut varied = gemini("generateContent", "?a=1&b=2&key=k");
    varied.route.vary_by = Some(vec!["a".to_owned(), "key".to_owned(), "alt".to_owned()]);
    let one = varied.digest();
    varied.target = "/v1beta/models/m:streamGenerateContent?alt=sse&a=1&b=3&key=k".into();
    assert_eq!(varied.digest(), one);
}

/// A credential in the query counts as the header that it replaces does, and is nowhere else in the key.
#[test]
fn credentials_in_the_query_are_of_the_scope() {
    let google = HeaderName::from_static("x-goog-api-key");
    let of_key = Scope::Headers(vec![google]);
    let of_bearer = Scope::Headers(vec![http::header::AUTHORIZATION]);
    for (scope, name, counts) in [
        (Scope::Credential, "key", true),
        (Scope::Credential, "$key", true),
        (Scope::Credential, "access_token", true),
        (Scope::Credential, "oauth_token", true),
        (Scope::Shared, "key", false),
        (Scope::Shared, "access_token", false),
        (of_key.clone(), "key", true),
        (of_key, "access_token", false),
        (of_bearer.clone(), "access_token", true),
        (of_bearer, "key", false),
    ] {
        let digest = |method: &str, query: &str| {
            let mut asked = gemini(method, query);
            asked.route.scope = scope.clone();
            asked.digest()
        };
        let one = digest("generateContent", &format!("?{name}=one"));
        assert_eq!(one, digest("streamGenerateContent", &format!("?alt=sse&{name}=one")), "{scope:?} {name}");
        assert_eq!(one, digest("generateContent", &format!("?{name}=%6fne")), "{scope:?} {name}");
        assert_eq!(one != digest("generateContent", &format!("?{name}=two")), counts, "{scope:?} {name}");
        assert_eq!(one != digest("generateContent", ""), counts, "{scope:?} {name}");
    }
    let digest = |headers: &[(&'static str, &'static str)], query: &str| {
        let mut asked = gemini("generateContent", query);
        asked.headers.extend_from_slice(headers);
        asked.digest()
    };
    let mut all = vec![
        digest(&[], "?key=one"),
        digest(&[], "?key=one&key=two"),
        digest(&[], "?key=two&key=one"),
        digest(&[], "?access_token=one"),
        digest(&[("x-goog-api-key", "one")], ""),
        digest(&[("x-goog-api-key", "one")], "?key=two"),
        digest(&[("x-goog-api-key", "two")], "?key=one"),
        digest(&[("x-goog-api-key", "one"), ("x-goog-api-key", "two")], ""),
    ];
    let count = all.len();
    all.sort_by_key(|digest| *digest.as_bytes());
    all.dedup();
    assert_eq!(all.len(), count, "which of two the service believes is not known");
}

#[test]
fn head_is_get() {
    let [mut get, mut head, post] = [Asked::new(BODY), Asked::new(BODY), Asked::new(BODY)];
    (get.method, head.method) = (Method::GET, Method::HEAD);
    assert_eq!(get.digest(), head.digest());
    assert_ne!(get.digest(), post.digest());
}

#[test]
fn scopes_decide_who_shares() {
    let mut one = Asked::new(BODY);
    let mut two = one.clone();
    two.headers[0].1 = "Bearer two";
    for (scope, shared) in [
        (Scope::Credential, false),
        (Scope::Shared, true),
        (Scope::Headers(vec![HeaderName::from_static("x-some")]), true),
        (Scope::Headers(vec![http::header::AUTHORIZATION]), false),
    ] {
        one.route.scope = scope.clone();
        two.route.scope = scope.clone();
        assert_eq!(one.digest() == two.digest(), shared, "{scope:?}");
    }
    let agent = HeaderName::from_static("user-agent");
    one.route.scope = Scope::Headers(vec![agent]);
    two = one.clone();
    two.headers.push(("user-agent", "x"));
    assert_ne!(one.digest(), two.digest(), "a header that the scope names is in the key");
}

proptest! {
    /// Bodies that differ in meaning have different keys; those that differ in spelling have the same.
    #[test]
    fn a_body_counts_by_its_meaning(
        a in proptest::collection::btree_map("[a-c]", "[a-b\\\\\"é]{0,2}", 0..4),
        b in proptest::collection::btree_map("[a-c]", "[a-b\\\\\"é]{0,2}", 0..4),
    ) {
        let spell = |map: &std::collections::BTreeMap<String, String>, pretty: bool| {
            let value = serde_json::json!({ "model": "m", "messages": [map] });
            if pretty { format!("{value:#}") } else { value.to_string() }
        };
        let one = Asked::new(&spell(&a, false)).digest();
        prop_assert_eq!(one, Asked::new(&spell(&a, true)).digest());
        prop_assert_eq!(one == Asked::new(&spell(&b, false)).digest(), a == b);
    }
}
