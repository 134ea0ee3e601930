//! Makes one checked [`Config`] of [`Inputs`]. Pure.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use super::{
    AdminConfig, ClientTls, CoalesceConfig, Config, Limits, LogConfig, OtelConfig, RedisAccess, Secret,
    StoreConfig,
    error::{ConfigError, Errors, Faults},
    file::{self, File},
    given_routes,
    inputs::{Inputs, merge},
    jwks::JwksConfig,
    listen::{ADDRESS, ADDRESS_OR_OFF, FILE_MODE, ListenAddress},
    origin::Source,
    parsers::{
        COLLECTOR_URL, ENCRYPTION_KEY, HEADER_PATTERNS, HEALTH_PATH, HOSTS, LOG_FORMAT, LOG_LEVEL, MODELS,
        NAMESPACE, NETWORKS, PATH, READY, SCOPE, SECRET, TOKEN,
    },
    presets, prices,
    redis_url::{REDIS_URL, RedisUrl},
    routes::{self, Common},
    semantic::SemanticConfig,
    settings::{SETTINGS, Setting},
    settings_reader::{EffectiveSetting, SettingsReader},
    tls::{ListenerUse, TlsFiles},
    units,
    upstream::UpstreamConfig,
    value::{
        BOOL, BOUND, COUNT, DURATION, LENGTH, LIMIT, MILLIS, SHARE, SIZE, STALENESS, TEXT, TIMEOUT, WORKERS,
    },
};
use crate::cache::{
    price::Prices,
    route::{self, Route, kind::KindTtls},
};

/// A configuration, and the settings that it was made of.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The checked configuration.
    pub config: Config,
    /// Every setting but the routes, in the order of the table of settings.
    pub effective: Vec<EffectiveSetting>,
    /// The path of the configuration file; `None` if there is none.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// The whole path of the configuration file, for operators.
    pub(crate) fn shown_file(&self) -> Option<String> {
        let path = self.file.as_ref()?;
        Some(std::path::absolute(path).as_ref().unwrap_or(path).display().to_string())
    }

    /// The setting in force; `None` if it has no value.
    pub(crate) fn setting(&self, key: &str) -> Option<&EffectiveSetting> {
        self.effective.iter().find(|setting| setting.key == key)
    }

    pub(crate) fn source(&self, key: &str) -> &Source {
        self.setting(key).map_or(&Source::Default, |setting| &setting.source)
    }
}

/// Merges the inputs, strongest first, and checks the result.
///
/// # Errors
/// [`Errors`], with all faults. If the file's syntax is wrong, with that alone: the rest of the file is
/// unknown then.
pub fn load(inputs: &Inputs) -> Result<Loaded, Errors> {
    let mut faults = Faults::default();
    let (path, file) = match &inputs.file {
        None => (Path::new(""), Some(File::default())),
        Some((path, text)) => (path.as_path(), file::read(path, text, &mut faults)),
    };
    let Some(File { values, routes, prices }) = file else { return Err(faults.into_errors()) };
    let given = merge(inputs, values, &mut faults);
    let given_routes = given_routes::read(inputs, &mut faults);
    let prices = prices::read(path, &prices, &mut faults);
    let mut reader = SettingsReader::new(given, faults);
    let config = config(&mut reader, |common, faults| {
        let file_routes = routes::read(path, &routes, &given_routes, common, faults);
        let given_routes = given_routes.into_iter().filter_map(|given| given.route(common?));
        given_routes.chain(file_routes).collect()
    });
    let config = config.map(|config| Config { prices, ..config });
    let effective = reader.finish()?;
    // A configuration is missing only with a fault, and then `finish` has returned.
    let file = inputs.file.as_ref().map(|(path, _)| path.clone());
    config.map(|config| Loaded { config, effective, file }).ok_or_else(|| {
        let message = "is incomplete, which is a fault of sidecache's own".to_owned();
        Errors(vec![ConfigError { place: "configuration".to_owned(), message }])
    })
}

/// The settings that differ and need a restart, in the order of [`SETTINGS`].
pub(crate) fn restart_only(old: &Loaded, new: &Loaded) -> Vec<&'static str> {
    differing(old, new).filter(|setting| !setting.reload).map(|setting| setting.key).collect()
}

/// What a reload from `old` to `new` changes: settings in the order of [`SETTINGS`], and the tables.
pub(crate) fn changed(old: &Loaded, new: &Loaded) -> Vec<&'static str> {
    let settings = differing(old, new).filter(|setting| setting.reload).map(|setting| setting.key);
    let tables = [
        ("route", format!("{:?}", old.config.routes) != format!("{:?}", new.config.routes)),
        ("price", format!("{:?}", old.config.prices) != format!("{:?}", new.config.prices)),
    ];
    settings.chain(tables.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name)).collect()
}

fn differing(old: &Loaded, new: &Loaded) -> impl Iterator<Item = &'static Setting> {
    let exact = |loaded: &Loaded, key: &str| loaded.setting(key).and_then(|setting| setting.exact.clone());
    SETTINGS.iter().filter(move |setting| exact(old, setting.key) != exact(new, setting.key))
}

/// Here and below, all settings are read before the first `?`, so that all faults are reported.
fn config(
    reader: &mut SettingsReader,
    own_routes: impl FnOnce(Option<&Common>, &mut Faults) -> Vec<Route>,
) -> Option<Config> {
    let listen = reader.need("listen", &ADDRESS);
    let listen_mode = reader.need("listen_mode", &FILE_MODE);
    let listen_reuse = reader.need("listen_reuse", &BOOL);
    let workers = reader.need("workers", &WORKERS);
    let environment = reader.need("environment", &TEXT);
    let common = common(reader);
    let shared_auth_ttl = reader.need("shared_auth_ttl", &DURATION);
    let epoch = reader.take("epoch", &TEXT);
    let presets = reader.take("presets", &presets::NAMES).unwrap_or_default();
    let trusted_proxies = reader.take("trusted_proxies", &NETWORKS).unwrap_or_default();
    let proxy_protocol = reader.need("proxy_protocol", &BOOL);
    if proxy_protocol == Some(true) && !reader.is_given("trusted_proxies") {
        reader.fault(
            "proxy_protocol",
            "needs trusted_proxies: without them, every connection would be refused",
        );
    }
    let drain_delay = reader.need("drain_delay", &DURATION);
    let drain_timeout = reader.need("drain_timeout", &DURATION);
    let upstream = UpstreamConfig::read(reader);
    let admin = admin(reader);
    let tls = TlsFiles::read(reader, ListenerUse::Clients);
    let jwks = JwksConfig::read(reader);
    let store = store(reader);
    let log = log(reader);
    let normalize_errors = reader.need("errors.normalize", &BOOL);
    let health_path = reader.need("health.path", &HEALTH_PATH);
    let ready = reader.need("health.ready", &READY);
    let limits = limits(reader);
    let coalesce = coalesce(reader);
    let semantic = SemanticConfig::read(reader);
    let insight_memory = reader.need("insight.memory", &BOUND);
    let otel = otel(reader);
    let counted_models = reader.take("metrics.models", &MODELS).unwrap_or_default();
    let mut routes = own_routes(common.as_ref(), &mut reader.faults);
    let of_presets = presets::routes(&presets, &routes, common.as_ref(), &mut reader.faults);
    routes.extend(of_presets);
    if let (Some(listen), Some(AdminConfig { listen: Some(admin), .. })) = (&listen, &admin) {
        refuse_clash(reader, listen, admin);
    }
    let common = common?;
    routes.extend(route::builtin(&common.ttls, &common.scope).into_iter().map(|mut route| {
        route.ignore_headers.extend_from_slice(&common.ignore_headers);
        route
    }));
    Some(Config {
        environment: environment?,
        listen: listen?,
        listen_mode: listen_mode?,
        listen_reuse: listen_reuse?,
        workers: workers?,
        upstream: upstream?,
        admin: admin?,
        tls,
        store: store?,
        ttls: common.ttls,
        routes,
        has_presets: !presets.is_empty(),
        prices: Prices::default(),
        epoch,
        shared_auth_ttl: shared_auth_ttl?,
        jwks,
        semantic,
        trusted_proxies,
        proxy_protocol: proxy_protocol?,
        log: log?,
        limits: limits?,
        coalesce: coalesce?,
        insight_memory: insight_memory?,
        otel: otel?,
        counted_models,
        drain_delay: drain_delay?,
        drain_timeout: drain_timeout?,
        normalize_errors: normalize_errors?,
        health_path: health_path?,
        ready: ready?,
    })
}

fn common(reader: &mut SettingsReader) -> Option<Common> {
    let scope = reader.need("scope", &SCOPE);
    let ignore_headers = reader.take("ignore_headers", &HEADER_PATTERNS).unwrap_or_default();
    let default = reader.need("ttl.default", &DURATION);
    let query = reader.need("ttl.query", &DURATION);
    let embedding = reader.need("ttl.embedding", &DURATION);
    let rerank = reader.need("ttl.rerank", &DURATION);
    let document = reader.need("ttl.document", &DURATION);
    let conversation = reader.need("ttl.conversation", &DURATION);
    Some(Common {
        ttls: KindTtls {
            query: query?,
            embedding: embedding?,
            rerank: rerank?,
            document: document?,
            conversation: conversation?,
            default: default?,
        },
        scope: scope?,
        ignore_headers: ignore_headers.into_iter().map(|(_, pattern)| pattern).collect(),
    })
}

fn admin(reader: &mut SettingsReader) -> Option<AdminConfig> {
    let listen = reader.need("admin.listen", &ADDRESS_OR_OFF);
    let listen_mode = reader.need("admin.listen_mode", &FILE_MODE);
    let tls = TlsFiles::read(reader, ListenerUse::Admin);
    let token = reader.take("admin.token", &TOKEN);
    let hosts = reader.take("admin.hosts", &HOSTS).unwrap_or_default();
    let admin = AdminConfig { listen: listen?, listen_mode: listen_mode?, tls, token, hosts };
    if let Some(address) = admin.exposed()
        // A wrong token is reported by itself.
        && !reader.is_given("admin.token")
    {
        let message = format!(
            "{address} can be reached from other machines, and there is no admin.token; set ADMIN_TOKEN, or \
             listen on 127.0.0.1:{}, or write \"off\"",
            address.port()
        );
        reader.fault("admin.listen", &message);
    }
    Some(admin)
}

/// Reports two listeners on one address. Otherwise the second would fail to start, with a worse message.
fn refuse_clash(reader: &mut SettingsReader, listen: &ListenAddress, admin: &ListenAddress) {
    if !listen.clashes(admin) {
        return;
    }
    // The fault belongs to the setting that somebody wrote, not to a default.
    let (key, other) = match reader.source("admin.listen") {
        Source::Default => ("listen", format!("admin.listen ({admin})")),
        _ => ("admin.listen", format!("listen ({listen})")),
    };
    reader.fault(key, &format!("is the same address as {other}; give each its own port"));
}

fn store(reader: &mut SettingsReader) -> Option<StoreConfig> {
    let redis = reader.take("store.redis", &REDIS_URL);
    let access = redis_access(reader, redis.as_ref());
    let encryption_key = reader.take("store.encryption_key", &ENCRYPTION_KEY);
    let encryption_key_old = reader.take("store.encryption_key_old", &ENCRYPTION_KEY);
    if encryption_key_old.is_some() && !reader.is_given("store.encryption_key") {
        reader.fault(
            "store.encryption_key_old",
            "is of no use without store.encryption_key, the one to seal with",
        );
    }
    let max_memory = reader.need("store.max_memory", &SIZE);
    let near_memory = reader.need("store.near_memory", &BOUND);
    let near_staleness = reader.need("store.near_staleness", &STALENESS);
    let namespace = reader.need("store.namespace", &NAMESPACE);
    let timeout = reader.need("store.timeout", &TIMEOUT);
    let mut max_entry = reader.need("store.max_entry", &LENGTH);
    // The in-process store cannot hold an entry that is larger than itself.
    if let (false, Some(memory), Some(entry)) = (reader.is_given("store.redis"), max_memory, max_entry)
        && entry as u64 > memory
    {
        if reader.source("store.max_entry") == Source::Default {
            max_entry = usize::try_from(memory).ok();
            let source = reader.source("store.max_memory");
            reader.record("store.max_entry", Some(units::show_size(memory)), source);
        } else {
            let (entry, memory) = (units::show_size(entry as u64), units::show_size(memory));
            let message = format!("{entry} is more than store.max_memory, which is {memory}");
            reader.fault("store.max_entry", &message);
        }
    }
    Some(StoreConfig {
        redis,
        encryption_key,
        encryption_key_old,
        access,
        max_memory: max_memory?,
        near_memory: near_memory?,
        near_staleness: near_staleness?,
        namespace: namespace?,
        timeout: timeout?,
        max_entry: max_entry?,
    })
}

fn redis_access(reader: &mut SettingsReader, redis: Option<&Secret>) -> RedisAccess {
    let url = redis.and_then(|url| RedisUrl::parse(url.expose()).ok());
    let tls = redis_tls(reader, url.as_ref());
    let username = reader.take("store.redis_username", &TEXT);
    let password_file = reader.take("store.redis_password_file", &PATH);
    let sentinel_username = reader.take("store.sentinel_username", &TEXT);
    let sentinel_password = reader.take("store.sentinel_password", &SECRET);
    let insecure = reader.need("store.redis_insecure", &BOOL);
    for setting in ["store.redis_username", "store.redis_password_file"] {
        if reader.is_given(setting) && !reader.is_given("store.redis") {
            reader.fault(setting, "is of no use without store.redis");
        }
    }
    let is_unverified = url.is_some_and(|url| url.is_insecure());
    if is_unverified && insecure == Some(false) {
        let message = "ends with #insecure, so that anybody could pretend to be Redis; name its authority with \
                       store.redis_ca, or set store.redis_insecure = true";
        reader.fault("store.redis", message);
    }
    RedisAccess { tls, is_unverified, username, password_file, sentinel_username, sentinel_password }
}

fn redis_tls(reader: &mut SettingsReader, url: Option<&RedisUrl>) -> ClientTls {
    let settings = ["store.redis_ca", "store.redis_cert", "store.redis_key"];
    let tls = ClientTls::read(reader, settings);
    if !url.is_some_and(RedisUrl::is_tls) {
        for setting in settings {
            // A wrong URL is reported by itself.
            if reader.is_given(setting) && (url.is_some() || !reader.is_given("store.redis")) {
                reader.fault(setting, "is for a store.redis that begins with rediss://");
            }
        }
    }
    tls
}

fn log(reader: &mut SettingsReader) -> Option<LogConfig> {
    let level = reader.need("log.level", &LOG_LEVEL);
    let format = reader.take("log.format", &LOG_FORMAT);
    let file = reader.take("log.file", &PATH);
    let rotate_size = reader.need("log.rotate_size", &SIZE);
    let rotate_keep = reader.need("log.rotate_keep", &COUNT);
    let slow = reader.need("log.slow_ms", &MILLIS);
    let queries = reader.need("log.queries", &BOOL);
    let health = reader.need("log.health", &BOOL);
    Some(LogConfig {
        level: level?,
        format,
        file,
        rotate_size: rotate_size?,
        rotate_keep: rotate_keep?,
        slow: slow?,
        queries: queries?,
        health: health?,
    })
}

fn coalesce(reader: &mut SettingsReader) -> Option<CoalesceConfig> {
    let max_followers = reader.need("coalesce.max_followers", &COUNT);
    let max_buffer = reader.need("coalesce.max_buffer", &LENGTH);
    let replica_wait = reader.need("coalesce.replica_wait", &DURATION);
    Some(CoalesceConfig {
        max_followers: max_followers?,
        max_buffer: max_buffer?,
        replica_wait: replica_wait?,
    })
}

fn otel(reader: &mut SettingsReader) -> Option<OtelConfig> {
    let endpoint = reader.take("otel.endpoint", &COLLECTOR_URL);
    let sample = reader.need("otel.sample", &SHARE);
    Some(OtelConfig { endpoint, sample: sample? })
}

fn limits(reader: &mut SettingsReader) -> Option<Limits> {
    let max_body = reader.need("limits.max_body", &LENGTH);
    let max_connections = reader.need("limits.max_connections", &LIMIT);
    let max_upstream_requests = reader.need("limits.max_upstream_requests", &LIMIT);
    let header_timeout = reader.need("limits.header_timeout", &TIMEOUT);
    let body_timeout = reader.need("limits.body_timeout", &TIMEOUT);
    Some(Limits {
        max_body: max_body?,
        max_connections: max_connections.map(NonZeroUsize::get)?,
        max_upstream_requests: max_upstream_requests.map(NonZeroUsize::get)?,
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
    })
}
