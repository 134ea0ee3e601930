//! The one table of settings, in the order of `config/sidecache.toml`.
//!
//! `value` and `parsers` say what a value must look like. Everything else about a setting is here, and only
//! here: tests hold the example files and `docs/CONFIGURATION.md` to these tables.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The name in the file, with a dot between the table and the key.
    pub(super) key: &'static str,
    /// The variable in the environment and in `.env`.
    pub(super) env: Option<&'static str>,
    /// The flag, with its dashes.
    pub(super) flag: Option<&'static str>,
    /// `None` if the setting is required, or has no value by default.
    pub(super) default: Option<&'static str>,
    /// One line that says what it is for.
    pub(super) about: &'static str,
    /// Whether its value is shown nowhere. (The password of a URL never is.)
    pub(super) secret: bool,
    /// Whether a reload applies it; `false` if it needs a restart.
    pub(super) reload: bool,
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

    /// Its table; empty for the top of the file.
    pub(super) fn group(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(group, _)| group)
    }

    /// Its name in that table.
    pub(super) fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }
}

const fn setting(key: &'static str, about: &'static str) -> Setting {
    Setting::new(key, about)
}

/// Every setting but the routes.
#[rustfmt::skip] // One setting a paragraph reads like a table.
pub(super) static SETTINGS: [Setting; 99] = [
    setting("listen", "Where clients connect: HOST:PORT, or unix:PATH.")
        .env("LISTEN").flag("--listen").default("127.0.0.1:8080").restart(),
    setting("listen_mode", "Who may connect to such a file: its mode.")
        .default("0660").restart(),
    setting("listen_reuse", "Whether the next sidecache may listen on the same address before this one ends, for restarts without a gap.")
        .default("false").restart(),
    setting("workers", "How many threads serve clients: a number, or \"auto\" for one on each core that the process may use.")
        .env("CACHE_WORKERS").default("auto").restart(),
    setting("environment", "What this installation is called; production hides upstream error bodies under errors.normalize.")
        .env("ENVIRONMENT").default("production"),
    setting("scope", "Who may share an entry: \"credential\", \"shared\", or a list of headers and claims: \"x-tenant\", \"jwt:sub\".")
        .env("CACHE_SCOPE").default("credential"),
    setting("shared_auth_ttl", "How long an accepted credential is trusted, under \"shared\" or a list.")
        .default("5m"),
    setting("ignore_headers", "Request headers left out of every route's key, * at the end allowed."),
    setting("epoch", "A text in every key: with another one, nothing stored is found; with the former one, it is found again.")
        .env("CACHE_EPOCH"),
    setting("presets", "The services whose routes are built in and wanted: \"lightrag\" and so on; `sidecache presets` lists them.")
        .env("CACHE_PRESETS").flag("--preset"),
    setting("trusted_proxies", "Peers, addresses and networks, whose X-Forwarded-* and Forwarded are believed."),
    setting("proxy_protocol", "Whether trusted proxies name their clients by the PROXY protocol, version 1 or 2; others are refused then.")
        .default("false").restart(),
    setting("drain_delay", "How long readiness is 503 before the listener closes.")
        .default("0s"),
    setting("drain_timeout", "How long running requests may take to finish once the listener is closed.")
        .default("30s"),
    setting("upstream.url", "The URL of the service: http:// or https://, perhaps with a path prefix, or unix:PATH. Required.")
        .env("UPSTREAM_URL").flag("--upstream"),
    setting("upstream.ca", "The authorities that vouch for the service, a file in PEM, read again when it changes; without it, those that the system trusts."),
    setting("upstream.client_cert", "The certificate that the service is shown, a file in PEM, read again when it changes; with upstream.client_key."),
    setting("upstream.client_key", "Its private key, a file in PEM."),
    setting("upstream.host", "The Host the service gets: \"upstream\", its own, or \"preserve\", the caller's.")
        .default("upstream"),
    setting("upstream.resolve_every", "How long the addresses of the service's name hold; after a failed connection they are looked up at once.")
        .default("30s"),
    setting("upstream.connect_timeout", "Time for a connection to be made.")
        .default("5s"),
    setting("upstream.first_byte_timeout", "Time from the request's last byte to the response's head.")
        .default("300s"),
    setting("upstream.idle_timeout", "Time between two chunks of a response.")
        .default("120s"),
    setting("admin.listen", "The operators' listener: HOST:PORT, unix:PATH, or \"off\".")
        .env("ADMIN_LISTEN").flag("--admin-listen").default("127.0.0.1:8081").restart(),
    setting("admin.listen_mode", "Who may connect to such a file: its mode.")
        .default("0660").restart(),
    setting("admin.tls_cert", "The certificate for operators over TLS, a file in PEM, read again when it changes; with admin.tls_key.")
        .restart(),
    setting("admin.tls_key", "Its private key, a file in PEM.")
        .restart(),
    setting("admin.tls_client_ca", "The authorities that vouch for operators, who then need a certificate: a file in PEM.")
        .restart(),
    setting("admin.token", "The bearer token that operators need; without one the listener must be loopback.")
        .env("ADMIN_TOKEN").secret(),
    setting("admin.hosts", "Names, besides the loopback ones, by which the admin listener may be called."),
    setting("tls.cert", "The certificate for clients over TLS, a file in PEM, read again when it changes; with tls.key.")
        .restart(),
    setting("tls.key", "Its private key, a file in PEM.")
        .restart(),
    setting("tls.client_ca", "The authorities that vouch for clients, who then need a certificate: a file in PEM.")
        .restart(),
    setting("jwks.url", "Where the keys of tokens are, for claims in a scope: a JWKS, https://; without keys, claims count once the service accepts a token."),
    setting("jwks.file", "The same, in a file, read again when it changes."),
    setting("jwks.ca", "The authorities that vouch for the server of jwks.url, a file in PEM; without it, those that the system trusts."),
    setting("jwks.issuer", "Who issues the tokens, as their claim iss says it; a list. Required with keys."),
    setting("jwks.audience", "The audiences of the tokens, one of which must be in their claim aud; a list, [] if they have none. Required with keys."),
    setting("jwks.leeway", "How far the clock of the issuer may be off, for exp and nbf; in whole seconds.")
        .default("0s"),
    setting("jwks.refresh", "How long keys are used before they are asked for again.")
        .default("5m"),
    setting("store.redis", "Redis: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://; without a URL, this process keeps the answers.")
        .env("REDIS_URL").flag("--redis").restart(),
    setting("store.redis_username", "The user of Redis, in place of the URL's.")
        .env("REDIS_USERNAME").restart(),
    setting("store.redis_password_file", "A file with the password of Redis, in place of the URL's; read again when it changes.")
        .env("REDIS_PASSWORD_FILE").restart(),
    setting("store.sentinel_username", "The user of the sentinels, where it is another one than that of Redis.")
        .env("REDIS_SENTINEL_USERNAME").restart(),
    setting("store.sentinel_password", "The password of the sentinels, where it is another one than that of Redis.")
        .env("REDIS_SENTINEL_PASSWORD").secret().restart(),
    setting("store.redis_insecure", "Whether a URL of Redis may end with #insecure: then nobody checks who the server is.")
        .default("false").restart(),
    setting("store.redis_ca", "The authorities that vouch for Redis, a file in PEM; without it, those that the system trusts.")
        .restart(),
    setting("store.redis_cert", "The certificate that Redis is shown, a file in PEM; with store.redis_key.")
        .restart(),
    setting("store.redis_key", "Its private key, a file in PEM.")
        .restart(),
    setting("store.encryption_key", "Seals the values in Redis, and hides what its keys stand for: 32 bytes, as 64 hex digits or base64.")
        .env("CACHE_ENCRYPTION_KEY").secret().restart(),
    setting("store.encryption_key_old", "The key before that: what it sealed is still read, and sealed again with the new key.")
        .env("CACHE_ENCRYPTION_KEY_OLD").secret().restart(),
    setting("store.max_memory", "The bound of the in-process store.")
        .env("CACHE_MAX_MEMORY").flag("--max-memory").default("256MiB").restart(),
    setting("store.near_memory", "The bound of the in-process tier in front of Redis; 0 for none.")
        .env("CACHE_NEAR_MEMORY").default("64MiB").restart(),
    setting("store.near_staleness", "How long that tier is trusted while Redis is out of reach; less costs Redis commands.")
        .default("2s").restart(),
    setting("store.namespace", "The first part of every key: letters, digits, _, - and .")
        .env("CACHE_NAMESPACE").default("sidecache").restart(),
    setting("store.timeout", "How long a request waits for the store.")
        .default("50ms").restart(),
    setting("store.max_entry", "The largest body that is stored.")
        .default("8MiB"),
    setting("ttl.default", "For routes of the kind other; 0 caches nothing, here and below.")
        .env("CACHE_DEFAULT_TTL").default("1h"),
    setting("ttl.query", "For answers to questions.")
        .env("CACHE_QUERY_TTL").default("30m"),
    setting("ttl.embedding", "For vectors.")
        .env("CACHE_EMBEDDING_TTL").default("24h"),
    setting("ttl.rerank", "For documents ranked by their scores.")
        .env("CACHE_RERANK_TTL").default("24h"),
    setting("ttl.document", "For documents.")
        .env("CACHE_DOCUMENT_TTL").default("1h"),
    setting("ttl.conversation", "For conversations.")
        .env("CACHE_CONVERSATION_TTL").default("30m"),
    setting("log.level", "The lowest level that is written: DEBUG, INFO, WARNING or ERROR.")
        .env("LOG_LEVEL").flag("--log-level").default("INFO"),
    setting("log.format", "json or text, on standard output; text on a terminal, else json.")
        .env("LOG_FORMAT").flag("--log-format").restart(),
    setting("log.file", "A file besides standard output; its folder is made.")
        .env("LOG_FILE").flag("--log-file").restart(),
    setting("log.rotate_size", "The size at which the file is rotated.")
        .default("100MiB").restart(),
    setting("log.rotate_keep", "How many rotated files are kept.")
        .default("5").restart(),
    setting("log.slow_ms", "Requests that take longer are slow: milliseconds, or a duration.")
        .env("SLOW_REQUEST_THRESHOLD_MS").default("1000"),
    setting("log.queries", "Whether the text of questions is logged.")
        .default("false"),
    setting("log.health", "Whether requests for the health page are logged.")
        .default("false"),
    setting("errors.normalize", "Whether upstream errors take sidecache's form.")
        .default("false"),
    setting("health.path", "The path of the health page.")
        .default("/health"),
    setting("health.ready", "What makes /health/ready a 503: \"draining\", \"upstream\" or \"store\" out of reach.")
        .default("draining"),
    setting("limits.max_body", "The largest request body on a cacheable route; other routes stream without limit.")
        .default("32MiB"),
    setting("limits.max_connections", "Open client connections; the next one waits.")
        .default("10000").restart(),
    setting("limits.max_upstream_requests", "Upstream requests under way at once; the next one is a 503.")
        .default("1024").restart(),
    setting("limits.header_timeout", "Time for a request's head to arrive.")
        .default("10s").restart(),
    setting("limits.body_timeout", "Time between two reads of a request's body; ten times that in all where it is buffered.")
        .default("30s"),
    setting("coalesce.max_followers", "Followers of one running answer; the next one asks the upstream itself.")
        .default("10000"),
    setting("coalesce.max_buffer", "What a running answer buffers for its followers.")
        .default("8MiB"),
    setting("coalesce.replica_wait", "How long a request waits for another replica's answer before it asks the upstream itself.")
        .default("10s"),
    setting("semantic.mode", "Answers to questions in other words: \"off\", measured (\"shadow\"), or measured and served (\"serve\").")
        .env("CACHE_SEMANTIC_MODE").default("off"),
    setting("semantic.max_false_hits", "How many of the hits by meaning may be wrong, at 95 % confidence; above 0, at most 20%.")
        .env("CACHE_SEMANTIC_MAX_FALSE_HITS").default("1%"),
    setting("semantic.embeddings", "Where vectors come from: an endpoint compatible with OpenAI's /v1/embeddings; with semantic.model.")
        .env("CACHE_SEMANTIC_EMBEDDINGS").restart(),
    setting("semantic.model", "What that endpoint calls its model.")
        .env("CACHE_SEMANTIC_MODEL").restart(),
    setting("semantic.api_key_file", "A file with the bearer token for that endpoint, read at each call.")
        .env("CACHE_SEMANTIC_API_KEY_FILE").restart(),
    setting("semantic.model_dir", "In place of an endpoint: a folder with a BERT-type model, which runs in this process.")
        .env("CACHE_SEMANTIC_MODEL_DIR").restart(),
    setting("semantic.audit", "How many of the hits by meaning the service is asked about all the same; at least 2.5%.")
        .default("5%"),
    setting("semantic.max_entries", "The most vectors in memory; each takes 2 bytes a dimension.")
        .default("100000").restart(),
    setting("semantic.timeout", "How long a request waits for its vector; at most 5s.")
        .default("100ms"),
    setting("semantic.judge", "Says whether two answers are the same: an endpoint compatible with OpenAI's /v1/chat/completions; with semantic.judge_model.")
        .env("CACHE_SEMANTIC_JUDGE").restart(),
    setting("semantic.judge_model", "What that endpoint calls its model.")
        .env("CACHE_SEMANTIC_JUDGE_MODEL").restart(),
    setting("semantic.judge_api_key_file", "A file with the bearer token for the judge, read at each call.")
        .env("CACHE_SEMANTIC_JUDGE_API_KEY_FILE").restart(),
    setting("semantic.state", "A file that keeps labels and vectors for the next process, where there is no Redis.")
        .env("CACHE_SEMANTIC_STATE").restart(),
    setting("insight.memory", "The memory for finding out why requests do not hit; 0 for none.")
        .default("16MiB").restart(),
    setting("otel.endpoint", "The collector that gets traces, by OTLP over HTTP; without it, no traces are sent.")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT").restart(),
    setting("otel.sample", "The share of the traces begun here that are recorded; a caller's own decision holds.")
        .env("OTEL_TRACES_SAMPLER_ARG").default("1"),
    setting("metrics.models", "The models that /metrics tells apart, as in [\"gpt-4o*\"]; * matches any text."),
];

/// A key of a `[[route]]` or a `[[price]]` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableKey {
    pub(super) key: &'static str,
    /// One line that says what it is for.
    pub(super) about: &'static str,
}

const fn route_key(key: &'static str, about: &'static str) -> TableKey {
    TableKey { key, about }
}

/// Every key of a `[[route]]` table.
pub(super) static ROUTE_KEYS: [TableKey; 44] = [
    route_key("name", "Its name, part of the key and of the logs; its match where there is none."),
    route_key(
        "match",
        "The requests it covers: METHOD PATH, or a list; {x} any text, ** any rest, * any method. Required.",
    ),
    route_key(
        "kind",
        "What its answers are: query, embedding, rerank, document, conversation or other. Required.",
    ),
    route_key("dialect", "What its bodies mean; found out by path and body where there is none."),
    route_key("cache", "false passes everything through."),
    route_key("mode", "What says how long an answer is fresh: \"ttl\", or the upstream (\"rfc9111\")."),
    route_key("ttl", "How long an answer is fresh; the kind's where there is none."),
    route_key(
        "stale_while_revalidate",
        "How long after its TTL an answer is served at once, while the upstream is asked again.",
    ),
    route_key("stale_if_error", "How long after that an answer is served if the upstream fails."),
    route_key("scope", "Who may share its entries; the file's where there is none."),
    route_key("ignore_headers", "Request headers left out of the key, further to the file's."),
    route_key(
        "set_cookie",
        "Answers that set a cookie: \"strip\" stores them without it, \"skip\" does not store them.",
    ),
    route_key("drop_headers", "Response headers that a hit leaves out, further to x-ratelimit-*."),
    route_key("ignore", "Body members left out of the key: JSON pointers, * for any element."),
    route_key("text", "Where the question's text is: JSON pointers; by dialect where there are none."),
    route_key("normalize", "What does not count in that text: trim, collapse, casefold, nfc."),
    route_key(
        "tags",
        "Where an answer names what it depends on: JSON pointers, and {name} for a part of the path; by dialect.",
    ),
    route_key(
        "invalidates",
        "What a success here invalidates: kinds of entries, \"tag:{x}\" by the path; also with cache = false.",
    ),
    route_key(
        "settle",
        "How long the service works on it after its answer: not stored in that time, and invalidated again.",
    ),
    route_key(
        "settle_until",
        "The same, until a GET says that it is done: the GET, then conditions on its answer.",
    ),
    route_key("cache_tool_calls", "Whether answers that call tools are stored."),
    route_key(
        "honor_request_cache_control",
        "Whether a request's Cache-Control and X-Cache-TTL are honoured.",
    ),
    route_key(
        "when",
        "What a request's body must say, else the next route is tried: conditions, as in \"/mode = \\\"query\\\"\".",
    ),
    route_key("error", "What an answer says that is an error, whatever its status: conditions, any of them."),
    route_key("require", "What an answer must say, in a stream in some event: conditions, all of them."),
    route_key(
        "stream_end",
        "What ends its streams: an event's name, data or type; a condition on an event; or \"eof\", the body's end.",
    ),
    route_key(
        "framing",
        "What divides its answers: \"sse\", \"ndjson\", \"text\" piece by piece; \"auto\" by their media type.",
    ),
    route_key("stream_default", "Whether an answer is a stream if the request does not say; by dialect."),
    route_key(
        "conversation",
        "Where a request names its conversation: JSON pointers, \"{x}\" of the path, \"?x\" of the query.",
    ),
    route_key("opens", "Where an answer has ids made for its one caller: JSON pointers; [] for never."),
    route_key(
        "opened",
        "What others get in place of such ids: \"null\", \"empty\", \"drop\", \"uuid\"; \"alone\" shares no such answer.",
    ),
    route_key("vary_by", "The query parameters that count for the key; all where there are none."),
    route_key("mask", "Regular expressions: what they match inside texts does not count in the key."),
    route_key("batch", "The list in a request's body whose elements have an entry each."),
    route_key("batch_answer", "The lists in an answer with an element for each of these, in the same order."),
    route_key(
        "per_item",
        "Whether each document that is ranked has an entry: for models that score it by itself.",
    ),
    route_key(
        "semantic",
        "Whether questions in other words may share an answer, as [semantic] says; for the kind query.",
    ),
    route_key("semantic_max_temperature", "Requests with a higher temperature take no part in that; 0 to 2."),
    route_key("good_ends", "Further finish and stop reasons that end an answer well."),
    route_key(
        "usage",
        "Whether OpenAI streams are asked for their usage: \"as-asked\", or always and unseen (\"ask\").",
    ),
    route_key(
        "usage_on_hit",
        "What a hit says of its usage: what the answer took (\"recorded\"), or that it took nothing (\"zero\").",
    ),
    route_key(
        "identity",
        "The id and the time of creation of a hit: as they were (\"recorded\"), or new (\"fresh\").",
    ),
    route_key(
        "replay",
        "The pace of a stream that is a hit: \"at-once\", \"recorded\", or the time between two events.",
    ),
    route_key(
        "on_abandon",
        "Once all its clients have left, an answer is brought to its end (\"finish\") or not (\"cancel\").",
    ),
];

const fn price_key(key: &'static str, about: &'static str) -> TableKey {
    TableKey { key, about }
}

/// Every key of a `[[price]]` table.
pub(super) static PRICE_KEYS: [TableKey; 6] = [
    price_key("model", "The models that it is for; * matches any text. Required."),
    price_key("input", "What a million tokens of questions cost. Required."),
    price_key(
        "cached_input",
        "The same, for tokens from the provider's own prompt cache; if left out, as input.",
    ),
    price_key("cache_write", "The same, for tokens written to that cache; if left out, as input."),
    price_key("output", "What a million tokens of answers cost. Required."),
    price_key("currency", "Of all that: three capital letters, the same in all prices. Required."),
];

pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
