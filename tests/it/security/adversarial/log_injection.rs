//! Each log line is one JSON object, whatever clients and the upstream send.

use serde_json::json;

use crate::support::{
    RawClient, Script, Setup, Upstream,
    logs::parse,
    run,
    samples::{CHAT, chat_choice},
};

/// What breaks lines, terminals, or parsers, as a client may write it.
const BREAKS: [&[u8]; 12] = [
    b"%0d%0a{\"level\":\"FORGED\"}",
    b"%0a",
    b"%1b[31m",
    b"%00",
    b"\\u000a",
    b"\"}{\"level\":\"FORGED\"}",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\xff",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xae",
];

#[test]
fn no_input_breaks_a_log_line() {
    run(async {
        // The upstream sends such texts too: in its id, its model, its error.
        let upstream = Upstream::start(|request| {
            let body = json!({"e": "\u{1b}[31m\u{2028}\r\n{\"level\":\"FORGED\"}"});
            let mut answer = chat_choice(json!({"role": "assistant", "content": "\r\n\u{1b}"}), "stop");
            answer["model"] = json!("m\r\n\u{1b}[31m{\"level\":\"FORGED\"}");
            match &request.target {
                target if target.starts_with(CHAT) => {
                    Script::json_with(200, &[("x-request-id", "a\tb\u{9b}\"")], &answer)
                }
                target if target.starts_with("/cut") => Script::raw().send("\x1b[31m\r\n\r\n").close(),
                _ => Script::json_with(500, &[("x-request-id", "{\"level\":\"FORGED\"}")], &body),
            }
        })
        .await;
        let config = "[log]\nqueries = true\n[errors]\nnormalize = true";
        let sidecache =
            Setup::to(&upstream.url()).config(config).arguments(&["--log-level", "DEBUG"]).start().await;
        for broken in BREAKS {
            for (target, method) in [(CHAT, "POST"), ("/some", "GET"), ("/cut", "GET")] {
                let text = String::from_utf8_lossy(broken).into_owned();
                let body = [
                    b"{\"model\":\"".as_slice(),
                    broken,
                    b"\",\"messages\":[{\"role\":\"user\",\"content\":\"",
                    broken,
                    b"\"}]}",
                ]
                .concat();
                let whole = json!({"model": text, "messages": [{"role": "user", "content": text}]})
                    .to_string()
                    .into_bytes();
                for body in [body, whole] {
                    let length = body.len().to_string();
                    let mut raw = RawClient::connect(sidecache.address()).await;
                    let head = [
                        method.as_bytes(),
                        b" ",
                        target.as_bytes(),
                        b"?a",
                        broken,
                        b"=",
                        broken,
                        b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n",
                        b"content-type: application/json\r\nx-request-id: ",
                        broken,
                        b"\r\nuser-agent: ",
                        broken,
                        b"\r\nx-forwarded-for: ",
                        broken,
                        b"\r\nauthorization: ",
                        broken,
                        b"\r\ncontent-length: ",
                        length.as_bytes(),
                        b"\r\n\r\n",
                        &body,
                    ];
                    raw.send(head.concat()).await;
                    raw.rest_bytes().await;
                }
            }
        }
        let last = sidecache.client().request("GET", "/some", &[("x-request-id", "last")], "").await;
        assert_eq!(last.status, 500);
        sidecache.log.response("last").await;
        let text = sidecache.log.text();
        let lines: Vec<_> = text.lines().map(parse).collect();
        assert!(lines.len() > 200, "{}", lines.len());
        for line in &lines {
            assert!(line.is_object() && line["level"] != "FORGED", "{line}");
            assert!(line["timestamp"].is_string() && line["event_type"].is_string(), "{line}");
        }
        let control = text.bytes().find(|byte| *byte < b' ' && *byte != b'\n');
        assert_eq!(control, None, "a terminal would obey it");
    });
}
