//! Each thing that can be wrong: its place and its message.

use super::*;

#[track_caller]
fn check(text: &str, wanted: &[&str]) {
    assert_eq!(faults(&with_upstream(text)), wanted.join("\n"), "{text}");
}

#[test]
fn unknown_keys_and_tables() {
    for (text, wanted) in [
        ("ttl.qery = 5", "s.toml:2: ttl.qery: is no setting; did you mean `ttl.query`?"),
        ("drain-timeout = 5", "s.toml:2: drain-timeout: is no setting; did you mean `drain_timeout`?"),
        ("level = \"INFO\"", "s.toml:2: level: is no setting; did you mean `log.level`?"),
        ("ttl.queryy.x = 5", "s.toml:2: ttl.queryy: is no table of settings"),
        ("zzz = 5", "s.toml:2: zzz: is no setting"),
        (
            "[log]\nenvironment = \"x\"",
            "s.toml:3: log.environment: is no setting; did you mean `environment`, at the top of the file?",
        ),
        ("[stroe]\nredis = 1", "s.toml:2: stroe: is no table of settings; did you mean `[store]`?"),
        ("[[routes]]\nmatch = 1", "s.toml:2: routes: is no table of settings; did you mean `[[route]]`?"),
        ("[zzz]\na = 1", "s.toml:2: zzz: is no table of settings"),
        ("[log.file]\na = 1", "s.toml:2: log.file: takes a text; found a table"),
        ("[log.zzz]\na = 1", "s.toml:2: log.zzz: is no table of settings"),
        ("log = 1", "s.toml:2: log: is a table; write [log] and its keys below"),
        (
            "[route]\nmatch = 1",
            "s.toml:2: route: is a list of tables; write [[route]], in double brackets, and its keys below",
        ),
        (
            "route = [1]",
            "s.toml:2: route: is a list of tables; write [[route]], in double brackets, and its keys below",
        ),
        // A quoted dot would let one setting have two values.
        ("\"ttl.query\" = 5", "s.toml:2: ttl.query: is no setting; write keys without quotes"),
        (
            "store.near_memoyr = 0",
            "s.toml:2: store.near_memoyr: is no setting; did you mean `store.near_memory`?",
        ),
        ("[replicas]\nmax = 1", "s.toml:2: replicas: is no table of settings"),
    ] {
        check(text, &[wanted]);
    }
}

#[test]
fn broken_syntax_is_reported_alone_and_on_one_line() {
    for (text, wanted) in [
        ("ttl.query = ", "s.toml:2: "),
        ("[log]\nlevel = \"INFO", "s.toml:3: "),
        ("ttl.query = 5\nttl.query = 6", "s.toml:3: duplicate key"),
        ("listen 5", "s.toml:2: "),
    ] {
        let message = faults(&with_upstream(text));
        assert!(message.starts_with(wanted) && message.len() > 12, "{text}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let two = faults(&with_upstream("a = \nlisten = \"x\"\nb = ]\nadmin.token = \"sesame"));
    assert_eq!(two.lines().map(|line| &line[..8]).collect::<Vec<_>>(), ["s.toml:2", "s.toml:4", "s.toml:5"]);
    assert!(!two.contains("sesame"), "{two}");
}

#[test]
fn wrong_types() {
    for (text, wanted) in [
        ("ttl.query = true", "ttl.query: takes a duration; found true or false"),
        ("ttl.query = 1.5", "ttl.query: takes a duration; found a number with a fraction"),
        ("ttl.query = 1979-05-27", "ttl.query: takes a duration; found a date"),
        ("ttl.query = [1]", "ttl.query: takes a duration; found a list"),
        ("ttl.query = \"\"", "ttl.query: takes a duration; found an empty text"),
        ("store.max_memory = false", "store.max_memory: takes a size; found true or false"),
        ("epoch = 2", "epoch: takes a text; found an integer"),
        ("listen = 8080", "listen: takes HOST:PORT; found an integer"),
        (
            "listen = \"unix:a.sock\"",
            "listen: \"a.sock\" is no path of a socket; write unix:/run/sidecache.sock",
        ),
        ("listen_mode = 660", "listen_mode: takes a mode as a text, as in \"0660\"; found an integer"),
        ("admin.listen = false", "admin.listen: takes HOST:PORT or \"off\"; found true or false"),
        ("log.queries = \"yes\"", "log.queries: takes true or false; found a text"),
        ("log.rotate_keep = \"5\"", "log.rotate_keep: takes a whole number; found a text"),
        ("log.level = 3", "log.level: takes one of DEBUG, INFO, WARNING, ERROR; found an integer"),
        (
            "trusted_proxies = \"::1\"",
            "trusted_proxies: takes a list of addresses and networks; found a text",
        ),
        ("ignore_headers = [5]", "ignore_headers: takes a list of header names; found an integer"),
        ("admin.token = 12345", "admin.token: takes a text; found an integer"),
        ("environment = \"\"", "environment: takes a text; found an empty text"),
        ("log.file = \"\"", "log.file: takes a text; found an empty text"),
        ("store.redis = \"\"", "store.redis: takes the URL of Redis; found an empty text"),
        (
            "scope = true",
            "scope: takes \"credential\", \"shared\", or a list of headers and claims; found true or false",
        ),
    ] {
        check(text, &[&format!("s.toml:2: {wanted}")]);
    }
}

#[test]
fn numbers_out_of_range() {
    for (text, wanted) in [
        (
            "ttl.query = \"abc\"",
            "ttl.query: \"abc\" is no duration; write whole seconds or 500ms, 30s, 30m, 24h",
        ),
        ("ttl.query = -1", "ttl.query: \"-1\" is no duration; write whole seconds or 500ms, 30s, 30m, 24h"),
        ("store.timeout = 0", "store.timeout: must be more than 0"),
        ("upstream.connect_timeout = \"0ms\"", "upstream.connect_timeout: must be more than 0"),
        ("upstream.first_byte_timeout = 0", "upstream.first_byte_timeout: must be more than 0"),
        ("upstream.idle_timeout = 0", "upstream.idle_timeout: must be more than 0"),
        ("limits.header_timeout = 0", "limits.header_timeout: must be more than 0"),
        ("limits.body_timeout = 0", "limits.body_timeout: must be more than 0"),
        ("limits.max_body = 0", "limits.max_body: must be more than 0"),
        ("limits.max_connections = 0", "limits.max_connections: must be more than 0"),
        ("limits.max_upstream_requests = 0", "limits.max_upstream_requests: must be more than 0"),
        ("store.max_memory = 0", "store.max_memory: must be more than 0"),
        ("log.rotate_size = \"0B\"", "log.rotate_size: must be more than 0"),
        ("limits.max_connections = -5", "limits.max_connections: -5 is not between 0 and 4294967295"),
        ("log.rotate_keep = 4294967296", "log.rotate_keep: 4294967296 is not between 0 and 4294967295"),
        (
            "store.max_memory = \"18446744073709551615KiB\"",
            "store.max_memory: \"18446744073709551615KiB\" is more bytes than can be counted",
        ),
        (
            "log.slow_ms = \"fast\"",
            "log.slow_ms: \"fast\" is no duration; write whole seconds or 500ms, 30s, 30m, 24h",
        ),
    ] {
        check(text, &[&format!("s.toml:2: {wanted}")]);
    }
}

#[test]
fn upstream_urls() {
    const HOW: &str = "write http://HOST:PORT or https://HOST, with a path where the service has one";
    for (url, wanted) in [
        (
            "localhost:8000",
            "\"localhost:8000\" has no scheme; did you mean http://localhost:8000?".to_owned(),
        ),
        ("http//x y", format!("\"http//x y\" is no URL; {HOW}")),
        ("ftp://h", format!("\"ftp://h\" is neither http:// nor https://; {HOW}")),
        ("redis://:sesame@h", format!("\"redis://:***@h\" is neither http:// nor https://; {HOW}")),
        (
            "http://u:sesame@h",
            format!("must not have a user or a password: callers send their own credentials; {HOW}"),
        ),
        ("u:sesame@h:80", format!("\"u:***@h:80\" is no URL; {HOW}")),
        ("http://h/?key=sesame", format!("must not have a query; {HOW}")),
        ("http://h#f", format!("must not have a fragment; {HOW}")),
        ("http://", format!("\"http://\" is no URL; {HOW}")),
        ("http:///x", format!("\"http:///x\" is no URL; {HOW}")),
        ("http://:8000", format!("\"http://:8000\" is no URL; {HOW}")),
        ("http://h:99999", format!("\"http://h:99999\" has no valid port; {HOW}")),
        ("http://h:", format!("\"http://h:\" has no valid port; {HOW}")),
        ("http://h:0", format!("\"http://h:0\" has no valid port; {HOW}")),
        ("http://h h", format!("\"http://h h\" is no URL; {HOW}")),
    ] {
        assert_eq!(
            faults(&file(&format!("upstream.url = {url:?}"))),
            format!("s.toml:1: upstream.url: {wanted}")
        );
    }
}

#[test]
fn addresses() {
    for (address, wanted) in [
        ("8080", "\"8080\" is only a port; did you mean 127.0.0.1:8080?"),
        ("127.0.0.1", "\"127.0.0.1\" is no address; write HOST:PORT, as in 127.0.0.1:8080"),
        ("127.0.0.1:", "\"127.0.0.1:\" is no address; write HOST:PORT, as in 127.0.0.1:8080"),
        ("127.0.0.1:99999", "\"127.0.0.1:99999\" is no address; write HOST:PORT, as in 127.0.0.1:8080"),
        (":+80", "\":+80\" is no address; write HOST:PORT, as in 127.0.0.1:8080"),
        (
            "http://127.0.0.1:8080",
            "\"http://127.0.0.1:8080\" is a URL; write HOST:PORT, as in 127.0.0.1:8080",
        ),
        ("::1:8080", "\"::1:8080\" is no address; write an IPv6 address in brackets, as in [::1]:8080"),
        (
            "example.org:80",
            "\"example.org:80\" names no address of this machine; write an IP address, localhost, or nothing for \
             all, before :80",
        ),
        ("off", "\"off\" is no address; write HOST:PORT, as in 127.0.0.1:8080"),
    ] {
        check(&format!("listen = {address:?}"), &[&format!("s.toml:2: listen: {wanted}")]);
    }
}

#[test]
fn redis_urls_without_repeating_them() {
    const HOW: &str = "write redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH; for several servers \
                       redis+sentinel://HOST:PORT,HOST:PORT/MASTER or redis+cluster://HOST:PORT,HOST:PORT";
    const PROTOCOL: &str =
        "a protocol that sidecache does not speak; leave `protocol` out, or write protocol=resp2";
    const ELSEWHERE: &str = "a parameter that is not known; user, password and database stand elsewhere: write \
                             redis://USER:PASSWORD@HOST:PORT/DATABASE";
    const SOCKET: &str = "a parameter that is not known; write db, user, pass, or protocol=resp2, as in \
                          unix:///PATH?db=0&user=USER&pass=PASSWORD";
    for good in [
        "redis://h",
        "redis://h/3?",
        "redis://u:p@h:1/3?protocol=2",
        "rediss://h?protocol=resp2",
        "redis+sentinel://:p@a:26379,b:26379/main/2",
        "rediss+cluster://u:p@a:6379,b:6379",
        "unix:///r.sock?db=1&user=u&pass=p&protocol=resp2",
        "redis+unix:///r.sock",
    ] {
        assert!(load(&with_upstream(&format!("store.redis = {good:?}"))).is_ok(), "{good}");
    }
    for (url, wanted) in [
        ("localhost:6379", format!("is no URL; {HOW}")),
        (":sesame@localhost:6379", format!("is no URL; {HOW}")),
        ("http://:sesame@h", format!("is no URL of Redis; {HOW}")),
        ("redis://:sesame@h/five", format!("is no URL of Redis (Invalid database number); {HOW}")),
        ("redis://:ses/ame@h", format!("is no URL of Redis (Redis URL did not parse); {HOW}")),
        ("redis://:sesame@h/?protocol=4", format!("asks for {PROTOCOL}")),
        ("redis://:sesame@h/?protocol=resp3", format!("asks for {PROTOCOL}")),
        ("rediss://h?protocol=3", format!("asks for {PROTOCOL}")),
        ("redis://h/0?protocol=RESP2", format!("asks for {PROTOCOL}")),
        ("redis://h/0?protocol=", format!("asks for {PROTOCOL}")),
        ("redis://h/0?protocol=resp2&protocol=resp3", format!("asks for {PROTOCOL}")),
        ("redis://h/0?protocol=resp%33", format!("asks for {PROTOCOL}")),
        ("unix:///r.sock?db=1&protocol=resp3", format!("asks for {PROTOCOL}")),
        ("redis://:sesame@h/?Protocol=resp2", format!("has {ELSEWHERE}")),
        ("redis://h?db=3", format!("has {ELSEWHERE}")),
        ("redis://h?user=u&pass=sesame", format!("has {ELSEWHERE}")),
        ("rediss://h/1?timeout=5", format!("has {ELSEWHERE}")),
        ("redis://h/1?x", format!("has {ELSEWHERE}")),
        ("unix:///r.sock?database=1", format!("has {SOCKET}")),
        ("redis+unix:///r.sock?db=1&password=sesame", format!("has {SOCKET}")),
        ("redis://", format!("is no URL of Redis (Missing hostname); {HOW}")),
        (
            "rediss://:sesame@h#insecure",
            "ends with #insecure, so that anybody could pretend to be Redis; name its authority with \
             store.redis_ca, or set store.redis_insecure = true"
                .to_owned(),
        ),
    ] {
        check(&format!("store.redis = {url:?}"), &[&format!("s.toml:2: store.redis: {wanted}")]);
    }
}

#[test]
fn names_and_words() {
    for (text, wanted) in [
        (
            "log.level = \"WARN\"",
            "log.level: \"WARN\" is none of DEBUG, INFO, WARNING, ERROR; did you mean `WARNING`?",
        ),
        ("log.level = \"loud\"", "log.level: \"loud\" is none of DEBUG, INFO, WARNING, ERROR"),
        ("upstream.host = \"keep\"", "upstream.host: \"keep\" is none of upstream, preserve"),
        (
            "store.namespace = \"a:b\"",
            "store.namespace: \"a:b\" is no namespace; write letters, digits, `_`, `-` and `.`",
        ),
        ("health.path = \"/\"", "health.path: \"/\" is no path for the health page; write one like /health"),
        (
            "health.path = \"health\"",
            "health.path: \"health\" is no path for the health page; write one like /health",
        ),
        (
            "health.path = \"/h?a\"",
            "health.path: \"/h?a\" is no path for the health page; write one like /health",
        ),
        (
            "health.path = \"/h/\"",
            "health.path: \"/h/\" is no path for the health page; write one like /health",
        ),
        ("environment = \"a\\nb\"", "environment: \"a\\nb\" has control characters"),
        (
            "trusted_proxies = [\"10.0.0.0/33\"]",
            "trusted_proxies: \"10.0.0.0/33\" is no address or network; write 10.0.0.7 or 10.0.0.0/8",
        ),
        (
            "ignore_headers = [\"a b\"]",
            "ignore_headers: `a b` is no header name (a `*` may stand at its end)",
        ),
        (
            "admin.hosts = [\"http://h\"]",
            "admin.hosts: \"http://h\" is no host name; write it without scheme and port",
        ),
        (
            "admin.hosts = [\"h:80\"]",
            "admin.hosts: \"h:80\" is no host name; write it without scheme and port",
        ),
        (
            "admin.token = \"open sesame\"",
            "admin.token: has characters that a bearer token cannot; write letters, digits and signs of ASCII, no spaces",
        ),
    ] {
        check(text, &[&format!("s.toml:2: {wanted}")]);
    }
}

#[test]
fn scopes() {
    const TAKES: &str = "\"credential\", \"shared\", or a list of headers and claims";
    const FORMS: &str = "\"jwt:CLAIM\", \"header:NAME\" or \"aws:access-key\"";
    for (scope, wanted) in [
        ("\"Shared\"", "\"Shared\" is no scope; did you mean `shared`?".to_owned()),
        (
            "\"x-tenant\"",
            format!("\"x-tenant\" is no scope; write {TAKES}, as in [\"x-tenant\", \"jwt:sub\"]"),
        ),
        ("[]", "names no header, so that everyone would share; write \"shared\" to have that".to_owned()),
        ("[\"shared\"]", "`shared` is no header and stands alone".to_owned()),
        ("[\"credentail\"]", "\"credentail\" is no scope; did you mean `credential`?".to_owned()),
        ("[\"a b\"]", "\"a b\" is no header name".to_owned()),
        ("[\"header:a b\"]", "\"a b\" is no header name".to_owned()),
        (
            "[\"jwt:\"]",
            "`jwt:` names no claim; write \"jwt:sub\", or \"jwt:/a/b\" for a nested one".to_owned(),
        ),
        (
            "[\"jwt:/a/*\"]",
            "`jwt:/a/*` has `*`, and a claim is one value; name each member on the way to it".to_owned(),
        ),
        ("[\"aws:secret\"]", format!("`aws:secret` is no part of a scope; write {FORMS}")),
        ("[\"claim:sub\"]", format!("`claim:` begins no part of a scope; write {FORMS}")),
        ("[1]", format!("takes {TAKES}; found an integer")),
    ] {
        check(&format!("scope = {scope}"), &[&format!("s.toml:2: scope: {wanted}")]);
    }
    // In the environment a slip would otherwise be the name of a header that nobody sends.
    let env = |value: &str| Inputs { env: vec![("CACHE_SCOPE".into(), value.into())], ..with_upstream("") };
    assert_eq!(
        faults(&env("credental")),
        "CACHE_SCOPE (environment): \"credental\" is no scope; did you mean `credential`?"
    );
    assert_eq!(faults(&env("x-a,")), "CACHE_SCOPE (environment): \"\" is no header name");
}

#[test]
fn settings_that_do_not_fit_together() {
    for (text, wanted) in [
        (
            "admin.listen = \":8081\"",
            "admin.listen: 0.0.0.0:8081 can be reached from other machines, and there is no admin.token; set \
             ADMIN_TOKEN, or listen on 127.0.0.1:8081, or write \"off\"",
        ),
        (
            "admin.listen = \"127.0.0.1:8080\"",
            "admin.listen: is the same address as listen (127.0.0.1:8080); give each its own port",
        ),
        (
            "listen = \"0.0.0.0:8081\"",
            "listen: is the same address as admin.listen (127.0.0.1:8081); give each its own port",
        ),
        (
            "listen = \"[::]:8081\"",
            "listen: is the same address as admin.listen (127.0.0.1:8081); give each its own port",
        ),
        (
            "proxy_protocol = true",
            "proxy_protocol: needs trusted_proxies: without them, every connection would be refused",
        ),
        (
            "admin.listen = \"unix:/run/a.sock\"\nlisten = \"unix:///run/a.sock\"",
            "admin.listen: is the same address as listen (unix:/run/a.sock); give each its own port",
        ),
        (
            "store = { max_memory = \"4MiB\", max_entry = \"5MiB\" }",
            "store.max_entry: 5MiB is more than store.max_memory, which is 4MiB",
        ),
        (
            "store = { redis = \"rediss://h\", redis_cert = \"c.pem\" }",
            "store.redis_cert: is of no use without store.redis_key",
        ),
        (
            "store = { redis = \"rediss://h\", redis_key = \"k.pem\" }",
            "store.redis_key: is of no use without store.redis_cert",
        ),
        (
            "store = { redis_ca = \"c.pem\" }",
            "store.redis_ca: is for a store.redis that begins with rediss://",
        ),
        (
            "store = { redis = \"redis://h\", redis_ca = \"c.pem\" }",
            "store.redis_ca: is for a store.redis that begins with rediss://",
        ),
        (
            "store = { encryption_key = \"swordfish\" }",
            "store.encryption_key: is no key; it takes 32 bytes, as 64 hexadecimal digits or in base64; \
             `openssl rand -hex 32` makes some",
        ),
        (
            "store = { encryption_key_old = \"ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=\" }",
            "store.encryption_key_old: is of no use without store.encryption_key, the one to seal with",
        ),
    ] {
        let message = faults(&with_upstream(text));
        assert_eq!(message, format!("s.toml:2: {wanted}"), "{text}");
    }
    for fine in [
        "admin = { listen = \":8081\", token = \"t\" }",
        "admin.listen = \"[::ffff:127.0.0.1]:8081\"",
        "admin.listen = \"off\"\nlisten = \"127.0.0.1:8081\"",
        "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"",
        "listen = \"0.0.0.0:8081\"\nadmin.listen = \"[::1]:8081\"",
        "store = { max_memory = \"4MiB\", max_entry = \"5MiB\", redis = \"redis://h\" }",
    ] {
        loaded(fine);
    }
}

#[test]
fn everything_is_reported_at_once_from_top_to_bottom() {
    let inputs = Inputs {
        env: vec![("CACHE_QUERY_TTL".into(), "abc".into())],
        dotenv: Some((".env".into(), vec![("LOG_LEVEL".into(), "LOUD".into())])),
        flags: vec![("store.redis", "localhost".into()), ("nonsense", "1".into())],
        ..file("limits.max_body = 0\n[[route]]\nmatch = \"x\"\nttl = \"y\"\n[stroe]\n[health]\npath = 1")
    };
    let message = faults(&inputs);
    let lines: Vec<_> = message.lines().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(
        lines,
        [
            "nonsense",
            "CACHE_QUERY_TTL (environment)",
            "upstream.url",
            "--redis",
            ".env:LOG_LEVEL",
            "s.toml:1",
            "s.toml:2",
            "s.toml:3",
            "s.toml:4",
            "s.toml:5",
            "s.toml:7"
        ],
        "{message}"
    );
    assert!(
        message.contains(
            "upstream.url: is required; give --upstream, UPSTREAM_URL, or `upstream.url` in the file"
        )
    );
    assert!(message.contains("CACHE_QUERY_TTL (environment): \"abc\" is no duration; write whole seconds"));
}

#[test]
fn files_for_tls_to_the_upstream() {
    for (url, files, wanted) in [
        (
            "https://h",
            "client_cert = \"c.pem\"",
            "upstream.client_cert: is of no use without upstream.client_key",
        ),
        (
            "https://h",
            "client_key = \"k.pem\"",
            "upstream.client_key: is of no use without upstream.client_cert",
        ),
        ("http://h", "ca = \"c.pem\"", "upstream.ca: is for an upstream.url that begins with https://"),
        ("unix:/s.sock", "ca = \"c.pem\"", "upstream.ca: is for an upstream.url that begins with https://"),
    ] {
        let text = format!("upstream = {{ url = {url:?}, {files} }}");
        assert_eq!(faults(&file(&text)), format!("s.toml:1: {wanted}"), "{text}");
    }
}
