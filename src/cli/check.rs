//! `sidecache check`: shows the settings in force, and tries to reach the store and the upstream.

use std::{process::ExitCode, sync::Arc, time::Duration};

use http::Request;
use tokio::sync::Semaphore;

use super::Exit;
use crate::{
    app::{check_certificates, itself, log_store_event, open_store, start_checks::clock_warning},
    cache::{
        price::{Price, Prices},
        route::{Route, Scope},
    },
    config::{
        ConfigError, EmbeddingSource, Errors, JwksSource, Loaded, RedisTopology, RedisUrl, SemanticConfig,
        UpstreamConfig,
    },
    proxy::{
        body::RequestBody,
        jwks,
        semantic::embedder,
        upstream::{Repeat, Upstream, hop::Hop},
    },
    store::{OpenError, Store},
    telemetry::log::events::exc_info,
};

/// How long the upstream may take for a connection, and again for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(loaded: &Loaded, strict: bool) -> Exit {
    let store = match open_store(&loaded.config.store, log_store_event).await {
        Ok(store) => store,
        Err(OpenError { setting, reason }) => {
            let source = loaded.source(setting);
            return Exit::misconfigured(&Errors(vec![ConfigError::new(source, setting, &reason)]));
        }
    };
    if let Err(error) = check_certificates(&loaded.config) {
        return Exit::failure(error);
    }
    if let Err(error) = itself::refuse_configured(&loaded.config).await {
        return Exit::failure(error);
    }
    let upstream = match Upstream::new(
        &patient(&loaded.config.upstream),
        Arc::new(Semaphore::new(1)),
        Arc::default(),
        Hop::random(),
    ) {
        Ok(upstream) => upstream,
        Err(error) => return Exit::failure(error),
    };
    let mut exit = Exit::success(settings_and_routes(loaded));
    let mut warnings = settings_without_effect(loaded);
    warnings.extend(unreachable_store(&store));
    warnings.extend(silent_upstream(&upstream, &loaded.config.upstream).await);
    if let Store::Redis(store) = &store {
        warnings.extend(store.client().lacks().into_iter().map(|lack| format!("store.redis: {lack}")));
    }
    warnings.extend(clock_warning(&store).await);
    warnings.extend(no_keys(loaded).await);
    if let Some(config) = &loaded.config.semantic {
        warnings.extend(semantic_warnings(config, &loaded.config.routes));
        match embedder::try_once(config).await {
            Ok(embedded) => warnings.extend(embedded.err()),
            Err(error) => return Exit::failure(error),
        }
    }
    for warning in &warnings {
        let level = if strict { "error" } else { "warning" };
        exit.stderr += &format!("{level}: {warning}\n");
    }
    if strict && !warnings.is_empty() {
        exit.code = ExitCode::FAILURE;
    } else {
        exit.stdout += "configuration: ok\n";
    }
    exit
}

/// The file, a line for each setting, with its source, and a line for each route and each price.
fn settings_and_routes(loaded: &Loaded) -> String {
    let settings = &loaded.effective;
    let key_width = settings.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
    let value_width = settings.iter().map(|setting| setting.shown.len()).max().unwrap_or(0).min(40);
    let file = loaded.shown_file().unwrap_or_else(|| "none".to_owned());
    let mut text = format!("configuration file: {file}\n\n");
    for setting in settings {
        text +=
            &format!("{:key_width$}  {:value_width$}  ({})\n", setting.key, setting.shown, setting.source);
    }
    text += "\nroutes, the first that covers a request decides:\n";
    for route in &loaded.config.routes {
        let cached =
            if route.cache { format!("{} s", route.ttl.as_secs_f64()) } else { "not cached".to_owned() };
        let pattern = route.pattern.as_str();
        let named = if route.name == pattern { String::new() } else { format!("{}:  ", route.name) };
        let when: String =
            route.when.iter().map(|condition| format!("  when {}", condition.as_str())).collect();
        let semantic = if route.semantic.is_some() { "  semantic" } else { "" };
        text +=
            &format!("  {named}{pattern}{when}  {}  {cached}{semantic}  ({})\n", route.kind, route.origin());
    }
    text + &prices(&loaded.config.prices)
}

/// A line for each price; empty if there are none.
fn prices(prices: &Prices) -> String {
    let Some(currency) = prices.currency() else { return String::new() };
    let mut text =
        format!("\nprices for a million tokens, in {}, the first for a model counts:\n", currency.as_str());
    for Price { model, input, cached_input, cache_write, output, .. } in prices.iter() {
        let [input, cached, written, output] =
            [input, cached_input, cache_write, output].map(|rate| rate.for_a_million().units());
        text += &format!(
            "  {}  input {input}  cached_input {cached}  cache_write {written}  output {output}\n",
            model.as_str()
        );
    }
    text
}

/// Warnings about settings that do nothing beside the others.
fn settings_without_effect(loaded: &Loaded) -> Vec<String> {
    let store = &loaded.config.store;
    let is_in_process = store.redis.is_none() && store.encryption_key.is_some();
    let url = store.redis.as_ref().and_then(|url| RedisUrl::parse(url.expose()).ok());
    let has_sentinels = url.is_some_and(|url| matches!(url.topology, RedisTopology::Sentinel { .. }));
    let access = &store.access;
    let for_sentinels = access.sentinel_username.is_some() || access.sentinel_password.is_some();
    [
        (
            is_in_process,
            "store.encryption_key has no effect without store.redis: what is kept in this process is not sealed",
        ),
        (
            for_sentinels && !has_sentinels,
            "store.sentinel_username and store.sentinel_password have no effect: store.redis does not begin with \
             redis+sentinel://",
        ),
    ]
    .into_iter()
    .filter(|(has_no_effect, _)| *has_no_effect)
    .map(|(_, warning)| warning.to_owned())
    .collect()
}

fn unreachable_store(store: &Store) -> Option<String> {
    let Store::Redis(store) = store else { return None };
    if store.client().connected() {
        return None;
    }
    let reason = store.client().last_error().unwrap_or_else(|| "no answer".to_owned());
    Some(format!("store.redis is out of reach ({reason}); requests would go on to the upstream"))
}

/// Tries to get the keys of tokens.
async fn no_keys(loaded: &Loaded) -> Vec<String> {
    let Some(config) = &loaded.config.jwks else { return Vec::new() };
    let is_claim = |route: &Route| matches!(&route.scope, Scope::Identity(scope) if scope.has_claims());
    let has_effect = loaded.config.routes.iter().any(is_claim);
    let idle =
        (!has_effect).then(|| "[jwks] has no effect: no scope names a claim, as in \"jwt:sub\"".to_owned());
    let exposed = match &config.source {
        JwksSource::Url(url, _) if url.is_exposed() => Some(
            "jwks.url is without TLS: whoever is on the way can name keys, and with them read answers"
                .to_owned(),
        ),
        _ => None,
    };
    let failed = jwks::try_once(config).await.err().map(|error| error.to_string());
    idle.into_iter().chain(exposed).chain(failed).collect()
}

/// Warnings about hits by meaning, before the embedder is tried.
fn semantic_warnings(config: &SemanticConfig, routes: &[Route]) -> Vec<String> {
    let idle = (!routes.iter().any(|route| route.semantic.is_some()))
        .then(|| "[semantic] has no effect: no route has semantic = true".to_owned());
    let embeddings = match &config.embeddings {
        EmbeddingSource::Endpoint(endpoint) => Some(("semantic.embeddings", endpoint)),
        EmbeddingSource::Local(_) => None,
    };
    let endpoints =
        embeddings.into_iter().chain(config.judge.as_ref().map(|judge| ("semantic.judge", judge)));
    let exposed = endpoints
        .filter(|(_, endpoint)| endpoint.shows_its_key())
        .map(|(setting, _)| format!("{setting} is without TLS: whoever is on the way can read its token"));
    idle.into_iter().chain(exposed).collect()
}

/// Asks the upstream for `/`. Any answer will do.
async fn silent_upstream(upstream: &Upstream, config: &UpstreamConfig) -> Option<String> {
    let asked = upstream.send(&patient(config), Request::new(RequestBody::empty()), Repeat::Safe).await;
    let error = asked.err()?;
    Some(format!("upstream.url: {}: {}; is the service running?", config.url, exc_info(&error)))
}

/// The same settings, but for an upstream that is slow.
fn patient(config: &UpstreamConfig) -> UpstreamConfig {
    UpstreamConfig {
        connect_timeout: config.connect_timeout.min(PATIENCE),
        first_byte_timeout: config.first_byte_timeout.min(PATIENCE),
        ..config.clone()
    }
}
