//! Which source wins, what is shown, and what needs a restart.

use super::*;
use crate::config::settings::SETTINGS;

#[test]
fn the_strongest_source_wins() {
    let mut inputs = Inputs {
        flags: vec![("log.level", "ERROR".into())],
        env: vec![("LOG_LEVEL".into(), "WARNING".into())],
        dotenv: Some((".env".into(), vec![("LOG_LEVEL".into(), "DEBUG".into())])),
        ..with_upstream("log.level = \"info\"")
    };
    let mut next = |drop: fn(&mut Inputs)| {
        let loaded = load(&inputs).unwrap_or_else(|errors| panic!("{errors}"));
        drop(&mut inputs);
        (loaded.config.log.level, shown(&loaded, "log.level").1)
    };
    let place = str::to_owned;
    assert_eq!(next(|inputs| inputs.flags.clear()), (LogLevel::Error, place("--log-level")));
    assert_eq!(next(|inputs| inputs.env.clear()), (LogLevel::Warning, place("LOG_LEVEL (environment)")));
    assert_eq!(next(|inputs| inputs.dotenv = None), (LogLevel::Debug, place(".env:LOG_LEVEL")));
    assert_eq!(next(|inputs| *inputs = with_upstream("")), (LogLevel::Info, place("s.toml:2")));
    assert_eq!(next(|_| ()), (LogLevel::Info, place("default")));
}

#[test]
fn an_empty_variable_counts_as_unset_and_the_last_of_a_name_counts() {
    let inputs = Inputs {
        env: vec![("CACHE_NAMESPACE".into(), " ".into()), ("LOG_LEVEL".into(), "ERROR\r".into())],
        dotenv: Some((
            ".env".into(),
            vec![("CACHE_NAMESPACE".into(), "one".into()), ("CACHE_NAMESPACE".into(), "two".into())],
        )),
        ..with_upstream("store.namespace = \"three\"\nlog.level = \"INFO\"")
    };
    let loaded = load(&inputs).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.config.store.namespace, "two");
    assert_eq!(loaded.config.log.level, LogLevel::Error);
    let empty_flag = Inputs { flags: vec![("store.namespace", String::new())], ..inputs };
    assert_eq!(faults(&empty_flag), "store.namespace: takes a text; found an empty text");
}

/// Settings of each form that all sources can give: a bad and a good value, and the bad one in the file.
const GIVEN: [(&str, &str, &str, &str, &str); 5] = [
    ("listen", "LISTEN", "nowhere", "127.0.0.1:1", "7"),
    ("admin.listen", "ADMIN_LISTEN", "nowhere", "127.0.0.1:2", "true"),
    ("upstream.url", "UPSTREAM_URL", "ftp://a", "http://a", "\"ftp://a\""),
    ("log.level", "LOG_LEVEL", "LOUD", "ERROR", "3"),
    ("store.redis", "REDIS_URL", "http://a", "redis://a", "[]"),
];

#[test]
fn a_bad_value_is_a_fault_whatever_overrides_it() {
    for (key, variable, bad, good, bad_in_file) in GIVEN {
        // One bit for each source, from the weakest to the strongest: which of them are bad, and which are
        // there.
        for there in 1..16_u8 {
            for wrong in (1..16_u8).filter(|wrong| wrong & !there == 0) {
                let value = |source: u8| if wrong & source != 0 { bad } else { good }.to_owned();
                let is = |source: u8| there & source != 0;
                let text = match (is(1), wrong & 1 != 0) {
                    (false, _) => String::new(),
                    (true, true) => format!("{key} = {bad_in_file}"),
                    (true, false) => format!("{key} = {good:?}"),
                };
                let base = if key == "upstream.url" { file(&text) } else { with_upstream(&text) };
                let line = if key == "upstream.url" { 1 } else { 2 };
                let inputs = Inputs {
                    dotenv: is(2).then(|| (".env".into(), vec![(variable.to_owned(), value(2))])),
                    env: is(4).then(|| (variable.to_owned(), value(4))).into_iter().collect(),
                    flags: is(8).then(|| (key, value(8))).into_iter().collect(),
                    ..base
                };
                let errors = faults(&inputs);
                let places = [
                    (2, format!(".env:{variable}: ")),
                    (4, format!("{variable} (environment): ")),
                    (
                        8,
                        format!(
                            "{}: ",
                            SETTINGS
                                .iter()
                                .find(|own| own.key == key)
                                .and_then(|own| own.flag)
                                .unwrap_or(key)
                        ),
                    ),
                    (1, format!("s.toml:{line}: ")),
                ];
                let lines: Vec<_> = errors.lines().collect();
                assert_eq!(lines.len(), wrong.count_ones() as usize, "{key} {there:b} {wrong:b}: {errors}");
                for (_, place) in places.iter().filter(|(source, _)| wrong & source != 0) {
                    assert!(lines.iter().any(|line| line.starts_with(place)), "{place} of {errors}");
                }
            }
        }
    }
}

#[test]
fn faults_of_several_settings_and_sources_are_reported_at_once() {
    let inputs = Inputs {
        flags: vec![("listen", "127.0.0.1:1".into())],
        env: vec![("LISTEN".into(), "x".into()), ("LOG_LEVEL".into(), "ERROR".into())],
        dotenv: Some((".env".into(), vec![("LOG_LEVEL".into(), "LOUD".into())])),
        ..with_upstream("listen = 7\nlog.level = 8\nttl.query = \"soon\"")
    };
    let errors = faults(&inputs);
    for place in ["LISTEN (environment): ", ".env:LOG_LEVEL: ", "s.toml:2: ", "s.toml:3: ", "s.toml:4: "] {
        assert!(errors.lines().any(|line| line.starts_with(place)), "{place} of {errors}");
    }
    assert_eq!(errors.lines().count(), 5, "{errors}");
}

#[test]
fn everything_in_force_is_shown_in_the_order_of_the_table() {
    let loaded = loaded("");
    let keys: Vec<_> = loaded.effective.iter().map(|own| own.key).collect();
    assert_eq!(keys, SETTINGS.map(|setting| setting.key));
    for (key, wanted) in [
        ("upstream.url", "http://127.0.0.1:8000"),
        ("listen", "127.0.0.1:8080"),
        ("admin.listen", "127.0.0.1:8081"),
        ("admin.token", "none"),
        ("admin.hosts", "none"),
        ("store.redis", "none"),
        ("store.max_memory", "256MiB"),
        ("ttl.embedding", "24h"),
        ("upstream.first_byte_timeout", "5m"),
        ("upstream.host", "upstream"),
        ("log.slow_ms", "1s"),
        ("log.queries", "false"),
        ("scope", "credential"),
        ("limits.max_connections", "10000"),
    ] {
        assert_eq!(shown(&loaded, key).0, wanted, "{key}");
    }
}

#[test]
fn a_value_has_one_form_however_it_is_written() {
    let loaded = loaded(
        "listen = \":80\"\nignore_headers = [\"X-A\", \"X-B-*\"]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n\
         scope = [\"X-Tenant\"]\n[ttl]\nquery = \"120s\"\n[store]\nmax_memory = 1048576\n[log]\nfile = \"/a@b/c\"",
    );
    for (key, wanted) in [
        ("listen", "0.0.0.0:80"),
        ("ignore_headers", "x-a, x-b-*"),
        ("trusted_proxies", "10.0.0.0/8, ::1/128"),
        ("scope", "x-tenant"),
        ("ttl.query", "2m"),
        ("store.max_memory", "1MiB"),
        ("log.file", "/a@b/c"),
    ] {
        assert_eq!(shown(&loaded, key).0, wanted, "{key}");
    }
    // The bound of the store bounds its entries as well, and is where that comes from.
    assert_eq!(shown(&loaded, "store.max_entry"), ("1MiB".to_owned(), "s.toml:9".to_owned()));
    assert_eq!(loaded.config.store.max_entry, 1 << 20);
}

#[test]
fn secrets_are_shown_nowhere() {
    let loaded = loaded(
        "admin.token = \"sesame\"\nstore.redis_insecure = true\nstore.redis = \"rediss://user:sesame@h:6379/1#insecure\"",
    );
    assert_eq!(shown(&loaded, "admin.token").0, "***");
    assert_eq!(shown(&loaded, "store.redis").0, "rediss://user:***@h:6379/1#insecure");
    assert!(!format!("{loaded:?}").contains("sesame"));
    let redis = loaded.config.store.redis.as_ref().map(Secret::expose);
    assert_eq!(redis, Some("rediss://user:sesame@h:6379/1#insecure"));
    assert_eq!(loaded.config.admin.token.as_ref().map(Secret::expose), Some("sesame"));
}

#[test]
fn knows_what_a_reload_changes() {
    let old = loaded("log.level = \"INFO\"\n[[route]]\nmatch = \"POST /a\"\nkind = \"query\"");
    for (text, expected) in [
        ("log.level = \"info\"\n[[route]]\nkind = \"query\"\nmatch = \"POST /a\"", &[][..]),
        ("log.level = \"DEBUG\"\n[[route]]\nmatch = \"POST /a\"\nkind = \"query\"", &["log.level"]),
        ("[[route]]\nmatch = \"POST /b\"\nkind = \"query\"", &["route"]),
        (
            "ttl.query = 1\nlisten = \":1\"\n[[route]]\nmatch = \"POST /a\"\nkind = \"query\"",
            &["ttl.query", "route"],
        ),
        (
            "[[route]]\nmatch = \"POST /a\"\nkind = \"query\"\n[[price]]\nmodel = \"m\"\ninput = 1\noutput = 1\ncurrency = \"USD\"",
            &["price"],
        ),
    ] {
        assert_eq!(changed(&old, &loaded(text)), expected, "{text}");
    }
}

#[test]
fn knows_which_settings_need_a_restart() {
    let old = loaded("store.redis = \"redis://:one@h\"");
    assert_eq!(restart_only(&old, &old), Vec::<&str>::new());
    // Shown alike, and different all the same.
    assert_eq!(restart_only(&old, &loaded("store.redis = \"redis://:two@h\"")), ["store.redis"]);
    // Written differently, and the same.
    let same =
        loaded("store = { redis = \"redis://:one@h\", max_memory = 268435456 }\nlimits.header_timeout = 10");
    assert_eq!(restart_only(&old, &same), Vec::<&str>::new());
    let new = loaded(
        "upstream.connect_timeout = 1\nlisten = \":1\"\nscope = \"shared\"\n[admin]\nlisten = \"off\"\ntoken = \"t\"\n[store]\ntimeout = 1\n\
         max_memory = \"1GiB\"\nnamespace = \"n\"\n[limits]\nmax_connections = 1\nmax_upstream_requests = 1\n\
         header_timeout = 1\nmax_body = 1\n[ttl]\nquery = 1\n[log]\nfile = \"x\"",
    );
    assert_eq!(
        restart_only(&old, &new),
        [
            "listen",
            "admin.listen",
            "store.redis",
            "store.max_memory",
            "store.namespace",
            "store.timeout",
            "log.file",
            "limits.max_connections",
            "limits.max_upstream_requests",
            "limits.header_timeout"
        ]
    );
}
