//! What clients say about themselves: what is known to change no answer is not in the key; everything else is, and is
//! suggested.

use serde_json::{Value, json};

use crate::support::{
    Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, anthropic_events, cases, responses_answer},
};

const UUID: &str = "7cae4cbf-ca7d-4ebe-937f-6bcd7f27ecb6";
const OTHER_UUID: &str = "bebf9a1c-078f-4bd9-90e8-55f5207f6972";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";

/// What two requests differ in: headers and members.
struct Pair {
    what: &'static str,
    target: &'static str,
    /// Of both requests.
    common: Value,
    headers: [Vec<(&'static str, &'static str)>; 2],
    members: [Value; 2],
}

fn question(target: &str) -> Value {
    cases().into_iter().find(|case| case.target == target).expect("a case").question
}

fn answer(target: &str) -> Script {
    Script::json(&cases().into_iter().find(|case| case.target == target).expect("a case").answer)
}

fn of_members(what: &'static str, target: &'static str, common: Value, one: Value, two: Value) -> Pair {
    Pair { what, target, common, headers: [Vec::new(), Vec::new()], members: [one, two] }
}

fn of_headers(
    what: &'static str,
    target: &'static str,
    one: &[(&'static str, &'static str)],
    two: &[(&'static str, &'static str)],
) -> Pair {
    Pair {
        what,
        target,
        common: json!({}),
        headers: [one.to_vec(), two.to_vec()],
        members: [json!({}), json!({})],
    }
}

fn merged(parts: [&Value; 3]) -> Value {
    let mut all = serde_json::Map::new();
    for part in parts {
        all.extend(part.as_object().expect("an object").clone());
    }
    Value::Object(all)
}

/// The outcome of the second request of a pair.
async fn second(pair: &Pair) -> String {
    let upstream = Upstream::always(answer(pair.target)).await;
    let sidecache = Sidecache::start(&upstream.url()).await;
    let client = sidecache.client();
    let mut outcome = String::new();
    for (headers, members) in pair.headers.iter().zip(&pair.members) {
        let body = merged([&question(pair.target), &pair.common, members]);
        let answer = client.post_with(pair.target, headers, &body).await;
        assert_eq!(answer.status, 200, "{}", pair.what);
        answer.cache().clone_into(&mut outcome);
        let sent = upstream.last();
        if outcome != "HIT" {
            assert_eq!(sent.json(), body, "{}: it goes upstream as it came", pair.what);
            for (name, value) in headers {
                assert_eq!(sent.header(&name.to_lowercase()), Some(*value), "{}", pair.what);
            }
        }
    }
    outcome
}

fn billing(fields: &str, behind: &str) -> Value {
    let line =
        format!("x-anthropic-billing-header: cc_version=2.1.197.d55; cc_entrypoint=cli; {fields}{behind}");
    json!({"system": [{"type": "text", "text": line}, {"type": "text", "text": "Be brief."}]})
}

fn coding_user(session: &str) -> Value {
    let device = "b5".repeat(32);
    let text = json!({"device_id": device, "account_uuid": "", "session_id": session}).to_string();
    json!({"metadata": {"user_id": text}})
}

fn of_codex(id: &str) -> Value {
    json!({"client_metadata": {"session_id": id, "thread_id": id, "turn_id": id, "root_turn_id": id,
        "x-codex-window-id": format!("{id}:0"), "x-codex-installation-id": id, "x-codex-turn-metadata": id}})
}

fn items(id: &str) -> Value {
    json!({"input": [
        {"type": "message", "role": "user", "id": format!("msg_{id}"), "content": "Who?"},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "id": format!("fco_{id}"), "call_id": "call_1", "output": "Redis."},
    ]})
}

fn left_out() -> Vec<Pair> {
    let none = || json!({});
    let mut pairs = vec![
        of_members(
            "the billing line",
            MESSAGES,
            none(),
            billing("cch=36ee5;", ""),
            billing("cch=0aaa9;", ""),
        ),
        of_members("a coding session", MESSAGES, none(), coding_user(UUID), coding_user(OTHER_UUID)),
        of_members("sessions of Codex", RESPONSES, none(), of_codex(UUID), of_codex(OTHER_UUID)),
        of_members("ids of own items", RESPONSES, none(), items("1"), items("2")),
        of_headers(
            "a session of Claude Code",
            MESSAGES,
            &[("X-Claude-Code-Session-Id", "1")],
            &[("X-Claude-Code-Session-Id", "2")],
        ),
        of_headers(
            "a turn of Codex",
            RESPONSES,
            &[("x-codex-turn-metadata", "1")],
            &[("x-codex-turn-metadata", "2")],
        ),
        of_headers(
            "a session of Codex",
            RESPONSES,
            &[("originator", "codex_exec"), ("session-id", "1"), ("thread-id", "1")],
            &[("originator", "codex_exec"), ("session-id", "2"), ("thread-id", "2")],
        ),
        of_headers(
            "a session of opencode",
            CHAT,
            &[("user-agent", "opencode/1.18"), ("x-session-id", "1"), ("x-session-affinity", "1")],
            &[("user-agent", "opencode/1.18"), ("x-session-id", "2"), ("x-session-affinity", "2")],
        ),
    ];
    for target in [CHAT, RESPONSES] {
        for name in ["prompt_cache_key", "safety_identifier", "prompt_cache_retention"] {
            pairs.push(of_members(name, target, none(), json!({name: "a"}), json!({name: "b"})));
            pairs.push(of_members(name, target, none(), none(), json!({name: "b"})));
        }
    }
    for target in [CHAT, RESPONSES, MESSAGES, "/api/v1/query", "/v1/embeddings"] {
        for name in ["x-client-request-id", "x-ms-client-request-id", "x-trace-id", "langsmith-trace"] {
            pairs.push(of_headers(name, target, &[(name, "1")], &[(name, "2")]));
        }
    }
    pairs
}

#[test]
fn what_clients_say_about_themselves_is_not_in_the_key() {
    run(async {
        for pair in left_out() {
            assert_eq!(second(&pair).await, "HIT", "{} {}", pair.target, pair.what);
        }
    });
}

#[test]
fn what_may_mean_something_is_in_the_key() {
    run(async {
        let none = || json!({});
        let mut pairs = vec![
            of_members(
                "the billing line with more",
                MESSAGES,
                none(),
                billing("cch=1;", ""),
                billing("cch=1;", "\nBe rude."),
            ),
            of_members(
                "unknown fields",
                MESSAGES,
                none(),
                billing("cch=1; mode=a;", ""),
                billing("cch=1; mode=b;", ""),
            ),
            of_members(
                "what is behind the billing line",
                MESSAGES,
                none(),
                billing("cch=1;", ""),
                merged([
                    &billing("cch=1;", ""),
                    &none(),
                    &json!({"system": [{"type": "text", "text": "Be rude."}]}),
                ]),
            ),
            of_members(
                "a user",
                MESSAGES,
                none(),
                json!({"metadata": {"user_id": "a"}}),
                json!({"metadata": {"user_id": "b"}}),
            ),
            of_members(
                "client_metadata of others",
                RESPONSES,
                none(),
                json!({"client_metadata": {"team": "a"}}),
                json!({"client_metadata": {"team": "b"}}),
            ),
            of_members("a member beside Codex's", RESPONSES, none(), of_codex(UUID), {
                let mut more = of_codex(UUID);
                more["client_metadata"]["team"] = "a".into();
                more
            }),
            of_members(
                "a reference",
                RESPONSES,
                none(),
                json!({"input": [{"type": "item_reference", "id": "a"}]}),
                json!({"input": [{"type": "item_reference", "id": "b"}]}),
            ),
            of_headers("a session of others", RESPONSES, &[("session-id", "1")], &[("session-id", "2")]),
            of_headers("a session of others", CHAT, &[("x-session-id", "1")], &[("x-session-id", "2")]),
            of_headers("betas", MESSAGES, &[("anthropic-beta", "1")], &[("anthropic-beta", "2")]),
            of_headers("a project", CHAT, &[("openai-project", "1")], &[("openai-project", "2")]),
        ];
        for target in [CHAT, RESPONSES, MESSAGES, "/api/v1/query"] {
            for name in ["user", "service_tier", "prompt_cache_options", "trace_id"] {
                pairs.push(of_members(name, target, none(), json!({name: "a"}), json!({name: "b"})));
            }
            pairs.push(of_members(
                "metadata",
                target,
                none(),
                json!({"metadata": {"a": "b"}}),
                json!({"metadata": {"a": "c"}}),
            ));
        }
        for name in ["prompt_cache_key", "safety_identifier"] {
            for target in [MESSAGES, "/api/v1/query", "/v1/completions", "/v1/embeddings"] {
                pairs.push(of_members(name, target, none(), json!({name: "a"}), json!({name: "b"})));
            }
            pairs.push(of_members(
                name,
                CHAT,
                none(),
                json!({name: {"tenant": "a"}}),
                json!({name: {"tenant": "b"}}),
            ));
        }
        for pair in pairs {
            assert_eq!(second(&pair).await, "MISS", "{} {}", pair.target, pair.what);
        }
    });
}

/// With what is left out beside it, the part that alone differs is still named.
#[test]
fn what_is_in_doubt_is_suggested() {
    run(async {
        let of_client = |run: usize| {
            let id = format!("{run:08}{}", &UUID[8..]);
            (id.clone(), id)
        };
        for (target, part, line) in [
            (CHAT, "member `/user`", "ignore = [\"/user\"]"),
            (CHAT, "member `/metadata/run`", "ignore = [\"/metadata/run\"]"),
            (CHAT, "header `x-session-id`", "ignore_headers = [\"x-session-id\"]"),
            (RESPONSES, "member `/metadata/run`", "ignore = [\"/metadata/run\"]"),
            (MESSAGES, "member `/metadata/user_id`", "ignore = [\"/metadata/user_id\"]"),
        ] {
            let upstream = Upstream::always(answer(target)).await;
            let sidecache = Setup::to(&upstream.url()).admin().start().await;
            let client = sidecache.client();
            for run in 0..4 {
                let (id, key) = of_client(run);
                let mut body = merged([&question(target), &json!({}), &json!({})]);
                match target {
                    MESSAGES => body["system"] = billing(&format!("cch={run};"), "")["system"].clone(),
                    _ => body["prompt_cache_key"] = key.into(),
                }
                let mut headers = vec![("x-client-request-id", id.as_str())];
                match part {
                    "member `/user`" => body["user"] = format!("u{run}").into(),
                    "header `x-session-id`" => headers.push(("x-session-id", &id)),
                    "member `/metadata/user_id`" => body["metadata"] = json!({"user_id": format!("u{run}")}),
                    _ => body["metadata"] = json!({"run": format!("r{run}")}),
                }
                assert_eq!(client.post_with(target, &headers, &body).await.cache(), "MISS", "{part}");
                sidecache.settled().await;
            }
            let told = sidecache.operator().get("/suggest").await.json();
            let first = &told["almost_hits"][0];
            assert_eq!(first["part"], part, "{target} {told:#}");
            // The line is in a route, since the built-in one is not in the file.
            let told_line = first["line"].as_str().expect("text");
            assert!(told_line.ends_with(&format!("\n{line}")), "{target} {told:#}");
        }
    });
}

/// Pointers of a route lead where they did, whatever is left out beside them.
#[test]
fn a_routes_pointers_lead_where_they_did() {
    run(async {
        let upstream = Upstream::always(answer(MESSAGES)).await;
        let config = "[[route]]\nname = \"own\"\nmatch = \"POST /v1/messages\"\nkind = \"query\"\nignore = [\"/system/0\"]\n";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let asked = async |fields: &str, text: &str| {
            let mut body = merged([&question(MESSAGES), &json!({}), &billing(fields, "")]);
            body["system"][1]["text"] = text.into();
            client.post(MESSAGES, &body).await.cache().to_owned()
        };
        assert_eq!(asked("cch=1;", "Be brief.").await, "MISS");
        assert_eq!(asked("cch=2; more=a;", "Be brief.").await, "HIT");
        assert_eq!(asked("cch=1;", "Be rude.").await, "MISS");
    });
}

/// The Responses API repeats both members: nobody gets another client's.
#[test]
fn an_answer_repeats_them_for_its_own_client_alone() {
    run(async {
        let told = |request: &Value| {
            let mut answer = responses_answer();
            answer["output"][0]["id"] = "msg_1".into();
            answer["output"][0]["status"] = "completed".into();
            answer["output"][0]["content"][0]["annotations"] = json!([]);
            answer["prompt_cache_key"] = request["prompt_cache_key"].clone();
            answer["safety_identifier"] = request["safety_identifier"].clone();
            answer
        };
        for opens in ["", "opens = []\n"] {
            let upstream = Upstream::start(move |request| Script::json(&told(&request.json()))).await;
            let config = format!(
                "[[route]]\nname = \"own\"\nmatch = \"POST /v1/responses\"\nkind = \"query\"\n{opens}"
            );
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            let client = sidecache.client();
            let asked = |user: &str, stream: bool| {
                let mut body = question(RESPONSES);
                body["prompt_cache_key"] = format!("key-{user}").into();
                body["safety_identifier"] = format!("user-{user}").into();
                body["stream"] = stream.into();
                body
            };
            let first = client.post(RESPONSES, &asked("a", false)).await;
            assert_eq!((first.cache(), &first.json()["safety_identifier"]), ("MISS", &"user-a".into()));
            let hit = eventually("a hit", async || {
                let answer = client.post(RESPONSES, &asked("b", false)).await;
                (answer.cache() == "HIT").then_some(answer)
            })
            .await;
            assert_eq!(hit.json()["prompt_cache_key"], Value::Null);
            assert_eq!(hit.json()["safety_identifier"], Value::Null);
            assert_eq!(hit.json()["output"], first.json()["output"]);
            let stream = client.post(RESPONSES, &asked("c", true)).await;
            assert_eq!(stream.cache(), "HIT");
            for text in [hit.text(), stream.text()] {
                assert!(!text.contains("user-") && !text.contains("key-"), "{text}");
            }
        }
    });
}

#[test]
fn two_sessions_share_one_running_answer() {
    run(async {
        let events: Vec<_> = anthropic_events();
        let upstream =
            Upstream::always(Script::events(&events.iter().map(String::as_str).collect::<Vec<_>>())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let asked =
            |session: &str| merged([&question(MESSAGES), &json!({"stream": true}), &coding_user(session)]);
        let [one, two] = [UUID, OTHER_UUID].map(asked);
        let client = sidecache.client();
        let (one, two) = tokio::join!(client.post(MESSAGES, &one), client.post(MESSAGES, &two));
        assert_eq!(one.body, two.body);
        assert_eq!(upstream.calls(), 1);
    });
}

/// A service whose answers vary by a client's session says so.
#[test]
fn an_answer_that_varies_by_what_a_client_says_is_not_stored() {
    run(async {
        let answer = cases().into_iter().find(|case| case.target == RESPONSES).expect("a case").answer;
        let upstream =
            Upstream::start(move |_| Script::json_with(200, &[("vary", "session-id")], &answer)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for session in [UUID, OTHER_UUID] {
            let headers = [("originator", "codex_cli_rs"), ("session-id", session)];
            let answer = client.post_with(RESPONSES, &headers, &question(RESPONSES)).await;
            assert_eq!((answer.cache(), answer.detail()), ("MISS", Some("vary")), "{session}");
        }
    });
}
