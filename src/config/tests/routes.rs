//! The `[[route]]` tables.

use http::HeaderName;

use super::*;
use crate::{
    cache::route::{ConversationPlace, Invalidates, Mode, Scope, SetCookie, Settle, SettleUntil, kind::Kind},
    dialect::{BatchLists, Dialect, Instead, StreamEnd},
    http::sse::Framing,
    json::{canonical::Normalize, mask::Mask, pointer::Pointer},
};

#[track_caller]
fn check(keys: &str, wanted: &[&str]) {
    let text = format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n{keys}");
    assert_eq!(faults(&with_upstream(&text)), wanted.join("\n"), "{keys}");
}

#[test]
fn every_key() {
    let config = config(
        "ignore_headers = [\"x-all\"]\nscope = \"shared\"\n[[route]]\nname = \"ask\"\nmatch = \"POST /{t}/ask\"\nkind = \"document\"\n\
         dialect = \"rag\"\ncache = false\nmode = \"rfc9111\"\nttl = \"10m\"\nscope = [\"x-tenant\"]\nignore_headers = [\"X-Own-*\"]\n\
         set_cookie = \"strip\"\ndrop_headers = [\"x-served-by\"]\nignore = [\"/a\", \"/b/*/c\"]\ntext = [\"/q\"]\n\
         framing = \"ndjson\"\nstream_default = true\nconversation = [\"/cid\", \"{t}\", \"?c\"]\nopens = [\"/id\"]\nopened = \"uuid\"\n\
         vary_by = [\"q\"]\nmask = ['[0-9]+']\ninvalidates = [\"query\", \"tag:{t}\"]\ntags = [\"/ids/*\", \"{t}\"]\n\
         normalize = [\"trim\", \"nfc\"]\ncache_tool_calls = false\nhonor_request_cache_control = false\nstream_end = \"fin\"\ngood_ends = [\"fin\", \"over\"]",
    );
    let route = &config.routes[0];
    let pointer = |text: &str| text.parse::<Pointer>().ok();
    let matches = |list: &[crate::http::headers::HeaderPattern], name| {
        list.iter().any(|own| own.matches(&HeaderName::from_static(name)))
    };
    assert_eq!((route.name.as_str(), route.kind, route.dialect), ("ask", Kind::Document, Some(Dialect::Rag)));
    assert!(route.pattern.matches(&http::Method::POST, "/x/ask"));
    assert!(!route.cache && !route.cache_tool_calls && !route.honor_request_cache_control && !route.builtin);
    assert_eq!((route.mode, route.ttl), (Mode::Rfc9111, Duration::from_secs(600)));
    assert_eq!(route.scope, Scope::Headers(vec![HeaderName::from_static("x-tenant")]));
    assert!(matches(&route.ignore_headers, "x-own-a") && matches(&route.ignore_headers, "x-all"));
    assert_eq!(route.set_cookie, SetCookie::Strip);
    assert!(matches(&route.drop_headers, "x-served-by") && matches(&route.drop_headers, "x-ratelimit-limit"));
    assert_eq!(
        route.ignore.iter().cloned().map(Some).collect::<Vec<_>>(),
        [pointer("/a"), pointer("/b/*/c")]
    );
    assert_eq!(route.text, pointer("/q").map(|own| vec![own]));
    assert_eq!(route.normalize, [Normalize::Trim, Normalize::Nfc]);
    assert_eq!(route.stream_end, Some(StreamEnd::Named("fin".to_owned())));
    assert_eq!(route.good_ends, ["fin", "over"]);
    assert_eq!((route.framing, route.stream_default), (Some(Framing::Lines), Some(true)));
    assert_eq!(
        route.conversation.as_deref(),
        Some(
            &[
                ConversationPlace::Body("/cid".parse().expect("a pointer")),
                ConversationPlace::Path("t".to_owned()),
                ConversationPlace::Query("c".to_owned()),
            ][..]
        )
    );
    assert_eq!(route.opens.pointers.as_deref(), pointer("/id").as_ref().map(std::slice::from_ref));
    assert_eq!(route.opens.instead, Instead::Uuid);
    assert_eq!(route.vary_by.as_deref(), Some(&["q".to_owned()][..]));
    assert_eq!(route.mask.iter().map(Mask::as_str).collect::<Vec<_>>(), ["[0-9]+"]);
    assert_eq!(route.invalidates, [Invalidates::Kind(Kind::Query), Invalidates::TagInPath("t".to_owned())]);
    assert_eq!(route.tags.as_deref(), pointer("/ids/*").as_ref().map(std::slice::from_ref));
    assert_eq!(route.path_tags, ["t"]);
    let builtin = config.routes.iter().filter(|route| route.builtin);
    assert!(builtin.clone().all(|own| matches(&own.ignore_headers, "x-all") && own.scope == Scope::Shared));
    assert_eq!(builtin.count(), config.routes.len() - 1);
}

#[test]
fn defaults_and_order() {
    let config = config(
        "[[route]]\nmatch = \"GET /b\"\nkind = \"other\"\n[[route]]\nmatch = \"GET /a\"\nkind = \"query\"",
    );
    let names: Vec<_> = config.routes.iter().take(2).map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["GET /b", "GET /a"]);
    let route = &config.routes[0];
    assert_eq!((route.ttl, &route.scope), (Duration::from_secs(3_600), &Scope::Credential));
    assert_eq!(route.mode, Mode::Ttl);
    assert_eq!((route.dialect, route.set_cookie), (None, SetCookie::Skip));
    assert!(route.cache && route.cache_tool_calls && route.honor_request_cache_control && !route.builtin);
    assert!(route.text.is_none() && route.ignore.is_empty() && route.normalize.is_empty());
    assert!(self::config("route = []").routes.iter().all(|route| route.builtin));
    assert_eq!(self::config("route = [{ match = \"GET /x\", kind = \"other\" }]").routes[0].name, "GET /x");
}

/// Names of the path come to what the dialect has; pointers replace that.
#[test]
fn tags_of_the_path_are_further_ones() {
    for (tags, pointers, names) in [
        ("", None, &[][..]),
        ("tags = []", Some(0), &[]),
        ("tags = [\"{id}\"]", None, &["id"]),
        ("tags = [\"/a\", \"{id}\", \"/b\"]", Some(2), &["id"]),
    ] {
        let config = config(&format!("[[route]]\nmatch = \"POST /ask/{{id}}\"\nkind = \"query\"\n{tags}"));
        let route = &config.routes[0];
        assert_eq!(
            (route.tags.as_ref().map(Vec::len), &route.path_tags[..]),
            (pointers, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..]),
            "{tags}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_key() {
    for (keys, wanted) in [
        ("ttl = \"y\"", "route.ttl: \"y\" is no duration; write whole seconds or 500ms, 30s, 30m, 24h"),
        ("tll = 5", "route.tll: is no setting of a route; did you mean `ttl`?"),
        ("mode = \"rfc\"", "route.mode: \"rfc\" is none of ttl, rfc9111; did you mean `rfc9111`?"),
        (
            "stale_if_error = \"x\"",
            "route.stale_if_error: \"x\" is no duration; write whole seconds or 500ms, 30s, 30m, 24h",
        ),
        ("tags = [\"a\"]", "route.tags: `a` is no JSON pointer: it must begin with `/`, as in \"/metadata\""),
        (
            "invalidates = \"query\"",
            "route.invalidates: takes a list of kinds, and of tags in the path, as in [\"query\", \"tag:{id}\"]; found a text",
        ),
        (
            "invalidates = [\"querry\"]",
            "route.invalidates: \"querry\" is none of query, embedding, document, conversation, other, rerank; did you mean \
             `query`?",
        ),
        ("name = \"\"", "route.name: takes a text; found an empty text"),
        (
            "dialect = \"openai\"",
            "route.dialect: \"openai\" is none of openai-chat, openai-completions, openai-responses, openai-transcription, openai-speech, openai-search, anthropic, \
             cohere-chat, ollama-chat, ollama-generate, gemini, rag, tei-embed, tei-embed-sparse, cohere-embed, gemini-embed, gemini-batch-embed, openai-moderations, rerank, tei-rerank, score, json, none; did you mean `openai-chat`?",
        ),
        ("cache = \"no\"", "route.cache: takes true or false; found a text"),
        (
            "scope = []",
            "route.scope: names no header, so that everyone would share; write \"shared\" to have that",
        ),
        ("set_cookie = \"keep\"", "route.set_cookie: \"keep\" is none of strip, skip"),
        (
            "ignore = [\"a\"]",
            "route.ignore: `a` is no JSON pointer: it must begin with `/`, as in \"/metadata\"",
        ),
        ("text = \"/q\"", "route.text: takes a list of JSON pointers; found a text"),
        (
            "normalize = [\"trimm\"]",
            "route.normalize: \"trimm\" is none of trim, collapse, casefold, nfc; did you mean `trim`?",
        ),
        (
            "normalize = \"trim\"",
            "route.normalize: takes a list of trim, collapse, casefold and nfc; found a text",
        ),
        ("drop_headers = [\"\"]", "route.drop_headers: takes a list of header names; found an empty text"),
        ("good_ends = \"fin\"", "route.good_ends: takes a list of words, as in [\"finished\"]; found a text"),
        ("stream_end = 1", "route.stream_end: takes a text; found an integer"),
        (
            "stream_end = \"/event = done\"",
            "route.stream_end: `/event = done`: done is no JSON; write a text in quotation marks, as in /event = \"done\"",
        ),
        (
            "when = [\"mode\"]",
            "route.when: `mode` is no JSON pointer: it must begin with `/`, as in \"/metadata\"",
        ),
        (
            "require = \"/answer\"",
            "route.require: takes a list of conditions, as in [\"/status = \\\"ok\\\"\"]; found a text",
        ),
        (
            "invalidates = [\"tag:id\"]",
            "route.invalidates: \"tag:id\" names no part of the path; write \"tag:{id}\" for {id} in the match",
        ),
        ("invalidates = [\"tag:{id}\"]", "route.invalidates: the match has no `{id}`"),
        (
            "settle = \"1s\"",
            "route.settle: is about what the route invalidates; give it `invalidates`, as in invalidates = [\"query\"]",
        ),
        (
            "settle_until = [\"GET /a\", \"/b\"]",
            "route.settle_until: is about what the route invalidates; give it `invalidates`, as in invalidates = [\"query\"]",
        ),
        ("framing = \"lines\"", "route.framing: \"lines\" is none of auto, sse, ndjson, text"),
        ("stream_default = \"yes\"", "route.stream_default: takes true or false; found a text"),
        ("conversation = [\"{id}\"]", "route.conversation: the match has no `{id}`"),
        ("tags = [\"{id}\"]", "route.tags: the match has no `{id}`"),
        (
            "tags = \"/id\"",
            "route.tags: takes a list of JSON pointers, and of `{name}` for parts of the path; found a text",
        ),
        (
            "conversation = [\"?\"]",
            "route.conversation: `?` is no JSON pointer: it must begin with `/`, as in \"/metadata\"",
        ),
        ("opens = \"/id\"", "route.opens: takes a list of JSON pointers; found a text"),
        (
            "opened = \"nul\"",
            "route.opened: \"nul\" is none of null, empty, drop, uuid, alone; did you mean `null`?",
        ),
        ("vary_by = \"q\"", "route.vary_by: takes a list of query parameters, as in [\"q\"]; found a text"),
        (
            "mask = [\"x*\"]",
            "route.mask: `x*` matches an empty text, and so everywhere; write + in place of *",
        ),
        ("error = [\"@event\"]", "route.error: `@event` is no condition: write @event = \"NAME\""),
    ] {
        check(keys, &[&format!("s.toml:5: {wanted}")]);
    }
}

#[test]
fn what_a_route_must_have() {
    for (text, wanted) in [
        (
            "[[route]]\nname = \"x\"",
            "s.toml:2: route: has no `match`; write one, as in match = \"POST /ask\"\n\
             s.toml:2: route: has no `kind`; write one, as in kind = \"query\"",
        ),
        (
            "[[route]]\nmatch = 1\nkind = \"qery\"",
            "s.toml:3: route.match: takes METHOD PATH, or a list of them; found an integer\n\
             s.toml:4: route.kind: \"qery\" is none of query, embedding, document, conversation, other, rerank; did you mean \
             `query`?",
        ),
        (
            "[[route]]\nmatch = []\nkind = \"query\"",
            "s.toml:3: route.match: takes METHOD PATH, or a list of them; found an empty list",
        ),
        (
            "[[route]]\nmatch = [\"POST /a\", \"POST /a\"]\nkind = \"query\"\nname = \"a\"",
            "s.toml:3: route.match: has \"POST /a\" twice",
        ),
        (
            "[[route]]\nmatch = [\"POST /a/{id}\", \"POST /b/{di}\"]\nkind = \"other\"\ninvalidates = [\"tag:{id}\"]",
            "s.toml:5: route.invalidates: the match has no `{id}`",
        ),
        (
            "[[route]]\nmatch = \"/ask\"\nkind = \"query\"",
            "s.toml:3: route.match: `/ask` is no pattern: write METHOD PATH, as in \"POST /ask\"",
        ),
    ] {
        assert_eq!(faults(&with_upstream(text)), wanted);
    }
}

#[test]
fn names_are_unique() {
    let two = |first: &str, second: &str| {
        faults(&with_upstream(&format!(
            "[[route]]\nkind = \"query\"\n{first}\n\n[[route]]\nkind = \"query\"\n{second}"
        )))
    };
    assert_eq!(
        two("name = \"a\"\nmatch = \"GET /a\"", "match = \"GET /b\"\nname = \"a\""),
        "s.toml:10: route: \"a\" is the name of the route in line 4 already"
    );
    assert_eq!(
        two("match = \"GET /a\"", "match = \"GET /a\""),
        "s.toml:6: route: \"GET /a\" is the name of the route in line 2 already"
    );
    assert_eq!(two("match = \"GET /a\"", "match = \"GET /a\"\nname = \"b\""), "nothing");
    assert_eq!(
        two("match = [\"GET /a\", \"GET /b\"]", "match = \"GET /b\""),
        "s.toml:6: route: \"GET /b\" is the name of the route in line 2 already"
    );
}

#[test]
fn what_is_wrong_with_settling() {
    for (keys, wanted) in [
        ("settle_until = [\"GET /a\"]", "takes a GET and conditions"),
        ("settle_until = [\"POST /a\", \"/b\"]", "takes a GET and conditions"),
        ("settle_until = [\"GET a\", \"/b\"]", "takes a GET and conditions"),
        ("settle_until = [\"/b\"]", "takes a GET and conditions"),
        ("settle_until = []", "takes a GET and conditions"),
        ("settle_until = \"GET /a\"", "takes a GET and conditions"),
        ("settle_until = [\"GET /a\", \"b\"]", "`b` is no JSON pointer"),
        ("settle = \"1y\"", "is no duration"),
    ] {
        let text =
            format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"other\"\ninvalidates = [\"query\"]\n{keys}");
        let faults = faults(&with_upstream(&text));
        assert!(faults.contains(wanted) && faults.contains("route.settle"), "{keys}: {faults}");
    }
    let settle = |keys: &str| {
        let text =
            format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"other\"\ninvalidates = [\"query\"]\n{keys}");
        config(&text).routes[0].settle.clone()
    };
    assert_eq!(settle(""), None);
    assert_eq!(settle("settle = 0"), None);
    let after = Duration::from_secs(3);
    assert_eq!(settle("settle = \"3s\""), Some(Settle { after, until: None }));
    let until = Some(SettleUntil {
        target: "/a?b=c".to_owned(),
        conditions: vec!["/busy = false".parse().expect("a condition"), "!/x".parse().expect("a condition")],
    });
    let keys = "settle_until = [\"GET /a?b=c\", \"/busy = false\", \"!/x\"]";
    assert_eq!(settle(keys), Some(Settle { after: Duration::ZERO, until: until.clone() }));
    assert_eq!(settle(&format!("settle = 3\n{keys}")), Some(Settle { after, until }));
}

#[test]
fn a_batch_has_two_sides() {
    let batch = |keys: &str| {
        let text = format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n{keys}");
        config(&text).routes[0].batch.clone().expect("a batch")
    };
    let pointer = |text: &str| text.parse().expect("a pointer");
    for (answers, expected) in [
        ("\"/out\"", vec![pointer("/out")]),
        ("[\"/out\", \"/m/ids\"]", vec![pointer("/out"), pointer("/m/ids")]),
        ("\"\"", vec![Pointer::whole()]),
    ] {
        let found = batch(&format!("batch = \"/in\"\nbatch_answer = {answers}"));
        assert_eq!(found, BatchLists { request: pointer("/in"), answers: expected.into() });
    }
    let both = "batch = \"/in\"\nbatch_answer = \"/out\"\n";
    for (keys, line, wanted) in [
        ("batch = \"/in\"", 5, "batch: needs `batch_answer` beside it, as in batch_answer = \"/outputs\""),
        ("batch_answer = \"/out\"", 5, "batch_answer: needs `batch` beside it, as in batch = \"/inputs\""),
        (
            "batch = \"/in/*\"\nbatch_answer = \"/out\"",
            5,
            "batch: \"/in/*\" leads to several values; write the pointer to the list itself",
        ),
        (
            "batch = \"in\"\nbatch_answer = \"/out\"",
            5,
            "batch: `in` is no JSON pointer: it must begin with `/`, as in \"/metadata\"",
        ),
        (
            "batch = 1\nbatch_answer = \"/out\"",
            5,
            "batch: takes a JSON pointer to a list, as in \"/inputs\"; found an integer",
        ),
        (
            "batch = \"/in\"\nbatch_answer = []",
            6,
            "batch_answer: takes a JSON pointer to a list, or a list of them, as in \"/outputs\"; \"\" is the whole answer; found an empty list",
        ),
        ("batch = \"/in\"\nbatch_answer = [\"/o\", \"/o\"]", 6, "batch_answer: has \"/o\" twice"),
        (
            &format!("{both}mode = \"rfc9111\""),
            5,
            "batch: is not for mode = \"rfc9111\", where a response is stored as it is",
        ),
        (
            &format!("{both}dialect = \"rag\""),
            5,
            "batch: is for JSON of any kind; leave `dialect` out, or write dialect = \"json\"",
        ),
        (
            &format!("{both}opened = \"uuid\""),
            5,
            "batch: cuts answers, which opened = \"uuid\" does not allow; write opened = \"null\" or \"empty\"",
        ),
    ] {
        let text = format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n{keys}");
        assert_eq!(faults(&with_upstream(&text)), format!("s.toml:{line}: route.{wanted}"), "{keys}");
    }
    for kind in ["document", "conversation"] {
        let text = format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"{kind}\"\n{both}");
        let wanted = "s.toml:5: route.batch: is for the kinds query, embedding, rerank and other";
        assert_eq!(faults(&with_upstream(&text)), wanted);
    }
}

#[test]
fn items_are_for_routes_that_rank() {
    let text = |keys: &str| format!("[[route]]\nmatch = \"POST /rank\"\nper_item = true\n{keys}");
    for keys in ["", "dialect = \"rerank\"", "dialect = \"tei-rerank\"", "dialect = \"score\""] {
        let route = config(&text(&format!("kind = \"rerank\"\n{keys}"))).routes.swap_remove(0);
        assert!(route.per_item && route.may_be_batch(), "{keys}");
    }
    let whole = config("[[route]]\nmatch = \"POST /rank\"\nkind = \"rerank\"").routes.swap_remove(0);
    assert!(!whole.per_item && !whole.may_be_batch());
    for (keys, wanted) in [
        ("kind = \"query\"", "is for the kind rerank"),
        ("kind = \"embedding\"", "is for the kind rerank"),
        (
            "kind = \"rerank\"\nmode = \"rfc9111\"",
            "is not for mode = \"rfc9111\", where a response is stored as it is",
        ),
        (
            "kind = \"rerank\"\nbatch = \"/in\"\nbatch_answer = \"/out\"",
            "says what `batch` says already; leave one of them out",
        ),
        (
            "kind = \"rerank\"\ndialect = \"json\"",
            "is for the dialects rerank, tei-rerank and score; leave `dialect` out, or name one of them",
        ),
    ] {
        assert_eq!(
            faults(&with_upstream(&text(keys))),
            format!("s.toml:4: route.per_item: {wanted}"),
            "{keys}"
        );
    }
}

#[test]
fn a_list_of_patterns_is_a_route_for_each() {
    let routes = |name: &str| {
        let text = format!(
            "[[route]]\n{name}match = [\"POST /a\", \"GET /b/{{id}}\"]\nkind = \"other\"\nttl = \"7s\""
        );
        let routes = config(&text).routes;
        let own = routes.iter().filter(|route| !route.builtin);
        assert!(own.clone().all(|route| route.ttl == Duration::from_secs(7)));
        own.map(|route| (route.name.clone(), route.pattern.clone())).collect::<Vec<_>>()
    };
    let pattern = |text: &str| text.parse().expect("a pattern");
    let patterns = [pattern("POST /a"), pattern("GET /b/{id}")];
    assert_eq!(routes("name = \"n\"\n"), patterns.clone().map(|pattern| ("n".to_owned(), pattern)));
    let [a, b] = patterns;
    assert_eq!(routes(""), [("POST /a".to_owned(), a), ("GET /b/{id}".to_owned(), b)]);
}

#[test]
fn what_a_hit_says_of_its_usage() {
    use crate::dialect::usage::UsageOnHit;
    for (keys, wanted) in [
        ("", UsageOnHit::Recorded),
        ("usage_on_hit = \"recorded\"", UsageOnHit::Recorded),
        ("usage_on_hit = \"zero\"", UsageOnHit::Zero),
    ] {
        let text = format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n{keys}");
        assert_eq!(config(&text).routes[0].usage_on_hit, wanted, "{keys}");
    }
    check("usage_on_hit = \"none\"", &["s.toml:5: route.usage_on_hit: \"none\" is none of recorded, zero"]);
    check(
        "mode = \"rfc9111\"\nusage_on_hit = \"zero\"",
        &["s.toml:6: route.usage_on_hit: is not for mode = \"rfc9111\", where a response is served as it is"],
    );
}
