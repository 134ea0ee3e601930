//! `[semantic]` and what routes say of it: what it takes, and what does not fit together.

use super::*;
use crate::{cache::semantic::SemanticRoute, config::settings::SETTINGS};

const ENDPOINT: &str = "embeddings = \"http://127.0.0.1:8000/v1/embeddings\"\nmodel = \"m\"\n";
const FOLDER: &str = "model_dir = \"/models/mini\"\n";

fn semantic(text: &str) -> SemanticConfig {
    config(&format!("[semantic]\n{text}")).semantic.unwrap_or_else(|| panic!("{text}: off"))
}

#[test]
fn it_is_off_unless_somebody_switches_it_on() {
    for text in [
        "",
        "[semantic]",
        "[semantic]\nmode = \"off\"",
        &format!("[semantic]\n{ENDPOINT}judge = \"http://h/v1\"\njudge_model = \"j\""),
    ] {
        assert_eq!(config(text).semantic, None, "{text}");
    }
    let by_default = semantic(&format!("mode = \"shadow\"\n{ENDPOINT}"));
    let endpoint = ModelEndpoint {
        url: TargetUrl::parse("http://127.0.0.1:8000/v1/embeddings", "", "").expect("a URL"),
        model: "m".to_owned(),
        api_key_file: None,
    };
    assert_eq!(
        by_default,
        SemanticConfig {
            mode: SemanticMode::Shadow,
            max_false_hits: 0.01,
            embeddings: EmbeddingSource::Endpoint(endpoint),
            audit: 0.05,
            max_entries: 100_000,
            timeout: Duration::from_millis(100),
            judge: None,
            state: None,
        }
    );
}

#[test]
fn all_of_it_is_read() {
    let all = semantic(&format!(
        "mode = \"serve\"\nmax_false_hits = \"2.5%\"\n{FOLDER}audit = \"100%\"\nmax_entries = 7\ntimeout = \"5s\"\n\
         judge = \"https://h/v1/chat?k=1\"\njudge_model = \"j\"\njudge_api_key_file = \"/key\"\nstate = \"/state\""
    ));
    let judge = ModelEndpoint {
        url: TargetUrl::parse("https://h/v1/chat?k=1", "", "").expect("a URL"),
        model: "j".to_owned(),
        api_key_file: Some("/key".into()),
    };
    assert_eq!(
        all,
        SemanticConfig {
            mode: SemanticMode::Serve,
            max_false_hits: 0.025,
            embeddings: EmbeddingSource::Local("/models/mini".into()),
            audit: 1.0,
            max_entries: 7,
            timeout: Duration::from_secs(5),
            judge: Some(judge),
            state: Some("/state".into()),
        }
    );
    // What a URL's query has may be a secret.
    let loaded =
        loaded(&format!("[semantic]\n{}", ENDPOINT.replace("embeddings\"", "embeddings?key=sesame\"")));
    assert_eq!(shown(&loaded, "semantic.embeddings").0, "http://127.0.0.1:8000/v1/embeddings?key=***");
}

#[test]
fn what_is_wrong_names_the_place_and_the_mend() {
    let with = |text: &str| format!("mode = \"shadow\"\n{ENDPOINT}{text}");
    for (text, wanted) in [
        ("mode = \"on\"".to_owned(), "semantic.mode: \"on\" is none of off, shadow, serve"),
        ("mode = true".to_owned(), "semantic.mode: takes one of off, shadow, serve"),
        (
            "mode = \"shadow\"".to_owned(),
            "semantic.mode: needs vectors: set semantic.embeddings and semantic.model",
        ),
        (with(FOLDER), "semantic.model_dir: and semantic.embeddings both say where vectors come from"),
        // Also while it is off.
        (format!("{ENDPOINT}{FOLDER}"), "semantic.model_dir: and semantic.embeddings both say"),
        ("embeddings = \"http://h/e\"".to_owned(), "semantic.embeddings: needs semantic.model"),
        ("model = \"m\"".to_owned(), "semantic.model: is of no use without semantic.embeddings"),
        (
            format!("{FOLDER}api_key_file = \"/k\""),
            "semantic.api_key_file: is of no use without semantic.embeddings",
        ),
        (
            "embeddings = \"http://h\"\nmodel = \"m\"".to_owned(),
            "has no path; write http://HOST:PORT/v1/embeddings",
        ),
        ("embeddings = \"http://h?a=b\"\nmodel = \"m\"".to_owned(), "has no path; write"),
        ("embeddings = \"h/v1\"\nmodel = \"m\"".to_owned(), "has no scheme; did you mean http://h"),
        (
            "embeddings = \"unix:/run/a.sock\"\nmodel = \"m\"".to_owned(),
            "is no URL of embeddings; write http",
        ),
        ("embeddings = \"http://u:p@h/e\"\nmodel = \"m\"".to_owned(), "must not have a user or a password"),
        (with("judge = \"http://h/v1/chat\""), "semantic.judge: needs semantic.judge_model"),
        (with("judge_model = \"j\""), "semantic.judge_model: is of no use without semantic.judge"),
        (
            with("judge_api_key_file = \"/k\""),
            "semantic.judge_api_key_file: is of no use without semantic.judge",
        ),
        (
            with("state = \"/s\"\n[store]\nredis = \"redis://h\""),
            "semantic.state: is of no use with store.redis",
        ),
        (with("max_false_hits = \"0%\""), "semantic.max_false_hits: must be more than 0"),
        (with("max_false_hits = \"20.01%\""), "semantic.max_false_hits: 20.01% is more than 20%; write less"),
        (with("max_false_hits = 0.01"), "semantic.max_false_hits: takes a percentage, as in \"1%\""),
        (with("max_false_hits = \"1\""), "semantic.max_false_hits: \"1\" is not a percentage"),
        (
            with("audit = \"2.49%\""),
            "semantic.audit: 2.49% is less than 2.5%, and a broken bound would show too late",
        ),
        (with("audit = \"100.01%\""), "semantic.audit: 100.01% is more than 100%"),
        (with("timeout = 0"), "semantic.timeout: must be more than 0"),
        (with("timeout = 6"), "semantic.timeout: 6s is longer than 5s, and requests wait for it"),
        (with("max_entries = 0"), "semantic.max_entries: must be more than 0"),
        (with("max_entires = 1"), "did you mean `semantic.max_entries`"),
    ] {
        let found = faults(&with_upstream(&format!("[semantic]\n{text}\n")));
        assert!(
            found.lines().any(|line| line.contains(wanted) && line.starts_with("s.toml:")),
            "{text}: {found}"
        );
    }
    for good in
        ["max_false_hits = \"20%\"", "max_false_hits = \"0.01%\"", "audit = \"2.5%\"", "timeout = \"1ms\""]
    {
        semantic(&with(good));
    }
}

#[test]
fn a_token_is_exposed_without_tls_to_another_machine() {
    for (url, key, exposed) in [
        ("http://h/e", true, true),
        ("http://h/e", false, false),
        ("https://h/e", true, false),
        ("http://127.0.0.1/e", true, false),
        ("http://localhost:1/e", true, false),
        ("http://[::1]/e", true, false),
        ("http://127.0.0.1.example.com/e", true, true),
    ] {
        let key = if key { "api_key_file = \"/k\"" } else { "" };
        let found = semantic(&format!("mode = \"serve\"\nembeddings = \"{url}\"\nmodel = \"m\"\n{key}"));
        let EmbeddingSource::Endpoint(endpoint) = found.embeddings else { panic!("an endpoint") };
        assert_eq!(endpoint.shows_its_key(), exposed, "{url} {key}");
    }
}

#[test]
fn a_reload_changes_the_limits_and_keeps_what_holds_vectors() {
    let running = semantic(&format!("mode = \"shadow\"\n{ENDPOINT}state = \"/a\"\nmax_entries = 7\n"));
    let new = semantic(&format!(
        "mode = \"serve\"\n{FOLDER}max_false_hits = \"3%\"\naudit = \"10%\"\nmax_entries = 8\ntimeout = 1\nstate = \"/b\"\n\
         judge = \"http://h/j\"\njudge_model = \"j\"\n"
    ));
    let wanted = SemanticConfig {
        embeddings: running.embeddings.clone(),
        max_entries: 7,
        state: Some("/a".into()),
        judge: None,
        ..new.clone()
    };
    assert_eq!(new.reloaded(&running), wanted);
    let restart = SETTINGS.iter().filter(|setting| setting.group() == "semantic" && !setting.reload);
    assert_eq!(
        restart.map(|setting| setting.name()).collect::<Vec<_>>(),
        [
            "embeddings",
            "model",
            "api_key_file",
            "model_dir",
            "max_entries",
            "judge",
            "judge_model",
            "judge_api_key_file",
            "state"
        ]
    );
}

#[test]
fn a_route_takes_part_with_its_highest_temperature() {
    let route = |keys: &str| {
        let text = format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n{keys}");
        config(&text).routes.swap_remove(0).semantic
    };
    assert_eq!(route(""), None);
    assert_eq!(route("semantic = false"), None);
    assert_eq!(route("semantic = false\nsemantic_max_temperature = 0"), None);
    assert_eq!(route("semantic = true"), Some(SemanticRoute { max_temperature: 1.0 }));
    for (text, max_temperature) in [("0", 0.0), ("0.5", 0.5), ("2", 2.0)] {
        let keys = format!("semantic = true\nsemantic_max_temperature = {text}");
        assert_eq!(route(&keys), Some(SemanticRoute { max_temperature }), "{text}");
    }
    // Built-in routes take no part: nobody has asked for it.
    assert!(
        config(&format!("[semantic]\nmode = \"serve\"\n{FOLDER}"))
            .routes
            .iter()
            .all(|route| route.semantic.is_none())
    );
}

#[test]
fn a_route_that_cannot_take_part_is_a_fault_with_its_line() {
    for (keys, wanted) in [
        (
            "kind = \"embedding\"\nsemantic = true",
            "s.toml:5: route.semantic: is for the kind query; leave it out",
        ),
        (
            "kind = \"other\"\nsemantic = true",
            "s.toml:5: route.semantic: is for the kind query; leave it out",
        ),
        (
            "kind = \"query\"\nsemantic = true\nmode = \"rfc9111\"",
            "s.toml:5: route.semantic: is not for mode = \"rfc9111\"",
        ),
        (
            "kind = \"query\"\nsemantic = true\ncache = false",
            "s.toml:5: route.semantic: is of no use with cache = false",
        ),
        (
            "kind = \"query\"\nsemantic = true\nbatch = \"/in\"\nbatch_answer = \"/out\"",
            "s.toml:5: route.semantic: is not for requests with several inputs",
        ),
        ("kind = \"query\"\nsemantic = 1", "s.toml:5: route.semantic: takes true or false"),
        (
            "kind = \"query\"\nsemantic_max_temperature = 1",
            "s.toml:5: route.semantic_max_temperature: needs `semantic` beside it, as in semantic = true",
        ),
        (
            "kind = \"query\"\nsemantic = true\nsemantic_max_temperature = 2.1",
            "s.toml:6: route.semantic_max_temperature: \"2.1\" is not a temperature from 0 to 2",
        ),
        (
            "kind = \"query\"\nsemantic = true\nsemantic_max_temperature = -1",
            "s.toml:6: route.semantic_max_temperature: \"-1\" is not a temperature from 0 to 2",
        ),
        (
            "kind = \"query\"\nsemantic = true\nsemantic_max_temperature = nan",
            "s.toml:6: route.semantic_max_temperature: ",
        ),
    ] {
        let found = faults(&with_upstream(&format!("[[route]]\nmatch = \"POST /ask\"\n{keys}")));
        assert!(found.lines().count() == 1 && found.starts_with(wanted), "{keys}: {found}");
    }
    // While `semantic.mode` is off, routes may keep it.
    config("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\nsemantic = true");
}
