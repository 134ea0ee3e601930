//! `sidecache init` in front of services that it has never seen: the file that it writes is all that they need.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Received, Script, Setup, Upstream, run};

/// A description as FastAPI makes one.
fn described(title: &str, paths: Value, schemas: Value) -> Value {
    json!({"openapi": "3.1.0", "info": {"title": title, "version": "0.1.0"}, "paths": paths,
        "components": {"schemas": schemas}})
}

fn takes(schema: &str, gives: Value) -> Value {
    let body = json!({"required": true, "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}}});
    let answer = json!({"200": {"description": "Successful Response", "content": {"application/json": {"schema": gives}}}});
    json!({"requestBody": body, "responses": answer})
}

fn text() -> Value {
    json!({"type": "string"})
}

/// A chain behind `/chat`, documents beside it.
fn chain() -> Value {
    let path_id = json!([{"in": "path", "name": "doc_id", "required": true, "schema": {"type": "string"}}]);
    let json_answer = json!({"200": {"content": {"application/json": {"schema": {}}}}});
    described(
        "My RAG",
        json!({
            "/chat": {"post": takes("ChatRequest", json!({"$ref": "#/components/schemas/ChatResponse"}))},
            "/documents": {"get": {"responses": json_answer}, "post": takes("Doc", json!({}))},
            "/documents/{doc_id}": {
                "get": {"parameters": path_id, "responses": json_answer},
                "delete": {"parameters": path_id, "responses": json_answer},
            },
            "/healthz": {"get": {"responses": json_answer}},
        }),
        json!({
            "ChatRequest": {"type": "object", "properties": {
                "question": text(), "top_k": {"type": "integer"},
                "session_id": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            }},
            "ChatResponse": {"type": "object", "properties": {
                "answer": text(),
                "sources": {"type": "array", "items": {"$ref": "#/components/schemas/Source"}},
            }},
            "Source": {"type": "object", "properties": {"doc_id": text(), "score": {"type": "number"}}},
            "Doc": {"type": "object", "properties": {"text": text()}},
        }),
    )
}

/// An index that is asked in the URL, and filled by uploads.
fn index() -> Value {
    let parameters = json!([{"in": "query", "name": "q", "schema": {"type": "string"}}]);
    let answer = json!({"200": {"content": {"application/json": {"schema": {"type": "object", "properties": {
        "results": {"type": "array", "items": {"type": "object", "properties": {"id": text()}}}}}}}}});
    let form = json!({"content": {"multipart/form-data": {"schema": {}}}});
    described(
        "Index",
        json!({
            "/search": {"get": {"parameters": parameters, "responses": answer}},
            "/upload": {"post": {"requestBody": form, "responses": {"200": {"content": {"application/json": {}}}}}},
            "/summarize": {"post": takes("Text", json!({}))},
        }),
        json!({"Text": {"type": "object", "properties": {"text": text()}}}),
    )
}

/// An agent, which acts.
fn agent() -> Value {
    described(
        "Helper",
        json!({"/agent/run": {"post": takes("Task", json!({}))}}),
        json!({"Task": {"type": "object", "properties": {"prompt": text()}}}),
    )
}

fn answer(description: &Value, request: &Received) -> Script {
    match (request.method.as_str(), request.target.split('?').next().expect("a path")) {
        ("GET", "/openapi.json") => Script::json(description),
        ("POST", "/chat") => Script::json(&json!({"answer": "Yes.", "sources": [{"doc_id": "7"}]})),
        ("GET", "/search") => Script::json(&json!({"results": [{"id": "7", "text": "A hit."}]})),
        ("POST" | "DELETE", _) => Script::json(&json!({"summary": "Short."})),
        _ => Script::json_with(404, &[], &json!({"detail": "Not Found"})),
    }
}

/// Runs it in front of a service, and starts sidecache with the file.
async fn begun(description: Value) -> (Upstream, Setup, String) {
    let upstream = Upstream::start(move |request| answer(&description, request)).await;
    let setup = Setup::bare();
    let output = init(&setup, &upstream, &["-o", "made.toml"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(setup.dir().join("made.toml")).expect("a file");
    let asked: Vec<_> = upstream.requests().iter().map(|request| request.method.clone()).collect();
    assert!(asked.iter().all(|method| method == "GET"), "it changes nothing: {asked:?}");
    (upstream, setup, text)
}

async fn init(setup: &Setup, upstream: &Upstream, arguments: &[&str]) -> Output {
    let mut command = setup.command();
    command.args(["init", "--upstream", &upstream.url()]).args(arguments);
    tokio::task::spawn_blocking(move || command.output().expect("an output")).await.expect("no panic")
}

#[test]
fn the_second_question_hits_without_an_edit() {
    run(async {
        let (upstream, _, text) = begun(chain()).await;
        let sidecache = Setup::to(&upstream.url()).config(&without_upstream(&text)).start().await;
        let client = sidecache.client();
        let question = json!({"question": "q"});
        for expected in ["MISS", "HIT"] {
            assert_eq!(client.post("/chat", &question).await.cache(), expected, "{text}");
        }
        let turn = client.post("/chat", &json!({"question": "q", "session_id": "s"})).await;
        assert_eq!(turn.cache(), "BYPASS");
        client.request("DELETE", "/documents/7", &[], "").await;
        assert_eq!(client.post("/chat", &question).await.cache(), "MISS", "{text}");
        assert!(text.contains("tags = [\"/sources/*/doc_id\"]"), "{text}");

        let (upstream, _, text) = begun(index()).await;
        let sidecache = Setup::to(&upstream.url()).config(&without_upstream(&text)).start().await;
        let client = sidecache.client();
        for expected in ["MISS", "HIT"] {
            assert_eq!(client.get("/search?q=a").await.cache(), expected, "{text}");
            assert_eq!(
                client.post("/summarize", &json!({"text": "Long."})).await.cache(),
                expected,
                "{text}"
            );
        }
        let form = [("content-type", "multipart/form-data; boundary=b")];
        client.request("POST", "/upload", &form, "--b--").await;
        assert_eq!(client.get("/search?q=a").await.cache(), "MISS", "{text}");
    });
}

/// The test's own configuration names the service.
fn without_upstream(text: &str) -> String {
    text.replacen("[upstream]\n", "", 1)
        .lines()
        .filter(|line| !line.starts_with("url = "))
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn what_may_act_is_commented_out_and_says_what_to_do() {
    run(async {
        let (upstream, setup, text) = begun(agent()).await;
        assert!(!text.lines().any(|line| line == "[[route]]"), "{text}");
        assert!(text.contains("#match = \"POST /agent/run\""), "{text}");
        assert!(text.contains("if it does something, it must not be cached"), "{text}");
        let own = text.lines().map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with("[[") || rest.contains(" = ") && !rest.starts_with(' ') => rest,
            _ => line,
        });
        let own = own.fold(String::new(), |text, line| text + line + "\n");
        let sidecache = Setup::to(&upstream.url()).config(&without_upstream(&own)).start().await;
        for expected in ["MISS", "HIT"] {
            let answer = sidecache.client().post("/agent/run", &json!({"prompt": "q"})).await;
            assert_eq!(answer.cache(), expected, "{own}");
        }
        let again = init(&setup, &upstream, &["-o", "made.toml"]).await;
        assert!(!again.status.success());
        assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
        assert!(init(&setup, &upstream, &["-o", "made.toml", "--force"]).await.status.success());
    });
}

#[test]
fn a_known_service_gets_its_preset() {
    run(async {
        let paths = json!({"/query": {"post": {}}, "/query/stream": {"post": {}}, "/query/data": {"post": {}},
            "/documents/upload": {"post": {}}, "/api/chat": {"post": {}}, "/api/generate": {"post": {}}});
        let (_upstream, _, text) = begun(described("LightRAG Server API", paths, json!({}))).await;
        assert!(text.contains("presets = [\"lightrag\"]"), "{text}");
        // Without a description: the paths answer, but not to `OPTIONS`.
        let upstream = Upstream::start(|request| {
            let known = ["/query", "/query/stream", "/query/data", "/api/chat", "/api/generate"];
            let status = if known.contains(&request.target.as_str()) { 405 } else { 404 };
            Script::json_with(status, &[], &json!({}))
        })
        .await;
        let output = init(&Setup::bare(), &upstream, &["-o", "-"]).await;
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.contains("presets = [\"lightrag\"]"), "{text}");
        let methods: std::collections::BTreeSet<_> =
            upstream.requests().into_iter().map(|request| request.method).collect();
        assert_eq!(methods.into_iter().collect::<Vec<_>>(), ["GET", "OPTIONS"]);
    });
}

#[test]
fn a_service_that_says_nothing_gets_a_minimal_file() {
    run(async {
        for status in [404, 200, 500] {
            let upstream =
                Upstream::always(Script::json_with(status, &[], &json!({"detail": "Hello"}))).await;
            let output = init(&Setup::bare(), &upstream, &["-o", "-"]).await;
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            assert!(output.status.success() && text.contains("--route \"POST /chat\""), "{status}: {text}");
            assert!(text.contains(&format!("url = \"{}\"", upstream.url())), "{text}");
        }
        let nobody = Upstream::always(Script::raw().close()).await;
        let output = init(&Setup::bare(), &nobody, &["-o", "-"]).await;
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("is the service running?"));
        let setup = Setup::bare();
        let output = setup.command().arg("init").output().expect("an output");
        assert!(String::from_utf8_lossy(&output.stderr).contains("init: name the service, as in"));
    });
}
