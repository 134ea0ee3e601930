//! The promise: a request's trace goes through sidecache. With a collector, it gets the spans of requests and their steps;
//! what it does not take never holds a request up.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    http::upstream_tls::{behind_tls, certificates},
    support::{
        Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
        samples::{CHAT, CREDENTIALS, chat, chat_answer, chat_stream},
    },
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A client's `traceparent`.
fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// A span as the collector got it.
#[derive(Clone, Debug)]
struct Exported {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: SpanKind,
    has_failed: bool,
    took_ns: u64,
    state: String,
    attributes: BTreeMap<String, Value>,
}

impl Exported {
    fn new(span: &Span) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            name: span.name.clone(),
            kind: span.kind(),
            has_failed: span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
            took_ns: span.end_time_unix_nano - span.start_time_unix_nano,
            state: span.trace_state.clone(),
            attributes: attributes(&span.attributes),
        }
    }

    fn get(&self, name: &str) -> &Value {
        self.attributes.get(name).unwrap_or(&Value::Null)
    }
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, Value> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::BoolValue(is)) => json!(is),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

/// A collector that takes what comes.
struct Collector(Upstream);

impl Collector {
    async fn start() -> Self {
        Self(Upstream::start(|_| Script::whole(200, &[("content-type", "application/x-protobuf")], "")).await)
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let decode = |body: &Vec<u8>| ExportTraceServiceRequest::decode(&body[..]).expect("an export");
        self.0.requests().iter().map(|request| decode(&request.body)).collect()
    }

    fn spans(&self) -> Vec<Exported> {
        let requests = self.requests();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(Exported::new).collect()
    }

    /// Waits for a span.
    async fn span(&self, what: &str, is: impl Fn(&Exported) -> bool) -> Exported {
        eventually(what, async || self.spans().into_iter().find(|span| is(span))).await
    }

    /// Waits for the span of this request; returns it and all the others of its trace by their names.
    async fn trace_of(&self, request_id: &str) -> (Exported, BTreeMap<String, Exported>) {
        let is = |span: &Exported| span.get("sidecache.request_id") == request_id;
        let request = self.span(request_id, is).await;
        let is_other = |span: &Exported| span.trace == request.trace && span.id != request.id;
        let others =
            self.spans().into_iter().filter(is_other).map(|span| (span.name.clone(), span)).collect();
        (request, others)
    }
}

/// Settings under which traces go to `collector`.
fn exporting(upstream: &Upstream, collector: &Collector) -> Setup {
    Setup::to(&upstream.url()).admin().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.0.url())
}

async fn chatting() -> Upstream {
    Upstream::always(Script::json(&chat_answer())).await
}

async fn ask(sidecache: &Sidecache, id: &str, headers: &[(&str, &str)]) {
    let headers = [&[("x-request-id", id)], headers].concat();
    assert_eq!(sidecache.client().post_with(CHAT, &headers, &chat()).await.status, 200);
}

#[test]
fn without_a_collector_a_trace_goes_through_and_none_begins() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        ask(&sidecache, "none", &[]).await;
        assert_eq!(upstream.last().header("traceparent"), None);
        for flags in ["01", "00"] {
            let headers =
                [("traceparent", &*parent(flags)), ("tracestate", "a=1,b=2"), ("cache-control", "no-cache")];
            ask(&sidecache, "some", &headers).await;
            let received = upstream.last();
            let sent = received.header("traceparent").expect("a trace").to_owned();
            let parts: Vec<_> = sent.split('-').collect();
            assert_eq!((parts[0], parts[1], parts[3]), ("00", TRACE, flags), "{sent}");
            assert_ne!(parts[2], PARENT, "the call of the upstream has a span of its own");
            assert_eq!(received.header("tracestate"), Some("a=1,b=2"));
        }
        let line = sidecache.log.response("some").await;
        assert_eq!(line["trace_id"], TRACE);
        assert_eq!(line["span_id"].as_str().map(str::len), Some(16));
        let line = sidecache.log.response("none").await;
        assert_eq!((&line["trace_id"], &line["span_id"]), (&Value::Null, &Value::Null));
    });
}

#[test]
fn a_miss_and_a_hit_are_traced_with_their_steps() {
    run(async {
        let redis = RedisServer::start();
        for in_redis in [false, true] {
            let (upstream, collector) = (chatting().await, Collector::start().await);
            let url = redis.url();
            let setup = exporting(&upstream, &collector)
                .config("[[price]]\nmodel = \"m-*\"\ninput = 1\noutput = 2\ncurrency = \"USD\"\n");
            let setup = if in_redis { setup.arguments(&["--redis", &url]) } else { setup };
            let sidecache = setup.start().await;
            ask(&sidecache, "miss", &[]).await;
            let told = upstream.last().header("traceparent").expect("a trace").to_owned();
            let (miss, steps) = collector.trace_of("miss").await;
            assert_eq!((miss.kind, &*miss.parent, &*miss.name), (SpanKind::Server, "", "POST openai-chat"));
            assert_eq!(miss.get("sidecache.cache.status"), "MISS");
            assert_eq!(miss.get("http.response.status_code"), 200);
            assert_eq!(miss.get("url.path"), CHAT);
            assert!(miss.took_ns > 0 && !miss.has_failed);
            let call = &collector
                .span("the call", |span| span.kind == SpanKind::Client && span.name == "chat m-2")
                .await;
            assert_eq!((&*call.parent, &*call.trace), (&*miss.id, &*miss.trace));
            assert_eq!(told, format!("00-{}-{}-01", miss.trace, call.id), "the upstream knows its parent");
            for (name, value) in [
                ("gen_ai.operation.name", json!("chat")),
                ("gen_ai.provider.name", json!("openai")),
                ("gen_ai.response.model", json!("m-2")),
                ("gen_ai.usage.input_tokens", json!(7)),
                ("gen_ai.usage.output_tokens", json!(3)),
                ("http.response.status_code", json!(200)),
                ("server.address", json!("127.0.0.1")),
                ("server.port", json!(upstream.address().port())),
            ] {
                assert_eq!(call.get(name), &value, "{name}");
            }
            let store = if in_redis { "redis" } else { "memory" };
            let lookup = &steps["cache_lookup"];
            assert_eq!((lookup.get("sidecache.store"), &*lookup.parent), (&json!(store), &*miss.id));
            assert_eq!(lookup.get("sidecache.cache.hit"), false);
            let write = collector.span("the write", |span| span.name == "cache_store").await;
            assert_eq!((write.get("sidecache.store"), &write.parent), (&json!(store), &miss.id));

            ask(&sidecache, "hit", &[]).await;
            let (hit, steps) = collector.trace_of("hit").await;
            assert_eq!(hit.get("sidecache.cache.status"), "HIT");
            assert!(hit.get("sidecache.cache.age").is_i64());
            assert_eq!(hit.get("sidecache.cache.key"), miss.get("sidecache.cache.key"));
            assert_ne!(hit.trace, miss.trace, "each request begins a trace");
            assert_eq!(steps.keys().collect::<Vec<_>>(), ["cache_lookup"]);
            let used = hit.attributes.keys().filter(|name| name.starts_with("gen_ai."));
            assert_eq!(used.count(), 0, "a hit uses nothing");
            assert_eq!(hit.get("sidecache.saved.input_tokens"), 7);
            assert_eq!(hit.get("sidecache.saved.output_tokens"), 3);
            assert_eq!(hit.get("sidecache.saved.currency"), "USD");
            let cost = hit.get("sidecache.saved.cost").as_f64().expect("a cost");
            assert!((cost - 13e-6).abs() < 1e-12, "{cost}");
            let resource = &collector.requests()[0].resource_spans[0];
            let resource = attributes(&resource.resource.as_ref().expect("a resource").attributes);
            assert_eq!(resource["service.name"], "sidecache");
        }
    });
}

#[test]
fn a_callers_decision_holds_for_its_trace() {
    run(async {
        let (upstream, collector) = (chatting().await, Collector::start().await);
        let sidecache = exporting(&upstream, &collector).config("[otel]\nsample = 0\n").start().await;
        ask(&sidecache, "begun-here", &[("cache-control", "no-cache")]).await;
        let begun = upstream.last().header("traceparent").expect("a trace").to_owned();
        assert!(begun.ends_with("-00"), "{begun}");
        let (off, on) = (parent("00"), parent("01"));
        ask(&sidecache, "off", &[("cache-control", "no-cache"), ("traceparent", &off)]).await;
        assert!(upstream.last().header("traceparent").expect("a trace").ends_with("-00"));
        ask(&sidecache, "on", &[("traceparent", &on), ("tracestate", "a=1"), ("tracestate", "b=2")]).await;
        let (span, _) = collector.trace_of("on").await;
        assert_eq!((&*span.trace, &*span.parent, &*span.state), (TRACE, PARENT, "a=1,b=2"));
        let ids: Vec<_> =
            collector.spans().iter().map(|span| span.get("sidecache.request_id").clone()).collect();
        assert!(!ids.contains(&json!("begun-here")) && !ids.contains(&json!("off")), "{ids:?}");
        // A parent that is not valid begins a new trace, and its state does not go on.
        ask(
            &sidecache,
            "odd",
            &[("cache-control", "no-cache"), ("traceparent", "00-1-2-3"), ("tracestate", "a=1")],
        )
        .await;
        let received = upstream.last();
        assert_ne!(received.header("traceparent"), Some("00-1-2-3"));
        assert_eq!(received.header("tracestate"), None);
    });
}

#[test]
fn no_text_of_a_request_or_an_answer_is_in_a_span() {
    run(async {
        let mut answer = chat_answer();
        answer["choices"][0]["message"]["content"] = json!("canary-answer");
        let upstream = Upstream::always(Script::json(&answer)).await;
        let collector = Collector::start().await;
        let sidecache = exporting(&upstream, &collector).start().await;
        let mut question = chat();
        question["messages"][0]["content"] = json!("canary-question");
        question["user"] = json!("canary-member");
        let headers = [&CREDENTIALS[..], &[("x-run", "canary-header"), ("x-request-id", "first")]].concat();
        for id in ["first", "second"] {
            let headers = [&headers[..headers.len() - 1], &[("x-request-id", id)]].concat();
            sidecache.client().post_with(&format!("{CHAT}?api_key=canary-query"), &headers, &question).await;
        }
        sidecache.client().post_with("/passed?x=canary-query", &headers, &question).await;
        collector.trace_of("second").await;
        eventually("three spans of requests", async || {
            let spans = collector.spans();
            let requests = spans.iter().filter(|span| span.kind == SpanKind::Server).count();
            (requests == 3).then_some(())
        })
        .await;
        for request in collector.0.requests() {
            let text = String::from_utf8_lossy(&request.body).into_owned();
            assert!(!text.contains("canary"), "{text}");
        }
    });
}

#[test]
fn failures_are_told_as_such() {
    run(async {
        let gate = Gate::new();
        let collector = Collector::start().await;
        let upstream = Upstream::start({
            let gate = gate.clone();
            move |request| match request.target.as_str() {
                "/broken" => Script::raw().close(),
                "/refused" => Script::json_with(429, &[], &json!({})),
                _ => Script::chunked("text/event-stream").chunk("data: {\"choices\": []}\n\n").wait(&gate),
            }
        })
        .await;
        let sidecache = exporting(&upstream, &collector).start().await;
        for (path, id, status) in [("/broken", "broken", 502), ("/refused", "refused", 429)] {
            let answer = sidecache.client().post_with(path, &[("x-request-id", id)], &json!({})).await;
            assert_eq!(answer.status, status);
            let (request, steps) = collector.trace_of(id).await;
            assert_eq!(request.get("http.response.status_code"), status);
            assert_eq!(request.get("sidecache.cache.status"), "PASS");
            assert_eq!(request.has_failed, status == 502, "a client's error is not the server's");
            let call = &steps["POST"];
            assert!(call.has_failed);
            let expected = if status == 502 { "UpstreamProtocolException" } else { "429" };
            assert_eq!(call.get("error.type"), expected);
        }
        let left = sidecache.client().stream(CHAT, &chat_stream()).await;
        drop(left);
        let cut = collector
            .span("a request whose client left", |span| span.get("error.type") == "incomplete")
            .await;
        assert!(cut.has_failed && cut.name == "POST openai-chat");
        gate.open();
    });
}

#[test]
fn a_collector_that_takes_nothing_holds_nobody_up() {
    run(async {
        let gate = Gate::new();
        let collector = Upstream::start({
            let gate = gate.clone();
            move |_| if gate.is_open() { Script::whole(200, &[], "") } else { Script::whole(503, &[], "") }
        })
        .await;
        let upstream = chatting().await;
        let sidecache = Setup::to(&upstream.url())
            .admin()
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
            .start()
            .await;
        for _ in 0..20 {
            ask(&sidecache, "some", &[]).await;
        }
        let line = sidecache.log.lifecycle("traces cannot be exported: spans are dropped").await;
        assert!(line["reason"].is_string(), "{line}");
        let dropped = async || {
            let page = sidecache.operator().get("/metrics").await.text();
            let line =
                page.lines().find(|line| line.starts_with("sidecache_spans_total{outcome=\"dropped\"}"));
            let dropped = line?.rsplit_once(' ')?.1.parse::<u64>().ok()?;
            (dropped > 0).then_some(())
        };
        eventually("dropped spans are counted", dropped).await;
        gate.open();
        eventually("the collector takes spans", async || {
            ask(&sidecache, "again", &[]).await;
            let lines = sidecache.log.all();
            lines.iter().any(|line| line["message"] == "traces are exported again").then_some(())
        })
        .await;
        let lost = sidecache.log.all();
        let lost = lost.iter().filter(|line| {
            line["message"].as_str().is_some_and(|text| text.starts_with("traces cannot be exported"))
        });
        assert_eq!(lost.count(), 1, "one line a loss");
    });
}

#[test]
fn the_last_spans_are_sent_before_the_process_ends() {
    run(async {
        let (upstream, collector) = (chatting().await, Collector::start().await);
        let mut sidecache = exporting(&upstream, &collector).start().await;
        ask(&sidecache, "last", &[]).await;
        sidecache.stop().await;
        assert!(collector.spans().iter().any(|span| span.get("sidecache.request_id") == "last"));
    });
}

#[test]
fn a_collector_may_be_behind_tls() {
    run(async {
        let dir = certificates();
        let (upstream, collector) = (chatting().await, Collector::start().await);
        let url = behind_tls(&collector.0, dir.path()).await;
        let bundle = dir.path().join("ca.pem");
        let setup = Setup::to(&upstream.url()).env("SSL_CERT_FILE", bundle.to_str().expect("UTF-8"));
        let sidecache = setup.env("OTEL_EXPORTER_OTLP_ENDPOINT", &url).start().await;
        ask(&sidecache, "private", &[]).await;
        collector.trace_of("private").await;
    });
}
