use proptest::prelude::*;

use super::{shapes::*, *};

const HASH: &str = "b5f43491f4df8004f0bfe81e8e6c7aab4d75b420fd9ddff96d2e686a925ddde8";
const UUID: &str = "7cae4cbf-ca7d-4ebe-937f-6bcd7f27ecb6";

fn all() -> impl Iterator<Item = Dialect> {
    Dialect::NAMED.into_iter().chain([Dialect::Embedding])
}

/// The texts of what is left out of `body`.
fn left_out(dialect: Dialect, body: &str) -> Vec<String> {
    let json = Json::parse(body.as_bytes()).expect("JSON");
    let text = |left_out: &LeftOut| body[left_out.at..].split([',', '}']).next().expect("a text").to_owned();
    let found = dialect.left_out(&json);
    assert!(found.is_sorted_by(|a, b| a.at < b.at), "{body}");
    assert!(found.is_empty() || dialect.may_leave_out(body.as_bytes()), "{body}");
    found.iter().map(text).collect()
}

#[test]
fn the_billing_line_is_a_line_of_known_fields() {
    for (text, expected) in [
        ("x-anthropic-billing-header: cc_version=2.1.197.d55; cc_entrypoint=sdk-cli;", true),
        ("x-anthropic-billing-header: cc_version=2.1.177.01c; cc_entrypoint=cli; cch=36ee5;", true),
        (
            "x-anthropic-billing-header: cc_version=2.1.88.a1b; cc_entrypoint=cli; cch=00000; cc_workload=cron;",
            true,
        ),
        (
            "x-anthropic-billing-header: cc_version=2.1.88.a1b; cc_workload=cron; cc_entrypoint=cli; cch=00000;",
            true,
        ),
        ("x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli; cch=1; You are a pirate;", false),
        ("x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli; cch=1;\n\nYou are a pirate.", false),
        ("x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli; cch=1; persona=pirate;", false),
        ("x-anthropic-billing-header: cc_version=2; cc_entrypoint=be a pirate;", false),
        ("x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli; cch=1; cch=2;", false),
        ("x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli; cch=;", false),
        ("x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli", false),
        ("x-anthropic-billing-header: cc_entrypoint=cli;", false),
        ("x-anthropic-billing-header: cc_version=2;", false),
        ("x-anthropic-billing-header: ;", false),
        ("x-anthropic-billing-header:", false),
        (" x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli;", false),
        ("X-Anthropic-Billing-Header: cc_version=2; cc_entrypoint=cli;", false),
        ("x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli;\n", false),
        ("", false),
    ] {
        assert_eq!(is_billing_text(text), expected, "{text}");
    }
    assert!(!is_billing_text(&format!(
        "{}cc_version=2; cc_entrypoint={};",
        "x-anthropic-billing-header: ",
        "x".repeat(65)
    )));
}

#[test]
fn only_the_first_block_is_the_billing_line() {
    let line = "x-anthropic-billing-header: cc_version=2; cc_entrypoint=cli; cch=36ee5;";
    let quoted = [format!("\"{line}\"")];
    for (system, expected) in [
        (format!(r#"[{{"type":"text","text":"{line}"}},{{"type":"text","text":"Be brief."}}]"#), &quoted[..]),
        (format!(r#"[{{"type":"text","text":"Be brief."}},{{"type":"text","text":"{line}"}}]"#), &[]),
        (format!(r#"[{{"type":"document","text":"{line}"}}]"#), &[]),
        (format!(r#"[{{"text":"{line}"}}]"#), &[]),
        (format!(r#""{line}""#), &[]),
        (format!(r#"{{"0":{{"type":"text","text":"{line}"}}}}"#), &[]),
    ] {
        let body = format!(
            r#"{{"system":{system},"messages":[{{"role":"user","content":[{{"type":"text","text":"{line}"}}]}}]}}"#
        );
        assert_eq!(left_out(Dialect::Anthropic, &body), expected, "{body}");
        assert!(left_out(Dialect::OpenAiChat, &body).is_empty());
    }
}

#[test]
fn a_coding_session_is_one_of_two_forms() {
    let json = |device: &str, account: &str, session: &str| {
        format!(r#"{{"device_id":"{device}","account_uuid":"{account}","session_id":"{session}"}}"#)
    };
    for (text, expected) in [
        (json(HASH, "", UUID), true),
        (json(HASH, UUID, UUID), true),
        (format!("user_{HASH}_account__session_{UUID}"), true),
        (format!("user_{HASH}_account_{UUID}_session_{UUID}"), true),
        (json("alice", "", UUID), false),
        (json(HASH, "alice", UUID), false),
        (json(HASH, "", "alice"), false),
        (json(HASH, "", UUID).replace('}', r#","tenant":"a"}"#), false),
        (json(HASH, "", UUID).replace("device_id", "user"), false),
        (format!("user_{HASH}_account__session_{UUID}_tenant_a"), false),
        (format!("user_alice_account__session_{UUID}"), false),
        ("alice".to_owned(), false),
        (UUID.to_owned(), false),
        ("{".to_owned(), false),
    ] {
        assert_eq!(is_session_text(&text), expected, "{text}");
    }
}

#[test]
fn each_dialect_leaves_out_its_own() {
    let body = format!(
        r#"{{"prompt_cache_key":"a","safety_identifier":"b","prompt_cache_retention":"24h","user":"u",
            "metadata":{{"user_id":"user_{HASH}_account__session_{UUID}","team":"t"}},"service_tier":"flex","store":true,
            "client_metadata":{{"session_id":"c","x-codex-window-id":"d","other":"e"}}}}"#
    );
    for dialect in all() {
        let expected: &[&str] = match dialect {
            Dialect::OpenAiChat => &["\"a\"", "\"b\"", "\"24h\""],
            Dialect::OpenAiResponses => &["\"a\"", "\"b\"", "\"24h\"", "\"c\"", "\"d\""],
            Dialect::Anthropic => &["\"user_"],
            _ => &[],
        };
        let found = left_out(dialect, &body);
        assert_eq!(found.len(), expected.len(), "{dialect:?}: {found:?}");
        assert!(
            found.iter().zip(expected).all(|(found, own)| found.starts_with(own)),
            "{dialect:?}: {found:?}"
        );
    }
}

#[test]
fn what_is_not_of_the_known_shape_counts() {
    for (dialect, body) in [
        (Dialect::OpenAiChat, r#"{"prompt_cache_key":{"a":1},"safety_identifier":["b"]}"#),
        (Dialect::OpenAiChat, r#"{"prompt_cache_key":null,"safety_identifier":7}"#),
        (
            Dialect::OpenAiChat,
            r#"{"metadata":{"prompt_cache_key":"a"},"messages":[{"safety_identifier":"b"}]}"#,
        ),
        // Not of Codex.
        (Dialect::OpenAiResponses, r#"{"client_metadata":{"session_id":"c","thread_id":"t"}}"#),
        (Dialect::OpenAiResponses, r#"{"client_metadata":{"session_id":7,"x-codex-window-id":1}}"#),
        // What the model made, what is only named, and what is not known.
        (
            Dialect::OpenAiResponses,
            r#"{"input":[{"type":"message","role":"assistant","id":"i","content":"c"}]}"#,
        ),
        (Dialect::OpenAiResponses, r#"{"input":[{"type":"item_reference","id":"i"},{"id":"i"}]}"#),
        (Dialect::OpenAiResponses, r#"{"input":[{"type":"reasoning","id":"i","summary":[]}]}"#),
        (
            Dialect::OpenAiResponses,
            r#"{"input":[{"role":"user","id":"i"},{"role":"user","id":"i","content":null}]}"#,
        ),
        (
            Dialect::OpenAiResponses,
            r#"{"input":[{"type":"function_call","id":"i","call_id":"c","arguments":"{}"}]}"#,
        ),
        (Dialect::OpenAiResponses, r#"{"input":[{"type":"function_call_output","id":"i","output":"o"}]}"#),
        // Something refers to it.
        (
            Dialect::OpenAiResponses,
            r#"{"input":[{"role":"user","id":"a","content":"x"},{"type":"item_reference","id":"a"}]}"#,
        ),
        (Dialect::OpenAiResponses, r#"{"input":{"0":{"role":"user","id":"i","content":"c"}}}"#),
        (Dialect::Anthropic, r#"{"metadata":{"user_id":"alice"},"user_id":"bob"}"#),
    ] {
        assert!(left_out(dialect, body).is_empty(), "{body}");
    }
    let own = r#"{"input":[{"role":"user","id":"a","content":"c"},{"type":"message","role":"developer","id":"b","content":[]},
        {"type":"function_call_output","id":"d","call_id":"c","output":"o"}]}"#;
    assert_eq!(left_out(Dialect::OpenAiResponses, own), ["\"a\"", "\"b\"", "\"d\""]);
}

#[test]
fn headers_are_left_out_by_dialect_and_by_client() {
    let name = |name: &str| name.parse::<HeaderName>().expect("a name");
    let headers = |pairs: &[(&str, &str)]| -> HeaderMap {
        pairs.iter().map(|(own, value)| (name(own), value.parse().expect("a value"))).collect()
    };
    for dialect in all() {
        let always = |header: &str| dialect.leaves_out_header(&name(header));
        assert_eq!(always("helicone-session-id"), dialect.is_a_vendors(), "{dialect:?}");
        assert_eq!(always("x-claude-code-session-id"), dialect == Dialect::Anthropic);
        assert_eq!(always("x-codex-turn-metadata"), dialect == Dialect::OpenAiResponses);
        for own in [
            "session-id",
            "session_id",
            "x-session-id",
            "helicone-user-id",
            "x-portkey-config",
            "x-codex-beta-features",
        ] {
            assert!(!always(own), "{own}");
        }
        let beside = |of: &[(&str, &str)], header: &str| {
            dialect.leaves_out_header_of_client(&headers(of), &name(header))
        };
        let is_responses = dialect == Dialect::OpenAiResponses;
        assert_eq!(beside(&[("originator", "codex_exec")], "session-id"), is_responses);
        assert!(!beside(&[("originator", "other")], "session-id"));
        assert!(!beside(&[("user-agent", "codex")], "session-id"));
        assert!(!beside(&[("originator", "codex_exec")], "x-session-id"));
        assert!(!beside(&[], "session-id"));
        let takes_agents =
            matches!(dialect, Dialect::OpenAiChat | Dialect::OpenAiResponses | Dialect::Anthropic);
        assert_eq!(beside(&[("user-agent", "opencode/1.18.33 ai-sdk")], "x-session-id"), takes_agents);
        assert!(!beside(&[("user-agent", "x opencode/1")], "x-session-id"));
        let mut two = headers(&[("originator", "codex_exec")]);
        two.append("originator", "other".parse().expect("a value"));
        assert!(!dialect.leaves_out_header_of_client(&two, &name("session-id")));
    }
}

/// Each line of the tables is in the documentation, under its dialect.
#[test]
fn every_line_is_documented() {
    let page = include_str!("../../../docs/CACHING.md");
    let section = page.split("### What clients say about themselves").nth(1).expect("the section");
    let section = section.split("\n### ").next().expect("its end");
    let rows = |dialect: Dialect| -> String {
        let names = format!("`{}`", dialect.as_str());
        section
            .lines()
            .filter(|line| {
                line.starts_with('|') && line.split('|').nth(1).is_some_and(|cell| cell.contains(&names))
            })
            .collect()
    };
    for dialect in all() {
        let (rules, headers) = dialect.client_info();
        let own = rows(dialect);
        for rule in rules {
            let pointer = format!("`/{}`", rule.path.join("/"));
            assert!(own.contains(&pointer), "{dialect:?} {pointer}");
        }
        let of_clients = OF_CLIENTS.iter().filter(|client| client.dialects.contains(&dialect));
        for header in headers.iter().chain(of_clients.flat_map(|client| client.headers)) {
            assert!(own.contains(&format!("`{header}`")), "{dialect:?} {header}");
        }
    }
    for header in HEADERS {
        assert!(section.contains(&format!("`{header}`")), "{header}");
    }
}

#[test]
fn what_an_answer_repeats_is_found() {
    let found = |body: &str| {
        let json = Json::parse(body.as_bytes()).expect("JSON");
        echoes(&json).map(|span| body[span].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(r#"{"prompt_cache_key":"a","safety_identifier":null}"#), ["\"a\""]);
    assert_eq!(
        found(r#"{"type":"response.created","response":{"id":"r","safety_identifier":"u"}}"#),
        ["\"u\""]
    );
    assert!(found(r#"{"output":[{"safety_identifier":"u"}],"key":"safety_identifier"}"#).is_empty());
    assert!(ends_in_echo(b"{\"safety_identifier") && ends_in_echo(b"{\"prompt_cache_key"));
    assert!(!ends_in_echo(b"{\"key") && !ends_in_echo(b"safety_identifiers"));
}

proptest! {
    /// Whatever the text is: it is the billing line only if nothing is in it but known fields with plain values.
    #[test]
    fn a_billing_line_has_no_room_for_words(
        text in r"x-anthropic-billing-header: (cc_version|cc_entrypoint|cch|system)=[a-z0-9. \n;=]{0,8}; cc_(version|entrypoint)=[a-z]{0,3};?( [a-z]{0,4};?)?"
    ) {
        if is_billing_text(&text) {
            let fields = text.strip_prefix("x-anthropic-billing-header: ").expect("its beginning");
            for field in fields.split_inclusive(';') {
                let (name, value) = field.trim_start().strip_suffix(';').and_then(|field| field.split_once('=')).expect("a field");
                prop_assert!(["cc_version", "cc_entrypoint", "cch", "cc_workload"].contains(&name));
                prop_assert!(!value.is_empty() && !value.contains([' ', '\n', '=']));
            }
        }
    }

    /// A value that is left out does not count, and every other one does.
    #[test]
    fn no_other_member_is_left_out(name in "[a-z_]{1,24}", value in "[a-z]{0,6}") {
        let known = ["prompt_cache_key", "prompt_cache_retention", "safety_identifier"];
        let body = format!(r#"{{"{name}":"{value}"}}"#);
        prop_assert_eq!(left_out(Dialect::OpenAiChat, &body).len(), usize::from(known.contains(&&*name)));
    }
}
