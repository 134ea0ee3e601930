use std::time::{Duration, Instant};

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::cli::{
    requests::Told,
    top::{metrics::Metrics, state::News},
};

/// A page after so many hits and as many misses.
fn page(count: u32) -> Metrics {
    let mut text = String::from(
        "sidecache_build_info{version=\"1.2.3\",commit=\"\"} 1\nprocess_start_time_seconds 1000\n\
         sidecache_store_up{store=\"memory\"} 1\nsidecache_entries{store=\"memory\"} 1234\n\
         sidecache_entry_bytes{store=\"memory\"} 15938355\n",
    );
    for (cache, result, seconds) in [("hit", "hit", 0.003), ("miss", "miss", 1.0)] {
        text += &format!(
            "sidecache_requests_total{{route=\"openai-chat\",kind=\"query\",cache=\"{cache}\",status=\"2xx\"}} {count}\n\
             sidecache_lookups_total{{kind=\"query\",result=\"{result}\"}} {count}\n\
             sidecache_request_duration_seconds_bucket{{le=\"0.001\",kind=\"query\",cache=\"{cache}\"}} 0\n\
             sidecache_request_duration_seconds_bucket{{le=\"{seconds}\",kind=\"query\",cache=\"{cache}\"}} {count}\n\
             sidecache_request_duration_seconds_bucket{{le=\"+Inf\",kind=\"query\",cache=\"{cache}\"}} {count}\n"
        );
    }
    text += "sidecache_requests_total{route=\"none\",kind=\"none\",cache=\"pass\",status=\"2xx\"} 7\n\
        sidecache_bypassed_total{kind=\"none\",reason=\"no-route\"} 7\n\
        sidecache_not_stored_total{kind=\"query\",reason=\"length\"} 2\n\
        sidecache_not_stored_total{kind=\"query\",reason=\"truncated\"} 12345\n";
    Metrics::parse(&text)
}

fn state() -> State {
    let began = Instant::now();
    let mut state = State::new("http://127.0.0.1:8081".to_owned(), began, page(100));
    state.learn(began + Duration::from_secs(10), News::Scraped(Ok(page(600))));
    for request in [
        r#"{"time":"2026-12-01T07:00:00.123Z","method":"POST","path":"/v1/chat/completions","status":200,"cache":"HIT","ms":0.9}"#,
        r#"{"time":"2026-12-01T07:00:01.123Z","method":"GET","path":"/\u001b[2J\u202e","status":502,"cache":"PASS","reason":"no-route","ms":812}"#,
    ] {
        state.learn(began, News::Told(Told::Request(request.to_owned())));
    }
    state
}

fn drawn(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, state, 4_600.0)).expect("a picture");
    let lines = terminal.backend().to_string();
    lines.lines().map(|line| line.trim_matches('"').trim_end().to_owned() + "\n").collect()
}

#[test]
fn everything_fits_80_by_24() {
    insta::assert_snapshot!(drawn(&state(), 80, 24), @r"
    sidecache 1.2.3  http://127.0.0.1:8081  up 1 h 0 min  memory: 1,234 in 15.2M
                  last 10 s   since start    latency       last 10 s   since start
    hit rate          50.0%         50.0%    hits p50         2.0 ms        2.0 ms
    requests/s          100           0.3    hits p99         3.0 ms        3.0 ms
    hits                500           600    misses p50       500 ms        500 ms
    misses              500           600    misses p99       990 ms        990 ms
    route                  req/s hit rate    kind               lookups/s hit rate
    openai-chat              100    50.0%    query                    100    50.0%
    none                     0.0        -



    not stored                since start    bypassed                  since start
    truncated                      12,345    no-route                            7
    length                              2



    requests, the newest first                                               q quits
    07:00:01 PASS      502  812 ms GET /\u{1b}[2J\u{202e}  no-route
    07:00:00 HIT       200  0.9 ms POST /v1/chat/completions
    ");
}

#[test]
fn a_small_terminal_has_what_counts_most() {
    insta::assert_snapshot!(drawn(&state(), 40, 10), @r"
    sidecache 1.2.3  http://127.0.0.1:8081
                  last 10 s   since start
    hit rate          50.0%         50.0%
    requests/s          100           0.3
    hits                500           600
    misses              500           600
    requests, the newest first       q quits
    07:00:01 PASS      502  812 ms GET /\u{1
    07:00:00 HIT       200  0.9 ms POST /v1/
    ");
}

#[test]
fn faults_are_told() {
    let mut state = State::new("http://a".to_owned(), Instant::now(), Metrics::default());
    state.learn(Instant::now(), News::Scraped(Err("nothing answers at http://a".to_owned())));
    state.learn(Instant::now(), News::NotTold("16 read already".to_owned()));
    let text = drawn(&state, 80, 24);
    for part in ["nothing answers at http://a; trying again", "requests: 16 read already"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn no_size_and_no_state_makes_it_panic() {
    let empty = State::new(String::new(), Instant::now(), Metrics::default());
    for width in [1, 2, 7, 39, 40, 71, 72, 80, 200] {
        for height in 1..40 {
            for state in [&state(), &empty] {
                let text = drawn(state, width, height);
                assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
            }
        }
    }
}
