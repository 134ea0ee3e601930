//! The log: the members of each line, where lines go, and what is never in them.

use std::{
    io::{BufRead, BufReader},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Client, Gate, RawClient, RedisServer, Script, Setup, Sidecache, Upstream, eventually,
    golden::{assert_golden, stable},
    logs::parse,
    measured, run,
    samples::{CHAT, CREDENTIALS, chat, chat_answer, chat_choice, chat_stream},
};

/// The names of a line's members, in the order of the alphabet.
fn names(line: &Value) -> Vec<&str> {
    let mut names: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// The members of every line, and these.
fn with_all<'a>(further: &[&'a str]) -> Vec<&'a str> {
    let mut names = [&["timestamp", "level", "logger", "event_type", "message"][..], further].concat();
    names.sort_unstable();
    names
}

async fn chatting() -> Upstream {
    Upstream::always(Script::json(&chat_answer())).await
}

/// The lines of a finished request, with its `performance` line.
async fn lines_of(sidecache: &Sidecache, id: &str) -> Vec<Value> {
    let is = |line: &Value| line["operation"] == "request" && line["request_id"] == id;
    sidecache.log.wait_for("the request's last line", is).await;
    sidecache.log.of(id)
}

#[test]
fn each_log_line_has_its_members() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Setup::to(&upstream.url()).arguments(&["--log-level", "DEBUG"]).start().await;
        for id in ["miss", "hit"] {
            sidecache.client().post_with(CHAT, &[("x-request-id", id)], &chat()).await;
            lines_of(&sidecache, id).await;
        }
        let nowhere = Sidecache::start(&format!("http://127.0.0.1:{}", RedisServer::free_port())).await;
        nowhere.client().get("/some").await;
        nowhere.log.wait_for("an error", |line| line["event_type"] == "error").await;
        let mut seen = Vec::new();
        for line in sidecache.log.all().into_iter().chain(nowhere.log.all()) {
            let event_type = line["event_type"].as_str().expect("a text").to_owned();
            let (logger, expected) = match event_type.as_str() {
                "http_request" => {
                    ("rag.request", with_all(&["request_id", "method", "path", "client_ip", "query_params"]))
                }
                "http_response" => {
                    let known =
                        ["request_id", "method", "path", "status_code", "duration_ms", "bytes", "cache"];
                    ("rag.request", with_all(&known))
                }
                "performance" => (
                    "rag.performance",
                    with_all(&["request_id", "operation", "duration_ms", "success", "metadata"]),
                ),
                "llm_call" => {
                    let tokens = ["prompt_tokens", "completion_tokens", "total_tokens"];
                    let known = ["request_id", "model", "duration_ms", "cached"];
                    ("rag.llm", with_all(&[&known[..], &tokens].concat()))
                }
                "error" => {
                    let known = [
                        "request_id",
                        "error_type",
                        "error_message",
                        "context",
                        "exc_info",
                        "module",
                        "line",
                    ];
                    ("rag.error", with_all(&known))
                }
                "lifecycle" => {
                    assert_eq!(line["logger"], "sidecache");
                    continue;
                }
                other => panic!("{other}: {line}"),
            };
            assert_eq!((line["logger"].as_str(), names(&line)), (Some(logger), expected), "{line}");
            let timestamp = line["timestamp"].as_str().expect("a text");
            assert!(
                timestamp.len() == 24 && timestamp.ends_with('Z') && &timestamp[10..11] == "T",
                "{timestamp}"
            );
            seen.push(event_type);
        }
        for event_type in ["http_request", "http_response", "performance", "llm_call", "error"] {
            assert!(seen.iter().any(|seen| seen == event_type), "{event_type}");
        }
    });
}

#[test]
fn a_miss_a_hit_and_what_passes_are_logged_as_in_the_golden_file() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Setup::to(&upstream.url()).arguments(&["--log-level", "DEBUG"]).start().await;
        let mut received = Vec::new();
        let target = format!("{CHAT}?lang=en&api_key=canary");
        for (id, target, count) in
            [("req-miss", target.as_str(), 7), ("req-hit", &target, 5), ("req-pass", "/other", 4)]
        {
            sidecache.client().post_with(target, &[("x-request-id", id)], &chat()).await;
            let lines = eventually("all lines", async || {
                let lines = sidecache.log.of(id);
                (lines.len() >= count).then_some(lines)
            });
            let mut lines: Vec<_> = lines.await.iter().map(|line| stable(line).to_string()).collect();
            // The fill is a task of its own, so the order of its lines varies.
            lines.sort();
            received.extend(lines);
        }
        assert_golden("exchange.jsonl", &(received.join("\n") + "\n"));
    });
}

#[test]
fn probes_of_the_health_page_are_logged_if_that_is_wanted() {
    run(async {
        for (config, expected) in [("", 1), ("[log]\nhealth = true", 4)] {
            let upstream = chatting().await;
            let sidecache = Setup::to(&upstream.url()).config(config).start().await;
            let client = sidecache.client();
            for target in ["/health", "/health/live", "/health/ready"] {
                assert_eq!(client.get(target).await.status, 200);
            }
            // A `POST` there is the service's.
            client.post_with("/health", &[("x-request-id", "last")], &json!({})).await;
            lines_of(&sidecache, "last").await;
            for event_type in ["http_request", "http_response"] {
                let all = sidecache.log.all();
                let lines = all.iter().filter(|line| line["event_type"] == event_type).count();
                assert_eq!(lines, expected, "{event_type} with {config:?}");
            }
        }
    });
}

#[test]
fn the_health_page_is_as_in_the_golden_file() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for _ in 0..3 {
            sidecache.client().post(CHAT, &chat()).await;
        }
        sidecache.client().post_with(CHAT, &[("cache-control", "no-store")], &chat()).await;
        sidecache.client().get("/other").await;
        let health = sidecache.health().await;
        assert!(health["uptime_seconds"].is_f64() && health["cache"]["seconds_saved"].is_f64(), "{health}");
        assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
        let text = serde_json::to_string_pretty(&stable(&health)).expect("JSON");
        assert_golden("health.json", &(text + "\n"));
    });
}

#[test]
fn cache_lookups_of_hits_are_logged_at_debug() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for id in ["miss", "hit"] {
            sidecache.client().post_with(CHAT, &[("x-request-id", id)], &chat()).await;
        }
        let operations = async |id| {
            let lines = lines_of(&sidecache, id).await;
            let received = lines.iter().filter_map(|line| line["operation"].as_str().map(str::to_owned));
            let mut received: Vec<_> = received.collect();
            received.sort();
            received
        };
        eventually("every line of a miss", async || {
            (operations("miss").await == ["cache_lookup", "cache_store", "request", "upstream"]).then_some(())
        })
        .await;
        assert_eq!(operations("hit").await, ["request"]);
        assert!(sidecache.log.all().iter().all(|line| line["level"] != "DEBUG"));
    });
}

#[test]
fn slow_requests_are_logged_as_warnings() {
    run(async {
        let (asked, go_on) = (Gate::new(), Gate::new());
        let held = Script::raw().tell(&asked).wait(&go_on);
        let slow = Script { steps: [held.steps, Script::whole(200, &[], "late").steps].concat() };
        let upstream = Upstream::in_turn(vec![slow, Script::whole(200, &[], "soon")]).await;
        let sidecache = Setup::to(&upstream.url()).env("SLOW_REQUEST_THRESHOLD_MS", "2000").start().await;
        let client = sidecache.client();
        let request =
            tokio::spawn(async move { client.request("GET", "/", &[("x-request-id", "slow")], "").await });
        asked.passed().await;
        tokio::time::sleep_until((Instant::now() + Duration::from_millis(2001)).into()).await;
        go_on.open();
        request.await.expect("an answer");
        sidecache.client().request("GET", "/", &[("x-request-id", "fast")], "").await;
        for (id, level) in [("slow", "WARNING"), ("fast", "INFO")] {
            let lines = lines_of(&sidecache, id).await;
            let line = lines.iter().find(|line| line["operation"] == "request").expect("the line");
            assert_eq!(line["level"], level, "{line}");
            assert_eq!(line.get("slow"), (id == "slow").then_some(&json!(true)), "{line}");
        }
    });
}

#[test]
fn the_log_file_gets_the_same_lines() {
    run(async {
        let upstream = chatting().await;
        let setup = Setup::to(&upstream.url());
        let path = setup.dir().join("made/for/it/sidecache.log");
        let path = path.to_str().expect("UTF-8").to_owned();
        let mut sidecache = setup.env("LOG_FILE", &path).start().await;
        sidecache.client().post(CHAT, &chat()).await;
        sidecache.client().get("/some?x=1").await;
        assert!(sidecache.stop().await.success());
        sidecache.log.lifecycle("stopped").await;
        assert_eq!(std::fs::read_to_string(&path).expect("the file").trim_end(), sidecache.log.text());
    });
}

#[test]
fn questions_are_logged_only_if_the_setting_says_so() {
    run(async {
        let upstream = chatting().await;
        for wanted in [false, true] {
            let config = format!("[log]\nqueries = {wanted}");
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            sidecache.client().post_with(CHAT, &[("x-request-id", "q")], &chat()).await;
            let lines = lines_of(&sidecache, "q").await;
            for line in lines.iter().filter(|line| line["event_type"] == "performance") {
                let query = wanted.then_some("Who keeps entries?");
                assert_eq!(line["metadata"].get("query").and_then(Value::as_str), query, "{line}");
            }
        }
    });
}

#[test]
fn clients_that_leave_or_stall_before_an_answer_are_logged() {
    run(async {
        let upstream = Upstream::always(Script::raw().hang()).await;
        let setup = Setup::to(&upstream.url()).config("[limits]\nbody_timeout = \"200ms\"");
        let sidecache = setup.start().await;
        for (calls, target) in [CHAT, "/some"].into_iter().enumerate() {
            let mut raw = RawClient::connect(sidecache.address()).await;
            let body = chat().to_string();
            let head = |id: &str, length: usize| {
                format!(
                    "POST {target} HTTP/1.1\r\nhost: a\r\nx-request-id: {id}\r\ncontent-type: application/json\r\n\
                     content-length: {length}\r\n\r\n"
                )
            };
            raw.send([head(&format!("left{target}"), body.len()), body.clone()].concat()).await;
            eventually("asked", async || (upstream.calls() == calls + 1).then_some(())).await;
            drop(raw);
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send([head(&format!("stalled{target}"), body.len() + 1), body].concat()).await;
            assert_eq!(raw.rest().await, "");
            for (id, status) in [("left", 499), ("stalled", 408)] {
                let lines = lines_of(&sidecache, &format!("{id}{target}")).await;
                let of =
                    |event: &str| lines.iter().filter(|line| line["event_type"] == event).collect::<Vec<_>>();
                let responses = of("http_response");
                assert_eq!(responses.len(), 1, "{id}{target}");
                assert_eq!(
                    (&responses[0]["status_code"], &responses[0]["bytes"]),
                    (&json!(status), &json!(0))
                );
                let whole = |line: &&&Value| line["operation"] == "request";
                assert_eq!(of("performance").iter().find(whole).expect("its end")["success"], false);
            }
        }
    });
}

#[test]
fn a_disk_that_fills_within_a_line_keeps_whole_lines_only() {
    run(async {
        let upstream = chatting().await;
        // Files of at most 64 blocks of 512 bytes; writes beyond that fail, without a signal that ends the
        // process.
        let limit = "trap '' XFSZ\nulimit -f 64";
        let setup = Setup::to(&upstream.url()).after(limit).arguments(&["--log-file", "sidecache.log"]);
        let path = setup.dir().join("sidecache.log");
        let sidecache = setup.start().await;
        let client = sidecache.client();
        let mut looks = 0;
        let text = eventually("lines are lost, and counted", async || {
            assert_eq!(client.get("/some").await.status, 200);
            // What was taken back between two reads of one look would be torn by the look.
            let read = || std::fs::read_to_string(&path).expect("the file");
            let text = read();
            if text != read() {
                return None;
            }
            // The last line may not be whole yet.
            text.lines().rev().skip(1).for_each(|line| drop(parse(line)));
            looks += 1;
            let dropped = client.get("/health").await.json()["log"]["dropped"].as_u64();
            dropped.filter(|count| *count > 20).and(Some(text))
        })
        .await;
        assert!(text.len() <= 64 * 512 && text.len() > 60 * 512, "{} bytes", text.len());
        // After the end, every line is whole.
        drop(sidecache);
        let text = std::fs::read_to_string(&path).unwrap_or(text);
        text.lines().for_each(|line| drop(parse(line)));
        assert!(text.ends_with("}\n"), "{:?}", text.lines().last());
        measured(format_args!("{} bytes after {looks} looks", text.len()));
    });
}

#[test]
fn a_closed_standard_output_fails_no_request() {
    run(async {
        let upstream = chatting().await;
        let setup = Setup::to(&upstream.url());
        let path = setup.dir().join("sidecache.log");
        let setup = setup.arguments(&["--log-file", path.to_str().expect("UTF-8")]);
        let mut child = setup.command().spawn().expect("the binary");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let address = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).expect("a line") > 0, "it ended");
            if let Some(address) = parse(&line)["listen"].as_str() {
                break address.parse().expect("an address");
            }
        };
        drop(output);
        let client = Client::new(address);
        eventually("lines are lost, and counted", async || {
            assert_eq!(client.post(CHAT, &chat()).await.status, 200);
            client.get("/health").await.json()["log"]["dropped"].as_u64().filter(|count| *count > 0)
        })
        .await;
        eventually("the other lines tell", async || {
            // The count goes with the next line, and `/health` writes none.
            assert_eq!(client.post(CHAT, &chat()).await.status, 200);
            let text = std::fs::read_to_string(&path).expect("the file");
            // The last line may not be whole yet.
            let (whole, _) = text.rsplit_once('\n').expect("a whole line");
            whole.lines().map(parse).find(|line| line["log_dropped"].as_u64().is_some_and(|count| count > 0))
        })
        .await;
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    });
}

#[test]
fn no_log_line_has_secrets_or_texts() {
    run(async {
        let redis = RedisServer::start();
        redis.cli(&["CONFIG", "SET", "requirepass", "canary-redis"]);
        let said = json!({"role": "assistant", "content": "canary-answer"});
        let upstream = Upstream::start(move |request| match request.target.split('?').next() {
            Some("/error") => {
                Script::json_with(500, &[("set-cookie", "canary-set-cookie")], &json!({"e": "canary-body"}))
            }
            Some("/cut") => Script::raw().send("canary-garbage\r\n\r\n").close(),
            _ => Script::json(&chat_choice(said.clone(), "stop")),
        })
        .await;
        let mut sidecache = Setup::to(&upstream.url())
            .arguments(&["--log-level", "DEBUG"])
            .env("REDIS_URL", &format!("redis://:canary-redis@127.0.0.1:{}", redis.port()))
            .env("ADMIN_TOKEN", "canary-admin-token")
            .admin()
            .start()
            .await;
        let question = json!({"model": "m", "messages": [{"role": "user", "content": "canary-prompt"}]});
        let mut stream = chat_stream();
        stream["messages"] = question["messages"].clone();
        let query = "?api_key=canary-1&key=canary-2&token=canary-3&access_token=canary-4&signature=canary-5\
            &sig=canary-6&password=canary-7&secret=canary-8&API_KEY=canary-9&lang=shown";
        for target in [CHAT, CHAT, "/some", "/error", "/cut"] {
            sidecache.client().post_with(&format!("{target}{query}"), &CREDENTIALS, &question).await;
        }
        sidecache.client().post_with(CHAT, &CREDENTIALS, &stream).await;
        sidecache.client().post_text(CHAT, &CREDENTIALS, "{\"canary-broken\":").await;
        let admin = Client::new(sidecache.admin());
        admin.request("GET", "/stats", &[("authorization", "Bearer canary-admin-token")], "").await;
        redis.cli(&["AUTH", "canary-redis"]);
        drop(redis);
        sidecache.log.lifecycle("Cache store lost").await;
        sidecache.client().post_with(CHAT, &CREDENTIALS, &question).await;
        let health = sidecache.health().await.to_string();
        assert!(!health.contains("canary"), "{health}");
        assert!(sidecache.stop().await.success());
        sidecache.log.lifecycle("stopped").await;
        let text = sidecache.log.text();
        let leak = text.lines().find(|line| line.contains("canary"));
        assert_eq!(leak, None);
        assert!(text.contains("shown") && text.contains("***"), "what is no secret is shown");
    });
}

#[test]
fn people_read_texts_and_the_file_has_json() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let setup = Setup::to(&upstream.url()).config("[log]\nfile = \"app.log\"");
        let sidecache =
            setup.arguments(&["--log-format", "text"]).after("exec > out.txt").start_silent().await;
        let client = sidecache.client();
        for cache in ["MISS", "HIT"] {
            let answer = client.post(&format!("{CHAT}?q=%1b[2J%0aINFO"), &chat()).await;
            assert_eq!(answer.cache(), cache);
        }
        let read = |name: &str| std::fs::read_to_string(sidecache.dir().join(name)).unwrap_or_default();
        let text = eventually("both responses", async || {
            Some(read("out.txt")).filter(|text| text.matches(&format!(" POST {CHAT} 200 ")).count() == 2)
        })
        .await;
        assert!(
            text.contains(&format!("Z INFO    POST {CHAT} 200 HIT ")) && text.contains("  openai-chat  "),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.starts_with("20") && !line.contains(char::is_control)),
            "{text}"
        );
        let file = eventually("both responses in the file", async || {
            Some(read("app.log")).filter(|text| text.matches("\"http_response\"").count() == 2)
        })
        .await;
        for line in file.lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
        }
        let wrong =
            Setup::bare().arguments(&["check", "--log-format", "xml"]).command().output().expect("it runs");
        assert_eq!(wrong.status.code(), Some(2));
    });
}
