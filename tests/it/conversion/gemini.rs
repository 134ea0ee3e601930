//! Gemini chooses the form by the path and `alt`: a document, server-sent events, or one JSON list that comes element by
//! element. One entry answers all three.

use serde_json::{Value, json};

use super::{GEMINI, SSE, cases};
use crate::support::{
    Client, Gate, Script, Setup, Sidecache, Upstream, eventually, run, samples::data, soon,
};

const EVENTS: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const LIST: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";

fn question() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "Who?"}]}]})
}

/// The answer's document and its chunks.
fn answer() -> (Value, Vec<Value>) {
    let case = cases().into_iter().find(|case| case.target == GEMINI).expect("the case");
    let chunk =
        |event: &String| serde_json::from_str(event.trim_start_matches("data:").trim()).expect("JSON");
    (case.whole, case.events.iter().map(chunk).collect())
}

/// A list as the service writes it.
fn list(chunks: &[Value]) -> Vec<String> {
    let begun = chunks
        .iter()
        .enumerate()
        .map(|(place, chunk)| format!("{}{chunk:#}", if place == 0 { "[" } else { "\n,\r\n" }));
    begun.chain(["\n]\n".to_owned()]).collect()
}

fn chunked(media: &str, parts: &[String]) -> Script {
    parts.iter().fold(Script::chunked(media), Script::chunk).end()
}

fn scripts() -> [(&'static str, Script); 3] {
    let (whole, chunks) = answer();
    let events: Vec<_> = chunks.iter().map(data).collect();
    [
        (GEMINI, Script::json(&whole)),
        (EVENTS, chunked(SSE, &events)),
        (LIST, chunked("application/json; charset=UTF-8", &list(&chunks))),
    ]
}

/// A service that answers in the form that it is asked for.
async fn service() -> Upstream {
    let scripts = scripts();
    Upstream::start(move |request| {
        let own = scripts.iter().find(|(target, _)| request.target == *target);
        own.map_or_else(|| Script::json_with(404, &[], &json!({})), |(_, script)| script.clone())
    })
    .await
}

/// What a client knows of an answer in this form: its whole text, its end, the usage and the model.
fn told(target: &str, body: &str) -> [Value; 4] {
    let chunks: Vec<Value> = match target {
        EVENTS => super::events_of(body),
        LIST => serde_json::from_str(body).expect("a list"),
        _ => vec![serde_json::from_str(body).expect("a document")],
    };
    let text = |chunk: &Value| {
        chunk.pointer("/candidates/0/content/parts/0/text").and_then(Value::as_str).map(str::to_owned)
    };
    let last = |pointer: &str| {
        chunks.iter().filter_map(|chunk| chunk.pointer(pointer)).next_back().cloned().unwrap_or_default()
    };
    [
        chunks.iter().filter_map(text).collect::<String>().into(),
        last("/candidates/0/finishReason"),
        last("/usageMetadata"),
        last("/responseId"),
    ]
}

#[test]
fn each_form_is_answered_from_each_other_one() {
    run(async {
        for (first, _) in scripts() {
            let upstream = service().await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            let led = client.post(first, &question()).await;
            assert_eq!((led.status, led.cache()), (200, "MISS"), "{first}: {}", led.text());
            let known = told(first, &led.text());
            for (target, media) in [(GEMINI, "application/json"), (EVENTS, SSE), (LIST, "application/json")] {
                let hit = client.post(target, &question()).await;
                assert_eq!(hit.cache(), "HIT", "{first}, then {target}: {}", hit.text());
                assert_eq!(
                    hit.header("content-type").split(';').next(),
                    Some(media),
                    "{first}, then {target}"
                );
                assert_eq!(told(target, &hit.text()), known, "{first}, then {target}");
                assert_eq!(hit.key(), led.key());
                assert_eq!(target == first, hit.body == led.body, "{first}, then {target}");
            }
            assert_eq!(upstream.calls(), 1, "{first}");
        }
    });
}

/// Its client gets each element as it comes; others wait for the whole list, of which they may read a part of it only
/// once it was judged.
#[test]
fn a_list_is_passed_on_as_it_comes_and_joined() {
    run(async {
        let (_, chunks) = answer();
        let parts = list(&chunks);
        let gate = Gate::new();
        let script = Script::chunked("application/json").chunk(&parts[0]).wait(&gate);
        let script = parts[1..].iter().fold(script, Script::chunk).end();
        let upstream = Upstream::always(script).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut led = sidecache.client().stream(LIST, &question()).await;
        led.until("\n}").await;
        let (client, id) = (sidecache.client(), [("x-request-id", "follower")]);
        let follower = tokio::spawn(async move { client.post_with(LIST, &id, &question()).await });
        sidecache.log.looked_up("follower").await;
        gate.open();
        assert_eq!(led.cache(), "MISS");
        assert_eq!(led.rest().await, Ok(parts.concat()));
        let followed = soon("the follower", follower).await.expect("no panic");
        assert_eq!((followed.cache(), followed.text()), ("COALESCED", parts.concat()));
        assert_eq!(sidecache.client().post(GEMINI, &question()).await.cache(), "HIT");
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn what_is_cut_is_not_stored() {
    run(async {
        let (_, chunks) = answer();
        let (events, list): (Vec<_>, _) = (chunks.iter().map(data).collect(), list(&chunks));
        let closed = |media: &str, body: String| {
            Script::raw().head(200, &[("content-type", media), ("connection", "close")]).send(body).close()
        };
        let unfinished = |media: &str, parts: &[String]| chunked(media, parts);
        for (target, script) in [
            (EVENTS, closed(SSE, events.concat())),
            (EVENTS, unfinished(SSE, &events[..1])),
            (LIST, unfinished("application/json", &list[..2])),
            (LIST, closed("application/json", list[..2].concat())),
            (LIST, unfinished("application/json", &[list[0].clone(), "]".to_owned()])),
        ] {
            let upstream = Upstream::always(script).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            for call in 1..=2 {
                let received = sidecache.client().post(target, &question()).await;
                assert_eq!(
                    (received.status, received.cache()),
                    (200, "MISS"),
                    "{target} {}",
                    received.text()
                );
                assert_eq!(upstream.calls(), call, "{target}");
            }
        }
        // A list's own end shows that it is whole.
        let upstream = Upstream::always(closed("application/json", list.concat())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        sidecache.client().post(LIST, &question()).await;
        assert_eq!(sidecache.client().post(EVENTS, &question()).await.cache(), "HIT");
    });
}

/// A form that is not known is stored beside the others, and never made of them.
#[test]
fn an_unknown_format_is_its_own() {
    run(async {
        let (whole, _) = answer();
        let upstream = Upstream::always(Script::json(&whole)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let ask = async |target: &str| client.post(target, &question()).await.cache().to_owned();
        assert_eq!(ask(GEMINI).await, "MISS");
        for query in ["alt=proto", "alt=media", "alt=sse&alt=json"] {
            assert_eq!(ask(&format!("{LIST}?{query}")).await, "MISS", "{query}");
        }
        assert_eq!(ask(&format!("{GEMINI}?alt=sse")).await, "MISS");
        assert_eq!(ask(&format!("{GEMINI}?alt=json")).await, "HIT");
        assert_eq!(ask(&format!("{GEMINI}?fields=candidates")).await, "MISS");
    });
}

#[test]
fn all_paths_of_the_api_are_covered_and_no_others() {
    run(async {
        let (whole, _) = answer();
        let upstream = Upstream::always(Script::json(&whole)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client: Client = sidecache.client();
        let vertex = "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash";
        for path in [
            "/v1/models/gemini-2.5-flash",
            "/v1beta/models/gemini-2.5-flash",
            "/v1beta/tunedModels/mine-123",
            "/gateway/v1beta/models/gemini-2.5-flash",
            "/v1beta1/publishers/google/models/gemini-2.5-flash",
            vertex,
        ] {
            for (method, cache) in
                [("generateContent", "MISS"), ("generateContent", "HIT"), ("streamGenerateContent", "HIT")]
            {
                let answer = client.post(&format!("{path}:{method}"), &question()).await;
                assert_eq!(answer.cache(), cache, "{path}:{method}");
            }
        }
        for (target, body) in [
            (format!("{vertex}:countTokens"), question()),
            (format!("{vertex}:predict"), question()),
            (format!("{vertex}:GenerateContent"), question()),
            (GEMINI.to_owned(), json!({"contents": []})),
            (GEMINI.to_owned(), json!({"model": "m", "messages": [{"role": "user", "content": "q"}]})),
        ] {
            assert_eq!(client.post(&target, &body).await.cache(), "PASS", "{target} {body}");
        }
        let text = client.post_text(GEMINI, &[("content-type", "text/plain")], &question().to_string()).await;
        assert_eq!(text.cache(), "PASS");
    });
}

/// An operator's answer is in the form that it shows.
#[test]
fn an_answer_put_by_hand_serves_all_forms() {
    run(async {
        let (whole, chunks) = answer();
        let bodies = [
            (whole.to_string(), "application/json"),
            (list(&chunks).concat(), "application/json"),
            (chunks.iter().map(data).collect::<String>(), SSE),
        ];
        for (body, media) in bodies {
            let upstream = service().await;
            let sidecache = Setup::to(&upstream.url()).admin().start().await;
            let client = sidecache.client();
            let key = client.post(GEMINI, &question()).await.key();
            sidecache.settled().await;
            let put = json!({"body": body, "headers": {"content-type": media}}).to_string();
            let headers = [("content-type", "application/json")];
            let answer = sidecache.operator().request("PUT", &format!("/entries/{key}"), &headers, put).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            for target in [GEMINI, EVENTS, LIST] {
                let hit = client.post(target, &question()).await;
                assert_eq!(hit.cache(), "HIT", "{media} {body} {target}");
                assert_eq!(told(target, &hit.text())[0], "Redis.", "{target}");
            }
            assert_eq!(upstream.calls(), 1);
        }
    });
}

/// A hit is a new answer to those who want that: its id is new, the same in all its chunks.
#[test]
fn a_fresh_hit_has_a_new_id() {
    run(async {
        let route = "[[route]]\nname = \"g\"\nmatch = [\"POST /**/{m}:generateContent\", \"POST /**/{m}:streamGenerateContent\"]\nkind = \"query\"\nidentity = \"fresh\"\n";
        let upstream = service().await;
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        let client = sidecache.client();
        client.post(GEMINI, &question()).await;
        let mut ids = vec![answer().0["responseId"].clone()];
        let len = ids[0].as_str().map(str::len);
        for target in [GEMINI, EVENTS, LIST] {
            let hit = client.post(target, &question()).await;
            assert_eq!(hit.cache(), "HIT", "{target}");
            let [text, .., id] = told(target, &hit.text());
            assert_eq!(text, "Redis.");
            assert!(!ids.contains(&id) && id.as_str().map(str::len) == len, "{id}");
            ids.push(id);
        }
        assert_eq!(upstream.calls(), 1);
    });
}

/// The model is in the path, and the answer names the version.
#[test]
fn a_call_is_counted_under_its_model() {
    run(async {
        let upstream = service().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for (target, id) in [(LIST, "miss"), (EVENTS, "hit")] {
            sidecache.client().post_with(target, &[("x-request-id", id)], &question()).await;
            let is_call = |line: &Value| line["event_type"] == "llm_call" && line["request_id"] == id;
            let line = eventually("the call", async || sidecache.log.all().into_iter().find(is_call)).await;
            assert_eq!(line["model"], "gemini-2.5-flash", "{line}");
            assert_eq!((&line["prompt_tokens"], &line["total_tokens"]), (&json!(7), &json!(10)), "{line}");
            assert_eq!(line["cached"], id == "hit");
        }
    });
}
