//! The health page, and the probes of an orchestrator.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::{
    config::{Config, LogLevel, Readiness},
    proxy::{
        jwks::JwksStatus,
        response::{self, body::ResponseBody},
        state::{Live, Shared},
    },
    request::dispatch::HealthPage,
    store::StoreStatus,
    telemetry::{
        log::{Log, events},
        stats::human_bytes,
    },
};

/// How long a page waits for a connection to the upstream, and how long the result is used.
const PROBE_WAIT: Duration = Duration::from_millis(500);
const PROBE_TTL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Health {
    started: Instant,
    log: Option<Log>,
    draining: AtomicBool,
    /// When a connection to the upstream was last tried, and whether it was made.
    probe: Mutex<Option<(Instant, bool)>>,
}

impl Health {
    /// For a process that starts now and logs to `log`.
    pub(crate) fn new(log: Option<Log>) -> Self {
        Self { started: Instant::now(), log, draining: AtomicBool::new(false), probe: Mutex::new(None) }
    }

    /// From now on, the readiness probe gets a 503.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn page(
        &self,
        page: HealthPage,
        live: &Live,
        method: &Method,
    ) -> Response<ResponseBody> {
        let (status, body) = match page {
            HealthPage::Report => (StatusCode::OK, Box::pin(self.report(live)).await),
            HealthPage::Live => (StatusCode::OK, json!({"status": "live"})),
            HealthPage::Ready => match Box::pin(self.obstacle(live)).await {
                Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": obstacle})),
                None => (StatusCode::OK, json!({"status": "ready"})),
            },
        };
        let mut response = response::json(status, body.to_string().into_bytes());
        response
            .headers_mut()
            .insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
        if *method == Method::HEAD {
            *response.body_mut() = ResponseBody::from(Bytes::new());
        }
        response
    }

    /// What keeps this process from being ready, by the settings.
    async fn obstacle(&self, live: &Live) -> Option<&'static str> {
        let counts = |readiness| live.config.ready.contains(&readiness);
        if counts(Readiness::Draining) && self.draining.load(Ordering::Relaxed) {
            return Some("draining");
        }
        if counts(Readiness::Store) && !live.shared.store.status().await.connected {
            return Some("store lost");
        }
        if counts(Readiness::Upstream) && !self.reachable(live).await {
            return Some("upstream lost");
        }
        None
    }

    /// The health page.
    pub(crate) async fn report(&self, live: &Live) -> Value {
        let shared = &live.shared;
        let config = &live.config;
        let (store, reachable) = tokio::join!(shared.store.status(), self.reachable(live));
        let is_well = store.connected && !store.is_impaired && reachable;
        let cache = section(store, shared);
        let mut page = json!({
            "status": if is_well { "healthy" } else { "degraded" },
            "version": env!("CARGO_PKG_VERSION"),
            "environment": config.environment,
            "uptime_seconds": (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            "cache": cache,
            "upstream": {
                "url": config.upstream.url.to_string(),
                "reachable": reachable,
                "retried": shared.stats.sum(|thread| &thread.retried),
            },
            "limits": shared.stats.limits_section(),
            "log": {"dropped": self.log_dropped()},
        });
        if let Some(jwks) = &live.jwks {
            let JwksStatus { source, keys, age, last_error, .. } = jwks.status();
            page["jwks"] =
                json!({"source": source, "keys": keys, "age_seconds": age, "last_error": last_error});
        }
        if let Some(semantic) = &live.semantic {
            page["semantic"] = semantic.status().section();
        }
        page
    }

    /// How many lines the log has dropped.
    pub(crate) fn log_dropped(&self) -> u64 {
        self.log.as_ref().map_or(0, Log::dropped)
    }

    async fn reachable(&self, live: &Live) -> bool {
        let mut probe = self.probe.lock().await;
        match *probe {
            Some((at, reachable)) if at.elapsed() < PROBE_TTL => reachable,
            _ => {
                let reachable = live.upstream.reachable(&live.config.upstream, PROBE_WAIT).await;
                let was_reachable = probe.is_none_or(|(_, reachable)| reachable);
                *probe = Some((Instant::now(), reachable));
                if reachable != was_reachable {
                    log_upstream(&live.config, reachable);
                }
                reachable
            }
        }
    }
}

/// Logs that the upstream was lost, or is back.
fn log_upstream(config: &Config, reachable: bool) {
    let (level, message) =
        if reachable { (LogLevel::Info, "upstream back") } else { (LogLevel::Warning, "upstream lost") };
    let members = [("url".to_owned(), config.upstream.url.to_string().into())];
    events::lifecycle(level, message, &Map::from_iter(members));
}

/// The cache section of the health page. The admin listener's `/stats` has the same one.
pub(crate) async fn cache_section(shared: &Shared) -> Map<String, Value> {
    section(shared.store.status().await, shared)
}

fn section(store: StoreStatus, shared: &Shared) -> Map<String, Value> {
    let mut section = Map::new();
    section.insert("store".to_owned(), store.name.into());
    section.insert("connected".to_owned(), store.connected.into());
    section.insert("total_keys".to_owned(), store.total_keys.into());
    section.insert("memory_used".to_owned(), store.memory_used.map(human_bytes).into());
    if let Some(replicas) = store.replicas {
        section.insert("replicas".to_owned(), replicas.into());
    }
    if let Some(problem) = store.problem {
        section.insert("store_problem".to_owned(), problem.into());
    }
    section.extend(shared.stats.cache_section());
    section
}
