//! The one table of settings, in the order of `config/sidecache.toml`.
//!
//! What a value must look like is the business of `forms`; everything else about a setting is
//! here, and only here.

/// A setting: its names, its default, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name in the file; a dot stands between the table and the key.
    pub key: &'static str,
    /// Its variable in the environment and in `.env`.
    pub env: Option<&'static str>,
    /// Its flag, with the dashes.
    pub flag: Option<&'static str>,
    /// What it is where nobody says; `None` where it is required, or is nothing then.
    pub default: Option<&'static str>,
    /// One line about it.
    pub about: &'static str,
    /// Its value is shown nowhere. (The password of a URL never is.)
    pub secret: bool,
    /// A reload takes it over; `false` where it needs a restart.
    pub reload: bool,
}

impl Setting {
    const fn new(key: &'static str, about: &'static str) -> Self {
        Self { key, env: None, flag: None, default: None, about, secret: false, reload: true }
    }

    const fn env(self, name: &'static str) -> Self {
        Self { env: Some(name), ..self }
    }

    const fn flag(self, name: &'static str) -> Self {
        Self { flag: Some(name), ..self }
    }

    const fn default(self, value: &'static str) -> Self {
        Self { default: Some(value), ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn restart(self) -> Self {
        Self { reload: false, ..self }
    }

    /// The table it stands in, empty for the top of the file.
    pub fn group(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(group, _)| group)
    }

    /// Its name in that table.
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }
}

const fn s(key: &'static str, about: &'static str) -> Setting {
    Setting::new(key, about)
}

/// Every setting but the routes.
#[rustfmt::skip] // One setting a paragraph reads as the table it is.
pub static SETTINGS: [Setting; 48] = [
    s("listen", "Where clients connect: HOST:PORT.")
        .env("LISTEN").flag("--listen").default("127.0.0.1:8080").restart(),
    s("environment", "What this installation is called; production hides upstream error bodies under errors.normalize.")
        .env("ENVIRONMENT").default("production"),
    s("scope", "Who may share an entry: \"credential\", \"shared\", or a list of header names.")
        .env("CACHE_SCOPE").default("credential"),
    s("shared_auth_ttl", "How long a credential that the upstream accepted stands, under a shared scope.")
        .default("5m"),
    s("ignore_headers", "Request headers left out of every route's key, * at the end allowed."),
    s("trusted_proxies", "Peers, addresses and networks, whose X-Forwarded-* and Forwarded are believed."),
    s("drain_delay", "How long readiness is 503 before the listener closes.")
        .default("0s"),
    s("drain_timeout", "How long running requests may take to finish once the listener is closed.")
        .default("30s"),
    s("upstream.url", "The URL of the service: http:// or https://, perhaps with a path prefix. Required.")
        .env("UPSTREAM_URL").flag("--upstream"),
    s("upstream.host", "The Host the service gets: \"upstream\", its own, or \"preserve\", the caller's.")
        .default("upstream"),
    s("upstream.connect_timeout", "Time for a connection to be made.")
        .default("5s"),
    s("upstream.first_byte_timeout", "Time from the request's last byte to the response's head.")
        .default("300s"),
    s("upstream.idle_timeout", "Time between two chunks of a response.")
        .default("120s"),
    s("admin.listen", "The operators' listener: HOST:PORT, or \"off\".")
        .env("ADMIN_LISTEN").flag("--admin-listen").default("127.0.0.1:8081").restart(),
    s("admin.token", "The bearer token that operators need; without one the listener must be loopback.")
        .env("ADMIN_TOKEN").secret(),
    s("admin.hosts", "Names, besides the loopback ones, by which the admin listener may be called."),
    s("store.redis", "Redis: redis://, rediss:// or unix://; without a URL, this process keeps the answers.")
        .env("REDIS_URL").flag("--redis").restart(),
    s("store.redis_ca", "The authorities that vouch for Redis, a file in PEM; the system's where there is none.")
        .restart(),
    s("store.redis_cert", "The certificate that Redis is shown, a file in PEM; with store.redis_key.")
        .restart(),
    s("store.redis_key", "Its private key, a file in PEM.")
        .restart(),
    s("store.encryption_key", "Seals the values in Redis, and hides what its keys stand for: 32 bytes, as 64 hex digits or base64.")
        .env("CACHE_ENCRYPTION_KEY").secret().restart(),
    s("store.encryption_key_old", "The key before that: what it sealed is still read, and sealed anew.")
        .env("CACHE_ENCRYPTION_KEY_OLD").secret().restart(),
    s("store.max_memory", "The bound of the in-process store.")
        .env("CACHE_MAX_MEMORY").flag("--max-memory").default("256MiB").restart(),
    s("store.near_memory", "The bound of the in-process tier in front of Redis; 0 for none.")
        .env("CACHE_NEAR_MEMORY").default("64MiB").restart(),
    s("store.namespace", "The first part of every key: letters, digits, _, - and .")
        .env("CACHE_NAMESPACE").default("sidecache").restart(),
    s("store.timeout", "How long a request waits for the store.")
        .default("50ms").restart(),
    s("store.max_entry", "The largest body that is stored.")
        .default("8MiB"),
    s("ttl.default", "For routes of the kind other; 0 caches nothing, here and below.")
        .env("CACHE_DEFAULT_TTL").default("1h"),
    s("ttl.query", "For answers to questions.")
        .env("CACHE_QUERY_TTL").default("30m"),
    s("ttl.embedding", "For vectors.")
        .env("CACHE_EMBEDDING_TTL").default("24h"),
    s("ttl.document", "For documents.")
        .env("CACHE_DOCUMENT_TTL").default("1h"),
    s("ttl.conversation", "For conversations.")
        .env("CACHE_CONVERSATION_TTL").default("30m"),
    s("log.level", "The lowest level that is written: DEBUG, INFO, WARNING or ERROR.")
        .env("LOG_LEVEL").flag("--log-level").default("INFO"),
    s("log.file", "A file besides standard output; its folder is made.")
        .env("LOG_FILE").flag("--log-file").restart(),
    s("log.rotate_size", "The size at which the file is rotated.")
        .default("100MiB").restart(),
    s("log.rotate_keep", "How many rotated files are kept.")
        .default("5").restart(),
    s("log.slow_ms", "Requests that take longer are slow: milliseconds, or a duration.")
        .env("SLOW_REQUEST_THRESHOLD_MS").default("1000"),
    s("log.queries", "Whether the text of questions is logged.")
        .default("false"),
    s("errors.normalize", "Whether upstream errors take sidecache's form.")
        .default("false"),
    s("health.path", "The path of the health page.")
        .default("/health"),
    s("limits.max_body", "The largest request body on a cacheable route; other routes stream without limit.")
        .default("32MiB"),
    s("limits.max_connections", "Open client connections; the next one waits.")
        .default("10000").restart(),
    s("limits.max_upstream_requests", "Upstream requests under way at once; the next one is a 503.")
        .default("1024").restart(),
    s("limits.header_timeout", "Time for a request's head to arrive.")
        .default("10s").restart(),
    s("limits.body_timeout", "Time between two reads of a request's body; ten times that in all where it is buffered.")
        .default("30s"),
    s("coalesce.max_followers", "Requests that read one running answer along; the next one asks the upstream itself.")
        .default("10000"),
    s("coalesce.max_buffer", "What a running answer keeps for its readers.")
        .default("8MiB"),
    s("coalesce.replica_wait", "How long a request waits for another replica's answer before it asks the upstream itself.")
        .default("10s"),
];

/// A key of a `[[route]]` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteKey {
    /// Its name.
    pub key: &'static str,
    /// One line about it.
    pub about: &'static str,
}

const fn r(key: &'static str, about: &'static str) -> RouteKey {
    RouteKey { key, about }
}

/// Every key of a `[[route]]` table.
pub static ROUTE_KEYS: [RouteKey; 26] = [
    r("name", "Its name, part of the key and of the logs; its match where there is none."),
    r("match", "The requests it covers: METHOD PATH; {x} one segment, ** any rest, * any method. Required."),
    r("kind", "What its answers are: query, embedding, document, conversation or other. Required."),
    r("dialect", "What its bodies mean; found out by path and body where there is none."),
    r("cache", "false passes everything through."),
    r("mode", "What says how long an answer is fresh: \"ttl\", or the upstream (\"rfc9111\")."),
    r("ttl", "How long an answer is fresh; the kind's where there is none."),
    r(
        "stale_while_revalidate",
        "How long after its TTL an answer is served at once, while it is asked for anew.",
    ),
    r("stale_if_error", "How long after that an answer is served where the upstream fails."),
    r("scope", "Who may share its entries; the file's where there is none."),
    r("ignore_headers", "Request headers left out of the key, further to the file's."),
    r(
        "set_cookie",
        "Answers that set a cookie: \"strip\" stores them without it, \"skip\" does not store them.",
    ),
    r("drop_headers", "Response headers that a hit leaves out, further to x-ratelimit-*."),
    r("ignore", "Body members left out of the key: JSON pointers, * for any element."),
    r("text", "Where the question's text is: JSON pointers; by dialect where there are none."),
    r("normalize", "What does not count in that text: trim, collapse, casefold, nfc."),
    r(
        "tags",
        "Where an answer tells what it depends on: JSON pointers; of the rag dialect, its sources' ids.",
    ),
    r("invalidates", "The kinds whose entries a success here retires; also with cache = false."),
    r("cache_tool_calls", "Whether answers that call tools are stored."),
    r("honor_request_cache_control", "Whether a request's Cache-Control and X-Cache-TTL are honoured."),
    r("stream_end", "The event or the data that ends its streams."),
    r("good_ends", "Further finish and stop reasons that end an answer well."),
    r(
        "usage",
        "Whether OpenAI streams are asked for their usage: \"as-asked\", or always and unseen (\"ask\").",
    ),
    r(
        "identity",
        "The id and the time of creation of a hit: as they were (\"recorded\"), or new (\"fresh\").",
    ),
    r(
        "replay",
        "The pace of a stream that is a hit: \"at-once\", \"recorded\", or the time between two events.",
    ),
    r(
        "on_abandon",
        "Once all its clients have left, an answer is brought to its end (\"finish\") or not (\"cancel\").",
    ),
];

/// The setting called `key`.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
