//! What the log writes, from the event to the bytes.

use std::{
    error::Error,
    fmt,
    io::{self, PipeReader, PipeWriter, Read},
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Instant, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use tracing::Level;

use super::{
    events::{
        CacheInfo, ErrorEvent, HttpRequest, HttpResponse, LlmCall, Operation, Performance, SemanticLabel,
        SemanticRefused, embedder_back, embedder_changed, embedder_lost, error, exc_info, http_request,
        http_response, lifecycle, llm_call, panicked, performance, semantic_certified, semantic_label,
        semantic_refused, semantic_stepped_back,
    },
    writer::{Output, WholeLines},
    *,
};
use crate::cache::{
    key::{Key, namespace::Namespace},
    route::kind::Kind,
    semantic::{
        answer::Sameness,
        guards::Guard,
        ledger::{Label, LabelSource, LedgerStatus, Nearness},
        question::Partition,
    },
};

fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_769_941_845_123)
}

/// Runs `emit` under `log` and nothing else.
fn under<T>(log: &Log, emit: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(Registry::default().with(log.layer(noon)), emit)
}

fn key(namespace: &str) -> Key {
    Key::new(Namespace::leak(namespace), Kind::Query, blake3::Hash::from_bytes([0xff; 32]))
}

fn key_of(digest: [u8; 32]) -> Key {
    Key::new("sidecache".into(), Kind::Query, blake3::Hash::from_bytes(digest))
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Memory {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `emit` logs at `level`.
fn logged(level: LogLevel, emit: impl FnOnce(&Log)) -> String {
    let memory = Memory::default();
    let (log, guard) = Log::to_writers(level, vec![("test", Box::new(memory.clone()))]).unwrap();
    under(&log, || emit(&log));
    drop(guard);
    assert_eq!(log.dropped(), 0);
    memory.text()
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn say(message: &str) {
    lifecycle(LogLevel::Info, message, &Map::new());
}

fn request_events() {
    http_request(&HttpRequest {
        request_id: "req-1",
        method: "POST",
        path: "/api/v1/chat",
        client_ip: "192.168.1.100".parse().unwrap(),
        query: Some("q=a+b&api_key=sk-1&lang=en&lang=de"),
    });
    http_request(&HttpRequest {
        request_id: "req-2",
        method: "GET",
        path: "/health",
        client_ip: "2001:db8::1".parse().unwrap(),
        query: None,
    });
    let key = key("sidecache");
    let hit = CacheInfo {
        status: "HIT",
        kind: Some("query"),
        key: Some(&key),
        age: Some(12),
        ttl: Some(1788),
        reason: None,
        detail: None,
        route: Some("support-chat"),
        similarity: None,
        original: None,
    };
    let response = HttpResponse {
        request_id: "req-1",
        method: "POST",
        path: "/api/v1/chat",
        status_code: 200,
        duration: Duration::from_nanos(1_234_567),
        bytes: 512,
        cache: Some(hit),
        upstream_request_id: Some("up-1"),
        trace_id: None,
        span_id: None,
    };
    http_response(&response);
    let bypass = CacheInfo {
        status: "BYPASS",
        kind: Some("embedding"),
        key: None,
        age: None,
        ttl: None,
        reason: Some("no-store"),
        detail: None,
        route: None,
        similarity: None,
        original: None,
    };
    http_response(&HttpResponse {
        request_id: "req-3",
        path: "/v1/embeddings",
        duration: Duration::from_millis(250),
        bytes: 4096,
        cache: Some(bypass),
        upstream_request_id: None,
        ..response
    });
    let passed = HttpResponse {
        request_id: "req-4",
        method: "GET",
        path: "/other",
        status_code: 404,
        duration: Duration::ZERO,
        bytes: 0,
        cache: Some(CacheInfo { status: "PASS", kind: None, reason: Some("no-route"), ..bypass }),
        upstream_request_id: None,
        trace_id: None,
        span_id: None,
    };
    http_response(&passed);
    http_response(&HttpResponse { request_id: "req-5", path: "/health", cache: None, ..passed });
    let original = key_of([0xee; 32]);
    let similar = CacheInfo { status: "SIMILAR", similarity: Some(0.9731), original: Some(&original), ..hit };
    http_response(&HttpResponse { request_id: "req-6", cache: Some(similar), ..response });
}

fn performance_events() {
    let lookup = Performance {
        request_id: Some("req-1"),
        operation: Operation::CacheLookup { hit: true },
        duration: Duration::from_micros(42),
        success: true,
        metadata: &Map::new(),
    };
    performance(&lookup);
    performance(&Performance {
        operation: Operation::CacheLookup { hit: false },
        duration: Duration::from_millis(50),
        success: false,
        ..lookup
    });
    performance(&Performance {
        request_id: Some("req-1"),
        operation: Operation::Upstream,
        duration: Duration::from_micros(234_560),
        success: true,
        metadata: &json!({"status_code": 200}),
    });
    performance(&Performance {
        request_id: None,
        operation: Operation::CacheStore,
        duration: Duration::from_micros(500),
        ..lookup
    });
    for (slow, millis) in [(false, 999), (true, 1001)] {
        let duration = Duration::from_millis(millis);
        performance(&Performance { operation: Operation::Request { slow }, duration, ..lookup });
    }
}

fn other_events() {
    let call = LlmCall {
        request_id: Some("req-1"),
        model: "llama3",
        prompt_tokens: Some(450),
        completion_tokens: Some(120),
        total_tokens: Some(570),
        cached_tokens: Some(400),
        duration: Duration::from_micros(3_456_780),
        cached: false,
        cost: Some(0.001_75),
        currency: Some("USD"),
    };
    llm_call(&call);
    llm_call(&LlmCall {
        prompt_tokens: None,
        completion_tokens: None,
        total_tokens: None,
        cached_tokens: None,
        duration: Duration::from_micros(100),
        cached: true,
        cost: None,
        currency: None,
        ..call
    });
    error(&ErrorEvent {
        request_id: Some("req-1"),
        error_type: "UpstreamConnectionException",
        error_message: "the upstream cannot be reached",
        context: &map(json!({"upstream": "http://127.0.0.1:8000"})),
        exc_info: Some("connect: connection refused"),
        module: "sidecache::upstream",
        line: 42,
    });
    error(&ErrorEvent {
        request_id: None,
        error_type: "InternalException",
        error_message: "a task ended early",
        context: &Map::new(),
        exc_info: None,
        module: "sidecache::flight",
        line: 7,
    });
    lifecycle(LogLevel::Info, "ready", &map(json!({"listen": "127.0.0.1:8080"})));
    lifecycle(LogLevel::Warning, "store lost", &Map::new());
}

fn semantic_events() {
    let (asked, original) = (key_of([1; 32]), key_of([2; 32]));
    let label = Label {
        at: 0,
        partition: Partition([0xab; 32]),
        near: Nearness { similarity: 0.973_14, disagreement: 0.0 },
        same: true,
        source: LabelSource::Shadow,
    };
    let event = SemanticLabel {
        request_id: Some("req-1"),
        route: "support-chat",
        asked: &asked.local(),
        original: &original.local(),
        label: &label,
        answers: Sameness::Same,
        refused: None,
    };
    semantic_label(&event);
    let near = Nearness { similarity: 0.91, disagreement: 0.5 };
    let audit = Label { near, same: false, source: LabelSource::Audit, ..label.clone() };
    semantic_label(&SemanticLabel {
        label: &audit,
        answers: Sameness::Unsure,
        refused: Some((0.98, Guard::Numbers)),
        ..event
    });
    let report = Label { source: LabelSource::Report, ..audit };
    semantic_label(&SemanticLabel {
        request_id: None,
        label: &report,
        answers: Sameness::Different,
        ..event
    });
    semantic_refused(&SemanticRefused {
        request_id: Some("req-1"),
        route: "support-chat",
        asked: &asked.local(),
        nearest: &original.local(),
        similarity: 0.99,
        guard: Guard::Negation,
    });
    let status = LedgerStatus {
        threshold: Some(0.9312),
        bound: Some(0.009_87),
        labels: 400,
        false_labels: 1,
        missing: 0,
        hit_rate: 0.625,
        stepped_back_at: None,
    };
    semantic_certified("support-chat", &status);
    semantic_stepped_back("support-chat");
    embedder_lost("http://127.0.0.1:8000/v1/embeddings: connection refused");
    embedder_back("all-MiniLM-L6-v2/384/0f0f");
    embedder_changed("all-MiniLM-L6-v2/384/0f0f", 1200);
}

fn all_events() {
    request_events();
    performance_events();
    other_events();
    semantic_events();
}

#[test]
fn lines_are_the_golden_ones() {
    let text = logged(LogLevel::Debug, |_| all_events());
    for (got, expected) in text.lines().zip(include_str!("golden/events.jsonl").lines()) {
        assert_eq!(got, expected);
    }
    assert_eq!(text, include_str!("golden/events.jsonl"));
}

#[test]
fn levels_filter_and_reload() {
    let golden = include_str!("golden/events.jsonl");
    let shown = [LogLevel::Debug, LogLevel::Info, LogLevel::Warning, LogLevel::Error];
    let names = ["DEBUG", "INFO", "WARNING", "ERROR"];
    for (i, level) in shown.into_iter().enumerate() {
        let is_shown = |line: &&str| names[i..].iter().any(|n| line.contains(&format!("\"level\":\"{n}\"")));
        let expected: String = golden.lines().filter(is_shown).map(|line| format!("{line}\n")).collect();
        assert_eq!(logged(level, |_| all_events()), expected);
        // The same by a reload, from the other end.
        let reloaded = logged(LogLevel::Error, |log| {
            log.set_level(level);
            assert_eq!(log.level(), level);
            all_events();
            log.set_level(LogLevel::Error);
            say("no more");
        });
        assert_eq!(reloaded, expected);
    }
}

#[test]
fn a_line_that_is_off_is_not_built() {
    struct Unbuilt;
    impl serde::Serialize for Unbuilt {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("built although nobody reads it")
        }
    }
    let text = logged(LogLevel::Info, |_| {
        performance(&Performance {
            request_id: None,
            operation: Operation::CacheLookup { hit: true },
            duration: Duration::ZERO,
            success: true,
            metadata: &Unbuilt,
        });
    });
    assert_eq!(text, "");
}

#[test]
fn only_our_loggers_and_our_fields_are_written() {
    let text = logged(LogLevel::Debug, |_| {
        tracing::error!(target: "hyper::proto", "not ours");
        tracing::error!(target: "sidecache::store", "not a logger");
        tracing::trace!(target: "sidecache", "below all levels");
        assert!(!tracing::enabled!(target: "redis", Level::ERROR));
        assert!(tracing::span!(target: "h2", Level::ERROR, "span").is_none());
        let n = 7;
        tracing::info!(target: "sidecache", prompt = "secret", members = ?"x", "seen {n}");
    });
    assert_eq!(
        text,
        concat!(
            r#"{"timestamp":"2026-02-01T10:30:45.123Z","level":"INFO","logger":"sidecache","#,
            r#""event_type":"lifecycle","message":"seen 7"}"#,
            "\n"
        )
    );
}

#[test]
fn no_text_breaks_a_line() {
    let surrogate = String::from_utf8_lossy(b"\xED\xA0\x80").into_owned();
    for nasty in
        ["\r\n", "\u{1b}[31m", "\"}\n{\"", "\\", "\0\u{7f}\u{2028}\u{85}", surrogate.as_str(), "\u{10ffff}"]
    {
        let context = map(json!({nasty: [nasty, {nasty: nasty}]}));
        let text = logged(LogLevel::Debug, |_| {
            http_request(&HttpRequest {
                request_id: nasty,
                method: nasty,
                path: nasty,
                client_ip: "::1".parse().unwrap(),
                query: Some(&format!("{nasty}={nasty}&a={nasty}&a=")),
            });
            let (key, reason) = (key(nasty), Some(nasty));
            http_response(&HttpResponse {
                request_id: nasty,
                method: nasty,
                path: nasty,
                status_code: 200,
                duration: Duration::MAX,
                bytes: u64::MAX,
                cache: Some(CacheInfo {
                    status: nasty,
                    kind: Some(nasty),
                    key: Some(&key),
                    age: None,
                    ttl: Some(-1),
                    reason,
                    detail: reason,
                    route: reason,
                    similarity: None,
                    original: Some(&key),
                }),
                upstream_request_id: Some(nasty),
                trace_id: None,
                span_id: None,
            });
            performance(&Performance {
                request_id: Some(nasty),
                operation: Operation::Upstream,
                duration: Duration::ZERO,
                success: true,
                metadata: &context,
            });
            llm_call(&LlmCall {
                request_id: Some(nasty),
                model: nasty,
                prompt_tokens: None,
                completion_tokens: None,
                total_tokens: None,
                cached_tokens: None,
                duration: Duration::ZERO,
                cached: false,
                cost: None,
                currency: Some(nasty),
            });
            error(&ErrorEvent {
                request_id: Some(nasty),
                error_type: nasty,
                error_message: nasty,
                context: &context,
                exc_info: Some(nasty),
                module: nasty,
                line: 1,
            });
            lifecycle(LogLevel::Error, nasty, &context);
        });
        let lines: Vec<_> = text.split_terminator('\n').collect();
        assert_eq!(lines.len(), 6, "{text}");
        for line in &lines {
            assert!(line.bytes().all(|byte| byte >= b' '), "{line}");
            let value: Value = serde_json::from_str(line).unwrap();
            assert!(
                value["message"].as_str().unwrap().contains(nasty) || value["event_type"] == "performance"
            );
        }
        let (request, error): (Value, Value) =
            (serde_json::from_str(lines[0]).unwrap(), serde_json::from_str(lines[4]).unwrap());
        assert_eq!(request["request_id"], nasty);
        assert_eq!(error["context"][nasty][1][nasty], nasty);
    }
}

#[test]
fn lifecycle_members_repeat_no_name() {
    let members = map(json!({"message": "x", "level": "x", "timestamp": "x", "log_dropped": 1, "a": 1}));
    let text = logged(LogLevel::Info, |_| lifecycle(LogLevel::Info, "m", &members));
    assert!(text.ends_with("\"message\":\"m\",\"a\":1}\n"), "{text}");
}

#[test]
fn causes_are_shown_once() {
    #[derive(Debug)]
    struct Layered(&'static str, Option<Box<Layered>>);
    impl fmt::Display for Layered {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }
    impl Error for Layered {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }
    let refused = || Some(Box::new(Layered("refused", None)));
    assert_eq!(exc_info(&Layered("refused", None)), "refused");
    assert_eq!(
        exc_info(&Layered("send", Some(Box::new(Layered("connect", refused()))))),
        "send: connect: refused"
    );
    assert_eq!(
        exc_info(&Layered("send", Some(Box::new(Layered("connect: refused", refused()))))),
        "send: connect: refused"
    );
}

/// A writer that says when it is asked to write, and waits to be allowed.
struct Gate {
    asked: Sender<()>,
    allowed: Receiver<()>,
    out: Memory,
}

impl Write for Gate {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // When the test has dropped its ends, the gate is open.
        let _ = self.asked.send(());
        let _ = self.allowed.recv();
        self.out.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn messages(text: &str) -> Vec<(String, Option<u64>)> {
    let read = |line| serde_json::from_str::<Value>(line).unwrap();
    let message = |v: Value| (v["message"].as_str().unwrap().to_owned(), v["log_dropped"].as_u64());
    text.lines().map(read).map(message).collect()
}

#[test]
fn a_stalled_sink_drops_counts_and_reports() {
    let (asked_tx, asked) = channel();
    let (allow, allowed) = channel();
    let (slow, quick) = (Memory::default(), Memory::default());
    let gate = Gate { asked: asked_tx, allowed, out: slow.clone() };
    let (gated, gated_worker) = Sink::spawn("gated", Box::new(gate), 260).unwrap();
    let (free, free_worker) = Sink::spawn("free", Box::new(quick.clone()), 10_000).unwrap();
    let log = Log(Arc::new(Shared {
        level: AtomicU8::new(LogLevel::Info as u8),
        sinks: vec![gated, free],
        reported: AtomicU64::new(0),
        generation: Arc::default(),
    }));
    let guard = LogGuard { workers: vec![gated_worker, free_worker], patience: Duration::from_secs(10) };
    under(&log, || {
        say("1");
        asked.recv().unwrap();
        // The thread is in its write: two lines wait, of some 117 bytes each, two are lost, nobody blocks.
        ["2", "3", "4", "5"].into_iter().for_each(say);
        assert_eq!(log.dropped(), 2);
        allow.send(()).unwrap();
        asked.recv().unwrap();
        // It took both: there is room again.
        say("6");
        say("7");
        assert_eq!(log.dropped(), 2);
    });
    drop(allow);
    drop(guard);
    let line = |message: &str, dropped| (message.to_owned(), dropped);
    assert_eq!(
        messages(&slow.text()),
        [line("1", None), line("2", None), line("3", None), line("6", Some(2)), line("7", None)]
    );
    // The other sink lost nothing, and shows what was reported before line 6: line 5 reported line 4, and was
    // lost here.
    let quick = messages(&quick.text());
    assert_eq!(quick.len(), 7);
    assert_eq!(quick[4], line("5", Some(1)));
    assert_eq!(quick[5], line("6", Some(2)));
}

impl Output for io::PipeWriter {}

#[test]
fn a_stop_does_not_wait_for_a_stalled_pipe() {
    // A pipe that nobody reads takes some lines, then blocks; the queue then fills up too.
    let (reader, writer): (PipeReader, PipeWriter) = io::pipe().unwrap();
    let (sink, worker) = Sink::spawn("stalled", Box::new(WholeLines::new(writer)), 1_200_000).unwrap();
    let line = vec![b'x'; 300_000];
    while sink.dropped() == 0 {
        sink.offer(&line);
    }
    let start = Instant::now();
    writer::stop(std::iter::once(worker), Duration::from_millis(50));
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(reader);
}

#[test]
fn a_closed_pipe_is_counted() {
    let (mut reader, writer) = io::pipe().unwrap();
    let memory = Memory::default();
    let outputs: Vec<(&str, Box<dyn Write + Send>)> =
        vec![("closed", Box::new(WholeLines::new(writer))), ("open", Box::new(memory.clone()))];
    let (log, guard) = Log::to_writers(LogLevel::Info, outputs).unwrap();
    under(&log, || {
        say("1");
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        drop(reader);
        say("2");
        say("3");
    });
    drop(guard);
    assert_eq!(log.dropped(), 2);
    assert_eq!(messages(&memory.text()).len(), 3);
}

#[test]
fn a_log_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocker = folder.path().join("blocker");
    std::fs::write(&blocker, "").unwrap();
    let open = |path: &std::path::Path| RotatingFile::open(path, 0, 0, Arc::default()).unwrap_err();
    let text = open(&blocker.join("logs/app.log")).to_string();
    assert!(text.starts_with("the log folder ") && text.contains("blocker/logs\""), "{text}");
    assert!(text.contains("LOG_FILE") && !text.contains('\n'), "{text}");
    let text = open(folder.path()).to_string();
    assert!(text.starts_with("the log file ") && text.contains("LOG_FILE") && !text.contains('\n'), "{text}");
}

#[test]
fn standard_output_decides_unless_the_settings_do() {
    let config = |format| LogConfig {
        level: LogLevel::Info,
        format,
        file: None,
        rotate_size: 1,
        rotate_keep: 1,
        slow: Duration::ZERO,
        queries: false,
        health: false,
    };
    assert_eq!(format(&config(None), true), LogFormat::Text);
    assert_eq!(format(&config(None), false), LogFormat::Json);
    assert_eq!(format(&config(Some(LogFormat::Json)), true), LogFormat::Json);
    assert_eq!(format(&config(Some(LogFormat::Text)), false), LogFormat::Text);
}

#[test]
fn a_panic_is_logged_by_its_place_and_not_by_its_words() {
    let text = logged(LogLevel::Info, |_| {
        // Other tests' panics go on to be shown as they are.
        let shown = std::panic::take_hook();
        let own = std::thread::current().id();
        std::panic::set_hook(Box::new(move |panic| match std::thread::current().id() == own {
            true => panicked(panic),
            false => shown(panic),
        }));
        std::panic::catch_unwind(|| panic!("{}", "canary")).unwrap_err();
        drop(std::panic::take_hook());
    });
    let line: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!((&line["event_type"], &line["error_type"]), (&json!("error"), &json!("InternalException")));
    assert!(line["module"].as_str().unwrap().ends_with("log/tests.rs") && line["line"].is_u64(), "{line}");
    assert!(!text.contains("canary"), "{text}");
}
