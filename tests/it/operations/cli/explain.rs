//! `sidecache explain`: the proxy's own keys, and what makes two of them differ.

use serde_json::{Value, json};

use super::{Ended, command};
use crate::support::{
    Script, Setup, Upstream, run,
    samples::{CHAT, cases, chat},
};

/// Routes with every setting that changes keys.
const ROUTES: &str = r#"
ignore_headers = ["x-noise-*"]
[[route]]
name = "ask"
match = "POST /ask/{tenant}"
kind = "query"
dialect = "rag"
scope = "shared"
ignore = ["/trace", "/items/*/id"]
normalize = ["trim", "collapse", "casefold"]
[[route]]
name = "by tenant"
match = "POST /tenant"
kind = "other"
scope = ["x-tenant"]
[[route]]
name = "bytes"
match = "PUT /bytes/**"
kind = "other"
dialect = "none"
[[route]]
name = "any method"
match = "* /any"
kind = "other"
[[route]]
name = "queries"
match = "POST /modes"
kind = "query"
when = ['/mode = "query"', '!/reset']
[[route]]
name = "no drafts"
match = "POST /modes"
kind = "query"
when = ["/draft"]
cache = false
[[route]]
name = "never"
match = "GET /never"
kind = "other"
cache = false
"#;

/// A request as a file has it.
fn text(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    format!("{method} {target} HTTP/1.1\n{headers}\n{body}")
}

/// Explains what comes on standard input.
fn explain(arguments: &[&str], input: &str) -> Ended {
    command(&Setup::bare().config(ROUTES).arguments(&["explain"]).arguments(arguments), input)
}

/// Compares two requests.
fn compare(left: &str, right: &str, arguments: &[&str]) -> Ended {
    let setup = Setup::bare().config(ROUTES).arguments(&["explain", "left", "right"]).arguments(arguments);
    std::fs::write(setup.dir().join("left"), left).expect("a file");
    std::fs::write(setup.dir().join("right"), right).expect("a file");
    command(&setup, "")
}

#[test]
fn explain_prints_the_keys_of_the_proxy() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"answer": "a"}))).await;
        let sidecache = Setup::to(&upstream.url()).config(ROUTES).start().await;
        let client = sidecache.client();
        const JSON: (&str, &str) = ("content-type", "application/json");
        type Asked<'a> = (&'a str, String, Vec<(&'a str, &'a str)>, String);
        let mut requests: Vec<Asked<'_>> = vec![
            ("GET", "/api/v1/documents/a%20b?x=1&y=%2F".into(), vec![("accept", "text/html")], String::new()),
            (
                "GET",
                "/api/v1/conversations/7".into(),
                vec![("cookie", "a=b"), ("x-noise-1", "n")],
                String::new(),
            ),
            (
                "POST",
                "/ask/one".into(),
                vec![JSON],
                r#"{"query": " Who  IS\nit? ", "trace": 7, "items": [{"id": 1}]}"#.into(),
            ),
            (
                "POST",
                "/ask/two".into(),
                vec![("Content-Type", "application/json; charset=utf-8"), ("authorization", "Bearer x")],
                r#"{"n": 1e400, "query": "é"}"#.into(),
            ),
            (
                "POST",
                "/tenant".into(),
                vec![JSON, ("x-tenant", "t"), ("authorization", "Bearer x")],
                "[1, {\"a\": null}]".into(),
            ),
            (
                "PUT",
                "/bytes/a/b".into(),
                vec![("connection", "x-hop"), ("x-hop", "1"), ("x-kept", "1")],
                "not JSON\n".into(),
            ),
            (
                "POST",
                CHAT.into(),
                vec![
                    JSON,
                    ("accept", "text/event-stream"),
                    ("user-agent", "me"),
                    ("x-two", "1"),
                    ("x-two", "2"),
                ],
                chat().to_string(),
            ),
        ];
        for case in cases() {
            // A batch's inputs have keys of their own.
            if case.kind == "query" {
                requests.push(("POST", case.target.to_owned(), vec![JSON], case.question.to_string()));
            }
        }
        for (method, target, headers, body) in requests {
            let answer = client.request(method, &target, &headers, body.clone()).await;
            let mut stated = headers.clone();
            let length = body.len().to_string();
            stated.push(("content-length", &length));
            let received = explain(&["--json"], &text(method, &target, &stated, &body)).json();
            assert_eq!(received["key"], answer.key(), "{method} {target}: {received:#}");
            let shown = explain(&[], &text(method, &target, &stated, &body));
            assert!(
                shown.success && shown.output.contains(&format!("key       {}\n", answer.key())),
                "{}",
                shown.output
            );
        }
    });
}

#[test]
fn explain_takes_a_body_alone_with_its_path_as_an_argument() {
    let body = chat().to_string();
    let alone = explain(&["--path", CHAT, "--json"], &body).json();
    let whole = text("POST", CHAT, &[("content-type", "application/json")], &body);
    assert_eq!(alone, explain(&["-", "--json"], &whole).json());
    assert_eq!((&alone["kind"], &alone["dialect"]), (&"query".into(), &"openai-chat".into()));
    assert_eq!(
        alone["normal_form"],
        r#"{"messages":[{"content":"Who keeps entries?","role":"user"}],"model":"m"}"#
    );
    assert_eq!(alone["route"], "POST /**/chat/completions");
}

#[test]
fn explain_prints_a_key_for_each_input_of_a_batch() {
    run(async {
        let vector = |index: usize| json!({"object": "embedding", "index": index, "embedding": [0.5]});
        let answer = json!({"object": "list", "model": "e", "data": [vector(0), vector(1)]});
        let upstream = Upstream::always(Script::json(&answer)).await;
        let sidecache = Setup::to(&upstream.url()).config(ROUTES).admin().start().await;
        let batch = json!({"model": "e", "input": ["one", "two"]});
        sidecache.client().post("/v1/embeddings", &batch).await;
        let listed = sidecache.operator().get("/entries?kind=embedding").await.json();
        let key = |entry: &Value| entry["key"].as_str().expect("a key").to_owned();
        let mut stored: Vec<_> = listed["entries"].as_array().expect("a list").iter().map(key).collect();
        let received = explain(&["--path", "/v1/embeddings", "--json"], &batch.to_string()).json();
        let mut explained: Vec<_> = received["inputs"].as_array().expect("a list").iter().map(key).collect();
        let shown = explain(&["--path", "/v1/embeddings"], &batch.to_string()).output;
        assert!(shown.contains(&format!("key       {}  \"one\"\n", explained[0])), "{shown}");
        let alone = json!({"input": "two", "user": "u", "model": "e"});
        let alone = explain(&["--path", "/v1/embeddings", "--json"], &alone.to_string()).json();
        assert_eq!(alone["key"], explained[1]);
        stored.sort_unstable();
        explained.sort_unstable();
        assert_eq!(stored, explained);
        let other = json!({"model": "e", "input": ["one", "three", "four"]});
        let received =
            compare(&batch.to_string(), &other.to_string(), &["--path", "/v1/embeddings", "--json"]).json();
        let at = |part: &Value| format!("{} {} {} {}", part["part"], part["at"], part["left"], part["right"]);
        let differences: Vec<_> =
            received["differences"].as_array().expect("a list").iter().map(at).collect();
        let expected = [r#""input" "1" "\"two\"" "\"three\"""#, r#""input" "2" null "\"four\"""#];
        assert_eq!(differences, expected);
    });
}

#[test]
fn explain_says_why_a_request_has_no_key() {
    for (request, received) in [
        (text("GET", "/none", &[], ""), "no route covers GET /none"),
        (text("GET", "/never", &[], ""), "cache = false"),
        (text("GET", "/health/ready", &[], ""), "by sidecache itself"),
        (text("GET", "/api/v1/documents/..%2fx", &[], ""), "may be another one"),
        (text("PUT", "/any", &[], ""), "PUT is not cached"),
        (text("POST", CHAT, &[], &chat().to_string()), "no Content-Type: application/json"),
        (text("POST", CHAT, &[("content-type", "application/json")], "{}"), "is not what the built-in route"),
        (
            text("GET", "/api/v1/documents/1", &[("connection", "upgrade"), ("upgrade", "websocket")], ""),
            "asks for an upgrade",
        ),
        (
            text("GET", "/api/v1/documents/1", &[("cache-control", "no-store")], ""),
            "bypass    request-no-store",
        ),
        (
            text("POST", "/ask/x", &[("content-type", "application/json")], r#"{"query":"q","query":"r"}"#),
            "bypass    request-repeated-member",
        ),
    ] {
        let ended = explain(&[], &request);
        assert!(ended.success, "{}", ended.complaint);
        assert!(ended.output.contains(received), "{received}: {}", ended.output);
        assert!(ended.output.contains("key       none\n"), "{}", ended.output);
    }
}

#[test]
fn explain_says_which_routes_were_tried() {
    let tried = |body: &str| {
        let request = text("POST", "/modes", &[("content-type", "application/json")], body);
        let shown = explain(&[], &request).output;
        let received = explain(&["--json"], &request).json();
        for tried in received["tried"].as_array().into_iter().flatten() {
            let (route, unmet) = (tried["route"].as_str(), tried["unmet"].as_str());
            let line =
                format!("tried     {}: {} does not hold\n", route.expect("a name"), unmet.expect("a text"));
            assert!(shown.contains(&line), "{line}: {shown}");
        }
        let names = |list: &Value| list.as_array().map_or(0, Vec::len);
        (names(&received["tried"]), received["route"].clone(), received["passed"].clone())
    };
    assert_eq!(tried(r#"{"query":"q","mode":"query"}"#), (0, "queries".into(), Value::Null));
    assert_eq!(
        tried(r#"{"query":"q","draft":1}"#),
        (1, Value::Null, "the route no drafts has cache = false".into())
    );
    let none = "no other route covers POST /modes";
    assert_eq!(tried(r#"{"query":"q","mode":"query","reset":true}"#), (2, Value::Null, none.into()));
    assert_eq!(tried("no JSON"), (2, Value::Null, none.into()));
}

#[test]
fn explain_names_what_makes_two_keys_differ() {
    const JSON: (&str, &str) = ("content-type", "application/json");
    let ask = |target: &str, headers: &[(&str, &str)], body: &str| {
        text("POST", target, &[&[JSON], headers].concat(), body)
    };
    let base = ask("/ask/a?v=1", &[("x-a", "1")], r#"{"query": "Who?", "list": [1, {"b/~": true}]}"#);
    let differ = |other: &str| -> Vec<(String, String, Value, Value)> {
        let received = compare(&base, other, &["--json"]).json();
        assert_eq!(received["same_key"], received["requests"][0]["key"] == received["requests"][1]["key"]);
        let found = received["differences"].as_array().expect("a list").iter();
        found
            .map(|own| {
                let text = |name: &str| own[name].as_str().expect("text").to_owned();
                (text("part"), text("at"), own["left"].clone(), own["right"].clone())
            })
            .collect()
    };
    // Equal keys: order, white space, case, ignored members, credentials in a shared scope.
    let same = ask(
        "/ask/a?v=1",
        &[("authorization", "Bearer x"), ("x-noise-9", "n"), ("x-a", "1")],
        r#"{"trace": 1, "list": [1.0, {"b/~": true}], "query": " WHO? "}"#,
    );
    let one =
        |part: &str, at: &str, left: Value, right: Value| vec![(part.to_owned(), at.to_owned(), left, right)];
    assert_eq!(differ(&same), one("body", "/list/0", json!("1"), json!("1.0")));
    assert_eq!(differ(&same.replace("1.0", "1")), []);
    for (other, expected) in [
        (base.replace("?v=1", "?v=2"), one("query", "", json!("v=1"), json!("v=2"))),
        (base.replace("?v=1", ""), one("query", "", json!("v=1"), Value::Null)),
        (base.replace("/ask/a", "/ask/b"), one("path", "", json!("/ask/a"), json!("/ask/b"))),
        (
            base.replace("x-a: 1", "x-b: 1"),
            [one("header", "x-a", json!("1"), Value::Null), one("header", "x-b", Value::Null, json!("1"))]
                .concat(),
        ),
        (base.replace("true", "false"), one("body", "/list/1/b~1~0", json!("true"), json!("false"))),
        (
            base.replace(r#""Who?","#, r#""Who?", "more": {"a": 1},"#),
            one("body", "/more", Value::Null, json!(r#"{"a":1}"#)),
        ),
    ] {
        assert_eq!(differ(&other), expected, "{other}");
    }
    let elsewhere = differ(&text("PUT", "/bytes/x", &[], "b"));
    let parts: Vec<_> = elsewhere.iter().map(|(part, at, ..)| format!("{part} {at}")).collect();
    assert_eq!(parts, ["route ", "dialect ", "method ", "path ", "query ", "header x-a", "body "]);
    let received = compare(&base, &base.replace("Who?", "What?"), &[]);
    assert!(received.success && received.output.contains("body /query"), "{}", received.output);
    let received = compare(&base, &base, &[]);
    assert!(received.success && received.output.contains("the same key"), "{}", received.output);
}

/// The parts of a form count, and the boundary between them does not.
#[test]
fn explain_lists_the_parts_of_a_form() {
    let form = |boundary: &str, model: &str, file: &str| {
        let field =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n");
        let head = format!(
            "Content-Disposition: form-data; name=\"file\"; filename=\"{file}\"\r\nContent-Type: audio/mpeg"
        );
        let body = format!("{field}--{boundary}\r\n{head}\r\n\r\nRIFF\r\n--{boundary}--\r\n");
        let media = format!("multipart/form-data; boundary={boundary}");
        text("POST", "/v1/audio/transcriptions", &[("content-type", &media)], &body)
    };
    let one = form("b1", "whisper-1", "a.mp3");
    let received = explain(&[], &one);
    for line in [
        "dialect   openai-transcription",
        "headers   content-type: multipart/form-data\n",
        "parts     model = \"whisper-1\"",
        "          file, a.mp3, audio/mpeg, 4 bytes, blake3:",
    ] {
        assert!(received.success && received.output.contains(line), "{line}: {}", received.output);
    }
    let same = compare(&one, &form("c22", "whisper-1", "a.mp3"), &["--json"]).json();
    assert_eq!((&same["same_key"], &same["differences"]), (&json!(true), &json!([])));
    let other = compare(&one, &form("c22", "gpt-4o", "b.mp3"), &["--json"]).json();
    let found: Vec<_> = other["differences"].as_array().expect("a list").iter().collect();
    assert_eq!((&found[0]["part"], &found[0]["at"]), (&json!("part"), &json!("0")), "{found:?}");
    assert_eq!(
        (&found[0]["left"], &found[0]["right"]),
        (&json!("model = \"whisper-1\""), &json!("model = \"gpt-4o\""))
    );
    assert_eq!((&found[1]["at"], found.len(), &other["same_key"]), (&json!("1"), 2, &json!(false)));
}

/// What the service keeps for one caller is in nobody else's key, which the scope says.
#[test]
fn explain_says_for_whom_the_service_keeps_an_answer() {
    let shared = |key: &str, store: bool| {
        let body = json!({"model": "m", "input": "Who?", "store": store}).to_string();
        let headers = [("content-type", "application/json"), ("authorization", key)];
        let setup = Setup::bare().config("scope = \"shared\"").arguments(&["explain", "--json"]);
        command(&setup, &text("POST", "/v1/responses", &headers, &body)).json()
    };
    let (one, two) = (shared("Bearer canary-1", true), shared("Bearer canary-2", true));
    assert_ne!(one["key"], two["key"]);
    assert_ne!(one["scope"], two["scope"]);
    assert!(
        one["scope"].as_str().is_some_and(|scope| scope.starts_with("shared; the service keeps")),
        "{one}"
    );
    assert!(!one.to_string().contains("canary"));
    let (one, two) = (shared("Bearer canary-1", false), shared("Bearer canary-2", false));
    assert_eq!((&one["key"], &one["scope"]), (&two["key"], &json!("shared")));
}

#[test]
fn explain_shows_credentials_only_as_hashes() {
    let with = |secret: &str| {
        text(
            "GET",
            &format!("/api/v1/documents/1?api_key={secret}&page=2"),
            &[("authorization", secret), ("x-api-key", secret), ("cookie", secret)],
            "",
        )
    };
    for arguments in [&[][..], &["--json"]] {
        let received = compare(&with("canary-1"), &with("canary-2"), arguments);
        assert!(received.success && !received.output.contains("canary"), "{}", received.output);
        for part in ["authorization", "x-api-key", "cookie", "query", "page=2", "blake3:"] {
            assert!(received.output.contains(part), "{part}: {}", received.output);
        }
    }
}

#[test]
fn explain_reports_mistakes_in_one_line() {
    let setup = || Setup::bare().config("[limits]\nmax_body = \"1KiB\"\n[upstream]\nhost = \"preserve\"");
    let complaint = |arguments: &[&str], input: &str| {
        let setup = setup().arguments(&["explain"]).arguments(arguments);
        command(&setup, input).one_complaint().to_owned()
    };
    for (arguments, input, received) in [
        (&["missing"][..], "", "missing: cannot be read"),
        (&[], "", "standard input: is empty"),
        (&[], "{}", "--path"),
        (&["-"], "POST /x\nno header\n", "line 2"),
        (&[], "GET /x\n", "`Host`"),
        (&[], &format!("POST /x\nhost: a\n\n{}", "x".repeat(2000)), "limits.max_body"),
    ] {
        let complaint = complaint(arguments, input);
        assert!(complaint.contains(received), "{received}: {complaint}");
    }
    let faulty = Setup::bare().config("[ttl]\nqeury = 1").arguments(&["explain"]);
    assert!(command(&faulty, "GET /x\n").one_complaint().contains("did you mean"));
}

/// The key that a newcomer compares first must be right.
#[test]
fn the_example_in_the_readme_is_what_explain_prints() {
    let readme = include_str!("../../../../README.md");
    let (_, example) = readme.split_once("$ echo '").expect("an example");
    let (question, rest) = example.split_once("' | sidecache explain --path ").expect("its command");
    let (path, rest) = rest.split_once('\n').expect("its path");
    let received: String = rest
        .lines()
        .take_while(|line| line.starts_with("    "))
        .map(|line| format!("{}\n", &line[4..]))
        .collect();
    let ended = command(&Setup::bare().arguments(&["explain", "--path", path]), question);
    assert_eq!(ended.output, received, "{}", ended.complaint);
}

#[test]
fn explain_knows_the_routes_of_the_command_line() {
    let setup = Setup::bare().arguments(&["explain", "--path", "/chat", "--route", "POST /chat query 1h"]);
    let ended = command(&setup, "{\"question\": \"Who?\"}");
    assert!(ended.success, "{}", ended.complaint);
    assert!(ended.output.contains("route     POST /chat (--route)\n"), "{}", ended.output);
    assert!(ended.output.contains("kind      query, kept for 3600 s\n"), "{}", ended.output);
    // The same route in the file has the same keys.
    let file = "[[route]]\nmatch = \"POST /chat\"\nkind = \"query\"";
    let in_file = command(
        &Setup::bare().config(file).arguments(&["explain", "--path", "/chat"]),
        "{\"question\": \"Who?\"}",
    );
    let key = |output: &str| output.lines().find(|line| line.starts_with("key")).map(str::to_owned);
    assert_eq!(key(&ended.output), key(&in_file.output), "{}", in_file.output);
}

#[test]
fn explain_shows_the_epoch() {
    let explain = |setup: Setup| {
        let setup = setup.arguments(&["explain", "--path", CHAT]);
        command(&setup, &chat().to_string()).output
    };
    let (without, with) = (explain(Setup::bare()), explain(Setup::bare().env("CACHE_EPOCH", "new index")));
    assert!(with.contains("epoch     new index\n") && !without.contains("epoch"), "{with}{without}");
    assert_ne!(with.lines().last(), without.lines().last());
}
