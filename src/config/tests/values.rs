//! What the values become.

use super::*;
use crate::cache::route::{Scope, kind::Kind};

#[test]
fn defaults() {
    let config = config("");
    let seconds = Duration::from_secs;
    assert_eq!(config.environment, "production");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.upstream.url.to_string(), "http://127.0.0.1:8000");
    assert!(!config.upstream.preserve_host);
    assert_eq!(config.upstream.connect_timeout, seconds(5));
    assert_eq!(config.upstream.first_byte_timeout, seconds(300));
    assert_eq!(config.upstream.idle_timeout, seconds(120));
    assert_eq!(config.admin.listen.map(|a| a.to_string()).as_deref(), Some("127.0.0.1:8081"));
    assert!(config.admin.token.is_none() && config.admin.hosts.is_empty());
    assert!(config.store.redis.is_none());
    assert_eq!((config.store.max_memory, config.store.max_entry), (256 << 20, 8 << 20));
    assert_eq!(config.store.near_memory, 64 << 20);
    assert_eq!(
        (config.store.namespace.as_str(), config.store.timeout),
        ("sidecache", Duration::from_millis(50))
    );
    assert_eq!(config.shared_auth_ttl, seconds(300));
    assert!(config.trusted_proxies.is_empty());
    assert_eq!(
        config.log,
        LogConfig {
            level: LogLevel::Info,
            format: None,
            file: None,
            rotate_size: 100 << 20,
            rotate_keep: 5,
            slow: seconds(1),
            health: false,
            queries: false
        }
    );
    assert_eq!(config.limits.max_body, 32 << 20);
    assert_eq!((config.limits.max_connections, config.limits.max_upstream_requests), (10_000, 1_024));
    assert_eq!((config.limits.header_timeout, config.limits.body_timeout), (seconds(10), seconds(30)));
    assert_eq!((config.drain_delay, config.drain_timeout), (Duration::ZERO, seconds(30)));
    assert!(!config.normalize_errors);
    assert_eq!(config.health_path, "/health");
}

#[test]
fn ttls_reach_the_built_in_routes() {
    let ttls = |config: &Config| {
        Kind::ALL.map(|kind| {
            config.routes.iter().find(|route| route.kind == kind).map(|route| route.ttl.as_secs())
        })
    };
    assert_eq!(
        ttls(&config("")),
        [Some(1_800), Some(86_400), Some(3_600), Some(1_800), Some(3_600), Some(86_400)]
    );
    let own = "[ttl]\nquery = 0\nembedding = 1\ndocument = \"2m\"\nconversation = \"3h\"\ndefault = \"4d\"\nrerank = 5\n\
               [[route]]\nmatch = \"GET /x\"\nkind = \"other\"";
    assert_eq!(ttls(&config(own)), [Some(0), Some(1), Some(120), Some(10_800), Some(345_600), Some(5)]);
}

#[test]
fn upstream_urls() {
    for (written, wanted) in [
        ("http://h", "http://h"),
        ("http://h:8000/", "http://h:8000"),
        ("HTTPS://H/a/b//", "https://H/a/b"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000/v1"),
    ] {
        let loaded = load(&file(&format!("upstream.url = {written:?}"))).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.config.upstream.url.to_string(), wanted);
        assert_eq!(shown(&loaded, "upstream.url").0, wanted);
    }
}

#[test]
fn addresses() {
    for (written, wanted) in [
        ("localhost:80", "127.0.0.1:80"),
        ("LOCALHOST:80", "127.0.0.1:80"),
        (":80", "0.0.0.0:80"),
        ("[::1]:80", "[::1]:80"),
        ("10.0.0.1:0", "10.0.0.1:0"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("unix:///run/a.sock", "unix:/run/a.sock"),
    ] {
        assert_eq!(config(&format!("listen = {written:?}")).listen.to_string(), wanted);
    }
    assert_eq!(config("admin.listen = \"OFF\"").admin.listen, None);
}

#[test]
fn modes_of_files() {
    for (written, wanted) in [("0660", 0o660), ("777", 0o777), ("0600", 0o600)] {
        assert_eq!(config(&format!("listen_mode = {written:?}")).listen_mode, wanted);
    }
    assert_eq!(config("admin.listen_mode = \"0600\"").admin.listen_mode, 0o600);
}

#[test]
fn redis_urls() {
    for url in [
        "redis://127.0.0.1:6379",
        "rediss://user:pw@h/3",
        "rediss://h#insecure",
        "unix:///run/redis.sock?db=1&pass=pw",
        "redis+unix:///run/redis.sock",
    ] {
        let store = config(&format!("store.redis = {url:?}\nstore.redis_insecure = true")).store;
        assert_eq!(store.redis.as_ref().map(Secret::expose), Some(url));
    }
}

#[test]
fn scopes() {
    let scope = |text: &str| config(text).routes.first().map(|route| route.scope.clone());
    let header = |name| http::HeaderName::from_static(name);
    assert_eq!(scope("scope = \"shared\""), Some(Scope::Shared));
    assert_eq!(scope("scope = [\"header:X-A\"]"), scope("scope = [\"x-a\"]"));
    for (text, shown) in [
        ("[\"jwt:sub\"]", "jwt:sub"),
        ("[\"jwt:/realm_access/tenant\", \"header:X-A\"]", "jwt:/realm_access/tenant, x-a"),
        (
            "[\"jwt:https://example.com/tenant\", \"aws:access-key\"]",
            "jwt:https://example.com/tenant, aws:access-key",
        ),
    ] {
        let Some(Scope::Identity(identity)) = scope(&format!("scope = {text}")) else { panic!("{text}") };
        assert_eq!(identity.texts().join(", "), shown);
    }
    assert_eq!(scope("scope = [\"X-A\", \"X-B\"]"), Some(Scope::Headers(vec![header("x-a"), header("x-b")])));
    let env = |value: &str| {
        let inputs = Inputs { env: vec![("CACHE_SCOPE".into(), value.into())], ..with_upstream("") };
        load(&inputs).unwrap_or_else(|e| panic!("{e}")).config.routes.first().map(|route| route.scope.clone())
    };
    assert_eq!(env("shared"), Some(Scope::Shared));
    assert_eq!(env("credential"), Some(Scope::Credential));
    assert_eq!(env("X-A , x-b"), Some(Scope::Headers(vec![header("x-a"), header("x-b")])));
}

#[test]
fn the_near_cache_may_have_no_memory() {
    assert_eq!(config("store.near_memory = 0").store.near_memory, 0);
    assert_eq!(config("store.near_memory = \"1MiB\"").store.near_memory, 1 << 20);
}

#[test]
fn the_rest() {
    let config = config(
        "trusted_proxies = [\"10.0.0.7\", \"fd00::/8\"]\nshared_auth_ttl = 0\nupstream.host = \"preserve\"\n\
         [log]\nlevel = \"debug\"\nslow_ms = \"2s\"\nrotate_keep = 0\nqueries = true\n[admin]\nhosts = [\"Ops.Example\"]\n\
         [errors]\nnormalize = true\n[health]\npath = \"/a/b-c\"\n[limits]\nmax_body = 0x10\nmax_connections = 1_000",
    );
    assert_eq!(config.trusted_proxies.len(), 2);
    assert!(config.trusted_proxies[0].contains(&std::net::IpAddr::from([10, 0, 0, 7])));
    assert_eq!(config.shared_auth_ttl, Duration::ZERO);
    assert!(config.upstream.preserve_host && config.log.queries && config.normalize_errors);
    assert_eq!(
        (config.log.level, config.log.slow, config.log.rotate_keep),
        (LogLevel::Debug, Duration::from_secs(2), 0)
    );
    assert_eq!(config.admin.hosts, ["ops.example"]);
    assert_eq!(config.health_path, "/a/b-c");
    assert_eq!((config.limits.max_body, config.limits.max_connections), (16, 1_000));
    let env = |value: &str| {
        let inputs =
            Inputs { env: vec![("SLOW_REQUEST_THRESHOLD_MS".into(), value.into())], ..with_upstream("") };
        load(&inputs).unwrap_or_else(|e| panic!("{e}")).config.log.slow
    };
    assert_eq!(
        (env("250"), env("30s"), env("0")),
        (Duration::from_millis(250), Duration::from_secs(30), Duration::ZERO)
    );
}
