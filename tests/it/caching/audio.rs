//! Transcriptions, whose questions are forms, and speech, whose answers are sound. With both stores.

use bytes::Bytes;
use serde_json::json;

use crate::support::{
    Answer, Client, Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
};

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
const SPEECH: &str = "/v1/audio/speech";
const SSE: &str = "text/event-stream";

/// Sound that is no text.
const SOUND: &[u8] = b"ID3\x04\x00\xff\xfb\x90\x00\r\n--b1\x00{\"a\":1}\n\n";

/// A form with a file, and these fields.
#[derive(Clone)]
struct Form<'a> {
    boundary: &'a str,
    file_name: &'a str,
    sound: &'a [u8],
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Form<'a> {
    fn new(fields: &[(&'a str, &'a str)]) -> Self {
        let mut all = vec![("model", "whisper-1")];
        all.extend_from_slice(fields);
        Self { boundary: "b2", file_name: "a.mp3", sound: SOUND, fields: all }
    }

    fn body(&self) -> Vec<u8> {
        let Self { boundary, file_name, sound, fields } = self;
        let mut body = Vec::new();
        for (name, value) in fields {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"");
            body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n{value}\r\n").as_bytes());
        }
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"");
        body.extend_from_slice(
            format!("--{boundary}\r\n{head}\r\nContent-Type: audio/mpeg\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(sound);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        body
    }

    async fn send(&self, client: &Client, target: &str) -> Answer {
        let media = format!("multipart/form-data; boundary={}", self.boundary);
        client.request("POST", target, &[("content-type", &media)], self.body()).await
    }
}

async fn with_both_stores(upstream: &Upstream, config: &str, test: impl AsyncFn(&Sidecache)) {
    let redis = RedisServer::start();
    for arguments in [&[][..], &["--redis", &redis.url()]] {
        let setup = Setup::to(&upstream.url()).config(config).config("[store]\ntimeout = \"10s\"");
        test(&setup.arguments(arguments).start().await).await;
    }
}

/// Asks until the answer is stored, which takes a moment in Redis.
async fn found(ask: impl AsyncFn() -> Answer) -> Answer {
    eventually("a hit", async || {
        let answer = ask().await;
        (answer.cache() == "HIT").then_some(answer)
    })
    .await
}

fn stream(last: &str) -> Script {
    let delta = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hel\"}\n\n";
    Script::events(&[delta, last])
}

const DONE: &str = "data: {\"type\":\"transcript.text.done\",\"text\":\"Hello.\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":2,\"total_tokens\":16}}\n\n";

/// An answer in each format, as the service writes it.
fn formats() -> Vec<(Vec<(&'static str, &'static str)>, Script)> {
    let text = |media: &str, text: &str| Script::whole(200, &[("content-type", media)], text);
    let verbose = json!({"task": "transcribe", "language": "english", "duration": 2.5, "text": "Hello.",
        "segments": [{"id": 0, "start": 0.0, "end": 2.5, "text": "Hello."}], "usage": {"type": "duration", "seconds": 3}});
    vec![
        (vec![], Script::json(&json!({"text": "Hello."}))),
        (vec![("response_format", "json")], Script::json(&json!({"text": "Hello."}))),
        (vec![("response_format", "verbose_json")], Script::json(&verbose)),
        (vec![("response_format", "text")], text("text/plain; charset=utf-8", "Hello.\n")),
        (
            vec![("response_format", "srt")],
            text("text/plain; charset=utf-8", "1\n00:00:00,000 --> 00:00:02,500\nHello.\n\n"),
        ),
        (vec![("response_format", "vtt")], text("text/vtt", "WEBVTT\n\n00:00.000 --> 00:02.500\nHello.\n")),
        (vec![("stream", "true")], stream(DONE)),
    ]
}

/// An upstream that answers with the script of the form that it gets.
async fn transcribing(all: Vec<(Vec<(&'static str, &'static str)>, Script)>) -> Upstream {
    let all: Vec<_> = all
        .into_iter()
        .map(|(fields, script)| {
            let parts: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes())
                .collect();
            (parts, script)
        })
        .collect();
    Upstream::start(move |request| {
        let has = |part: &Vec<u8>| request.body.windows(part.len()).any(|window| window == part);
        let found = all.iter().rev().find(|(parts, _)| parts.iter().all(has));
        found.expect("a script").1.clone()
    })
    .await
}

/// The boundary, and when it was asked, do not count. All else does.
#[test]
fn the_same_form_gets_the_same_answer_in_every_format() {
    run(async {
        let upstream = transcribing(formats()).await;
        with_both_stores(&upstream, "", async |sidecache| {
            let client = sidecache.client();
            for target in [TRANSCRIPTIONS, "/v1/audio/translations"] {
                for (fields, _) in formats() {
                    let form = Form::new(&fields);
                    let first = form.send(&client, target).await;
                    assert_eq!((first.status, first.cache()), (200, "MISS"), "{target} {fields:?}");
                    let other = Form { boundary: "0123456789abcdef", ..form.clone() };
                    let again = found(async || other.send(&client, target).await).await;
                    assert_eq!((&again.body, again.key()), (&first.body, first.key()), "{fields:?}");
                    assert_eq!(again.header("content-type"), first.header("content-type"));
                }
            }
            let calls = upstream.calls();
            let form = Form::new(&[]);
            let others = [
                Form { file_name: "a.wav", ..form.clone() },
                Form { sound: b"ID3\x04\x00", ..form.clone() },
                Form { fields: vec![("model", "gpt-4o-transcribe")], ..form.clone() },
                Form::new(&[("language", "de")]),
                Form::new(&[("prompt", "Names: Ada.")]),
                Form::new(&[("timestamp_granularities[]", "word")]),
                Form::new(&[("temperature", "0")]),
                Form { fields: vec![("language", "de"), ("model", "whisper-1")], ..form },
            ];
            for (index, other) in others.iter().enumerate() {
                assert_eq!(other.send(&client, TRANSCRIPTIONS).await.cache(), "MISS", "{index}");
            }
            assert_eq!(upstream.calls(), calls + others.len());
        })
        .await;
        let sent = &upstream.requests()[0];
        assert_eq!(sent.body, Form::new(&[]).body(), "it goes unchanged");
        assert_eq!(sent.header("content-type"), Some("multipart/form-data; boundary=b2"));
    });
}

/// Answers that are no whole transcription, each with its reason.
#[test]
fn what_is_no_transcription_is_not_stored() {
    let text = |media: &str, text: &str| Script::whole(200, &[("content-type", media)], text);
    let delta = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hel\"}\n\n";
    let error = json!({"error": {"message": "The server had an error.", "type": "server_error"}});
    let as_json = vec![
        ("answer-error", Script::json(&error)),
        ("invalid", Script::json(&json!({"segments": []}))),
        ("empty", Script::json(&json!({"text": " "}))),
        ("not-as-asked", text("text/html", "<html><body>Bad gateway</body></html>")),
        ("not-as-asked", text("application/json", "{\"text\": \"Hel")),
        ("no-proper-end", Script::events(&[delta])),
        ("error-event", Script::events(&[delta, "data: {\"type\":\"error\",\"message\":\"no\"}\n\n", DONE])),
        ("invalid", Script::events(&[delta, "data: {\"type\":\"transcript.text.done\"}\n\n"])),
    ];
    let as_text = vec![
        ("answer-error", Script::json(&error)),
        ("not-as-asked", Script::json(&json!({"text": "Hello."}))),
        ("not-as-asked", text("text/html", "<html><body>Bad gateway</body></html>")),
        ("empty", text("text/plain", " \n")),
        ("invalid", Script::whole(200, &[("content-type", "text/plain")], b"Hel\xff")),
        // Nothing shows that this is all.
        ("unframed", Script::raw().head(200, &[("content-type", "text/plain")]).send("Hello.").close()),
    ];
    run(async move {
        for (fields, cases) in [(vec![], as_json), (vec![("response_format", "text")], as_text)] {
            for (reason, script) in cases {
                let upstream = Upstream::always(script).await;
                let sidecache = Sidecache::start(&upstream.url()).await;
                let form = Form::new(&fields);
                for _ in 0..2 {
                    let answer = form.send(&sidecache.client(), TRANSCRIPTIONS).await;
                    assert_eq!((answer.status, answer.cache()), (200, "MISS"), "{reason} {}", answer.text());
                }
                let last = sidecache.client();
                let detail = eventually(reason, async || {
                    let answer = form.send(&last, TRANSCRIPTIONS).await;
                    answer.detail().map(|detail| detail.replace("last-not-stored:", ""))
                });
                assert_eq!(detail.await, reason);
            }
        }
    });
}

fn spoken(format: &str) -> serde_json::Value {
    json!({"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello.", "response_format": format})
}

fn sound(media: &str) -> Script {
    let chunks = SOUND.chunks(7).fold(Script::chunked(media), Script::chunk);
    chunks.end()
}

#[test]
fn speech_is_stored_byte_for_byte() {
    run(async {
        let upstream = Upstream::start(|request| match request.json()["stream_format"].as_str() {
            Some("sse") => Script::events(&[
                "data: {\"type\":\"speech.audio.delta\",\"audio\":\"SUQz\"}\n\n",
                "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n",
            ]),
            _ => sound("audio/mpeg"),
        })
        .await;
        with_both_stores(&upstream, "", async |sidecache| {
            let client = sidecache.client();
            let calls = upstream.calls();
            for (format, stream_format, media) in
                [("mp3", "audio", "audio/mpeg"), ("mp3", "sse", SSE), ("pcm", "audio", "audio/mpeg")]
            {
                let mut question = spoken(format);
                question["stream_format"] = json!(stream_format);
                let first = client.post(SPEECH, &question).await;
                assert_eq!((first.status, first.cache()), (200, "MISS"), "{question}");
                let again = found(async || client.post(SPEECH, &question).await).await;
                assert_eq!((&again.body, again.header("content-type")), (&first.body, media));
                assert!(stream_format == "sse" || again.body == Bytes::from_static(SOUND));
            }
            let other = json!({"model": "gpt-4o-mini-tts", "voice": {"id": "voice_1"}, "input": "Hello."});
            assert_eq!(client.post(SPEECH, &other).await.cache(), "MISS");
            assert_eq!(upstream.calls(), calls + 4);
        })
        .await;
    });
}

/// Sound that is cut, too large, or none, each with its reason.
#[test]
fn what_is_no_whole_speech_is_not_stored() {
    let head = |more: &[(&str, &str)]| {
        let mut all = vec![("content-type", "audio/mpeg")];
        all.extend_from_slice(more);
        Script::raw().head(200, &all)
    };
    let length = SOUND.len().to_string();
    let error = json!({"error": {"message": "no"}});
    let large = vec![7; 5000];
    let cases = [
        ("truncated", head(&[("content-length", &length)]).send(&SOUND[..9]).close()),
        ("truncated", head(&[("transfer-encoding", "chunked")]).chunk(&SOUND[..9]).close()),
        ("truncated", head(&[("transfer-encoding", "chunked")]).chunk(SOUND).reset()),
        ("unframed", head(&[]).send(SOUND).close()),
        ("too-large", head(&[("transfer-encoding", "chunked")]).chunk(&large).end()),
        ("too-large", head(&[("content-length", "5000")]).send(&large)),
        ("empty", head(&[("content-length", "0")])),
        ("answer-error", Script::json(&error)),
        ("answer-error", Script::whole(200, &[("content-type", "audio/mpeg")], error.to_string())),
        ("not-as-asked", Script::whole(200, &[("content-type", "text/html")], "<html>")),
        ("not-as-asked", Script::whole(200, &[], SOUND)),
        (
            "no-proper-end",
            Script::events(&["data: {\"type\":\"speech.audio.delta\",\"audio\":\"SUQz\"}\n\n"]),
        ),
        ("empty", Script::events(&["data: {\"type\":\"speech.audio.done\"}\n\n"])),
    ];
    run(async move {
        for (reason, script) in cases {
            let upstream = Upstream::always(script).await;
            let setup = Setup::to(&upstream.url()).config("[store]\nmax_entry = \"4KiB\"");
            let sidecache = setup.start().await;
            let headers =
                |id: &str| [("content-type", "application/json".to_owned()), ("x-request-id", id.to_owned())];
            for turn in ["first", "second"] {
                let calls = upstream.calls();
                let headers = headers(turn);
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let answer =
                    sidecache.client().open("POST", SPEECH, &headers, spoken("mp3").to_string()).await;
                assert_eq!(answer.cache(), "MISS", "{reason}");
                let _ = answer.bytes().await;
                assert_eq!(upstream.calls(), calls + 1, "{reason}");
                let line = sidecache.log.response(turn).await;
                // A cut that comes right behind the head is a 502: there is no answer that could be stored.
                let is_error = reason == "truncated" && line["status_code"] == 502;
                assert!(is_error || line["cache"]["reason"] == reason, "{reason}: {line}");
            }
        }
    });
}

/// Those who ask at the same moment get one answer, once it is known to be one.
#[test]
fn the_same_sound_is_asked_for_once_at_a_time() {
    run(async {
        let go = Gate::new();
        let held = sound("audio/mpeg").after(&go);
        let upstream = Upstream::always(held).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let asking: Vec<_> = (0..4)
            .map(|_| {
                let client = sidecache.client();
                tokio::spawn(async move { client.post(SPEECH, &spoken("mp3")).await })
            })
            .collect();
        eventually("all have looked up", async || {
            (sidecache.health().await["cache"]["misses"] == 4).then_some(())
        })
        .await;
        go.open();
        let mut received = Vec::new();
        for asked in asking {
            let answer = asked.await.expect("no panic");
            assert_eq!(answer.body, Bytes::from_static(SOUND));
            received.push(answer.cache().to_owned());
        }
        received.sort();
        assert_eq!(
            (received, upstream.calls()),
            (["COALESCED", "COALESCED", "COALESCED", "MISS"].map(str::to_owned).to_vec(), 1)
        );
    });
}

/// What has not all that the API requires belongs to another service.
#[test]
fn another_services_requests_pass_through() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"text": "Hello."}))).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let media = "multipart/form-data; boundary=b2";
        let text = |form: Form<'_>| String::from_utf8_lossy(&form.body()).into_owned();
        let plain = Form { sound: b"RIFF", ..Form::new(&[]) };
        for (target, content_type, body) in [
            (TRANSCRIPTIONS, media, text(Form { fields: vec![], ..plain.clone() })),
            (TRANSCRIPTIONS, media, text(Form { fields: vec![("model", "")], ..plain.clone() })),
            (TRANSCRIPTIONS, media, text(Form { sound: b"", ..plain.clone() })),
            (TRANSCRIPTIONS, media, text(plain.clone()).replace("name=\"file\"", "name=\"audio\"")),
            (TRANSCRIPTIONS, media, text(plain.clone()).replace("; filename=\"a.mp3\"", "")),
            (TRANSCRIPTIONS, media, format!("preamble\r\n{}", text(plain.clone()))),
            (TRANSCRIPTIONS, "application/json", json!({"model": "m", "file": {"a": 1}}).to_string()),
            (SPEECH, "application/json", json!({"model": "m", "input": "Hello."}).to_string()),
            (SPEECH, "application/json", json!({"model": "m", "voice": "v"}).to_string()),
            (SPEECH, "application/json", json!({"input": "Hello.", "voice": "v"}).to_string()),
        ] {
            for _ in 0..2 {
                let answer =
                    client.request("POST", target, &[("content-type", content_type)], body.clone()).await;
                assert_eq!((answer.cache(), answer.detail()), ("PASS", Some("not-in-dialect")), "{body}");
            }
        }
    });
}

/// A file that is larger than what is read goes to the service as it would without sidecache.
#[test]
fn a_large_file_passes_through() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"text": "Hello."}))).await;
        let sidecache = Setup::to(&upstream.url()).config("[limits]\nmax_body = \"1KiB\"").start().await;
        let large = vec![7; 5000];
        let form = Form { sound: &large, ..Form::new(&[]) };
        for _ in 0..2 {
            let answer = form.send(&sidecache.client(), TRANSCRIPTIONS).await;
            assert_eq!((answer.status, answer.cache()), (200, "PASS"));
            assert_eq!(answer.detail(), Some("request-too-large"));
            assert_eq!(upstream.last().body, form.body());
        }
        let json = json!({"model": "m", "voice": "v", "input": "x".repeat(2000)});
        assert_eq!(sidecache.client().post(SPEECH, &json).await.status, 413, "as on every route for JSON");
    });
}
