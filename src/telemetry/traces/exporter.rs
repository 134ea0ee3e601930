//! The task that sends spans to the collector.

use std::{io, sync::Arc, time::Duration};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::InstrumentationScope;
use opentelemetry_http::{HttpClient, hyper::HyperClient};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SpanExporter as _};
use serde_json::{Map, json};
use thiserror::Error;
use tokio::{
    sync::oneshot,
    time::{interval, timeout},
};

use super::{
    Span,
    queue::{BATCH, Queue},
};
use crate::{config::LogLevel, telemetry::log::events};

/// How long a span waits at most before it is sent.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the collector may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The collector's path for traces, behind its base (OTLP, section "OTLP/HTTP request").
const PATH: &str = "/v1/traces";

/// Why spans cannot be exported.
#[derive(Debug, Error)]
pub(crate) enum ExporterError {
    /// The collector is reached over TLS.
    #[error(
        "no root certificates were found ({0}); install ca-certificates, or name a bundle in SSL_CERT_FILE"
    )]
    Certificates(io::Error),
    /// A variable of OpenTelemetry's own, such as `OTEL_EXPORTER_OTLP_HEADERS`, is wrong.
    #[error("{0}; see the variables OTEL_EXPORTER_OTLP_*")]
    Settings(ExporterBuildError),
}

#[derive(Debug)]
pub(super) struct Exporter {
    queue: Arc<Queue>,
    exporter: SpanExporter,
    scope: InstrumentationScope,
    /// Whether the last batch was lost.
    is_failing: bool,
}

impl Exporter {
    pub(super) fn new(endpoint: &Uri, queue: Arc<Queue>) -> Result<Self, ExporterError> {
        let is_https = endpoint.scheme_str() == Some("https");
        let client: Arc<dyn HttpClient> = if is_https {
            Arc::new(HyperClient::new(tls_connector()?, TIMEOUT, None))
        } else {
            Arc::new(HyperClient::with_default_connector(TIMEOUT, None))
        };
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(traces_url(endpoint))
            .with_timeout(TIMEOUT)
            .with_shared_http_client(client)
            .build()
            .map_err(ExporterError::Settings)?;
        exporter.set_resource(&resource());
        let scope =
            InstrumentationScope::builder("sidecache").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self { queue, exporter, scope, is_failing: false })
    }

    /// Sends spans until `stopped`, then the last ones.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut interval = interval(INTERVAL);
        loop {
            let is_last = tokio::select! {
                _ = interval.tick() => false,
                () = self.queue.batch() => false,
                _ = &mut stopped => true,
            };
            self.send_all().await;
            if is_last {
                return;
            }
        }
    }

    async fn send_all(&mut self) {
        let mut spans = self.queue.take();
        while !spans.is_empty() {
            let rest = spans.split_off(spans.len().min(BATCH));
            self.send(spans).await;
            spans = rest;
        }
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let count = spans.len();
        let batch = spans.into_iter().map(|span| span.into_data(&self.scope)).collect();
        let failure = match timeout(TIMEOUT, self.exporter.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the collector did not answer in time".to_owned()),
        };
        if let Some(reason) = failure {
            self.queue.dropped(count);
            if !std::mem::replace(&mut self.is_failing, true) {
                lifecycle(LogLevel::Warning, "traces cannot be exported: spans are dropped", Some(reason));
            }
        } else {
            self.queue.exported(count);
            if std::mem::replace(&mut self.is_failing, false) {
                lifecycle(LogLevel::Info, "traces are exported again", None);
            }
        }
    }
}

fn lifecycle(level: LogLevel, message: &str, reason: Option<String>) {
    let members = reason.map(|reason| ("reason".to_owned(), json!(reason)));
    events::lifecycle(level, message, &Map::from_iter(members));
}

/// What sends the spans: `service.name` and so on, with what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say.
fn resource() -> Resource {
    let named = |variable: &str| std::env::var(variable).is_ok_and(|value| value.contains("service.name="));
    let is_named = std::env::var_os("OTEL_SERVICE_NAME").is_some() || named("OTEL_RESOURCE_ATTRIBUTES");
    let builder = Resource::builder();
    if is_named { builder.build() } else { builder.with_service_name("sidecache").build() }
}

/// The collector's URL for traces: its base, as `OTEL_EXPORTER_OTLP_ENDPOINT` names it, or the whole.
fn traces_url(endpoint: &Uri) -> String {
    let endpoint = endpoint.to_string();
    let base = endpoint.trim_end_matches('/');
    if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") }
}

fn tls_connector() -> Result<HttpsConnector<HttpConnector>, ExporterError> {
    let builder = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(ExporterError::Certificates)?;
    Ok(builder.https_only().enable_http1().build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_for_traces_follows_the_base() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example/otlp", "https://collector.example/otlp/v1/traces"),
            ("https://collector.example/otlp/v1/traces", "https://collector.example/otlp/v1/traces"),
        ] {
            assert_eq!(traces_url(&Uri::from_static(endpoint)), url);
        }
    }
}
