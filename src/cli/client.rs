//! The client that commands use to call a running sidecache.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{
    config::{ClientTls, Config, ListenAddress, UpstreamConfig, UpstreamUrl},
    http::headers::media_type,
    proxy::{
        body::RequestBody,
        error::{ErrorKind, ProxyError},
        upstream::body::UpstreamBody,
        upstream::{Repeat, Upstream, hop::Hop},
    },
    telemetry::log::events::exc_info,
};

/// No command takes as long.
const RESOLVE_EVERY: Duration = Duration::from_secs(3600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The default of `upstream.first_byte_timeout`: as long as the proxy itself waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// The largest answer to an admin call, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Client {
    upstream: Upstream,
    config: UpstreamConfig,
}

impl Client {
    /// A client of the listener at `url`, with at most `concurrency` requests at once.
    ///
    /// # Errors
    /// A text for the user, if the URL is wrong, or the system's certificates cannot be read.
    pub(super) fn new(url: &str, concurrency: usize) -> Result<Self, String> {
        let url = UpstreamUrl::parse(url)?;
        let config = UpstreamConfig {
            url,
            tls: ClientTls::default(),
            preserve_host: false,
            resolve_every: RESOLVE_EVERY,
            connect_timeout: CONNECT_TIMEOUT,
            first_byte_timeout: ANSWER_TIMEOUT,
            idle_timeout: ANSWER_TIMEOUT,
        };
        let upstream =
            Upstream::new(&config, Arc::new(Semaphore::new(concurrency)), Arc::default(), Hop::random())
                .map_err(|error| error.to_string())?;
        Ok(Self { upstream, config })
    }

    pub(super) fn url(&self) -> String {
        self.config.url.to_string()
    }

    /// Sends a request, and waits for the response's head.
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, ProxyError> {
        let repeat = Repeat::for_method(request.method(), false);
        self.upstream.send(&self.config, request, repeat).await
    }
}

/// Checks `--admin` and `--proxy`.
///
/// # Errors
/// A text for the user, if this is no URL.
pub(super) fn listener_url(text: &str) -> Result<String, String> {
    UpstreamUrl::parse(text).map(|_| text.to_owned())
}

/// The URL of the admin listener that `url` names, or else the configuration.
///
/// # Errors
/// A text for the user, if there is none.
pub(super) fn admin_url(url: Option<&str>, config: &Config) -> Result<String, String> {
    match (url, &config.admin.listen) {
        (Some(url), _) => Ok(url.to_owned()),
        (None, Some(address)) => local_url(address, config.admin.tls.is_some(), "--admin"),
        (None, None) => Err("admin.listen is off here: name the admin listener with --admin URL".to_owned()),
    }
}

/// The URL at which this machine can reach a listener's address; `flag` names another one.
///
/// # Errors
/// A text for the user, if there is none.
pub(super) fn local_url(address: &ListenAddress, is_tls: bool, flag: &str) -> Result<String, String> {
    let mut address = match address {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Unix(_) if !is_tls => return Ok(address.to_string()),
        ListenAddress::Unix(_) => {
            return Err(format!(
                "{address} is a socket file with TLS, which this command cannot call: name a URL with {flag}"
            ));
        }
    };
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = if is_tls { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}

/// Which running sidecache is called.
#[derive(Debug, Args)]
pub(super) struct AdminListener {
    /// The running sidecache's admin listener [default: what admin.listen says].
    #[arg(long, value_name = "URL", value_parser = listener_url)]
    admin: Option<String>,
}

impl AdminListener {
    /// `None` takes the configuration's.
    pub(super) fn url(&self) -> Option<&str> {
        self.admin.as_deref()
    }
}

/// An admin call: `POST` with a body, else `GET`.
#[derive(Debug)]
pub(super) struct AdminCall<'a> {
    /// The listener; `None` takes the configuration's.
    pub(super) url: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) body: Option<Value>,
    /// A member that every answer has. An answer without it comes from another service.
    pub(super) answer_member: &'static str,
}

impl AdminCall<'_> {
    /// Sends the call, and returns its answer.
    ///
    /// # Errors
    /// One line for the user: why there is no answer, and what to do about it.
    pub(super) async fn send(self, config: &Config) -> Result<Value, String> {
        let answer_member = self.answer_member;
        let (client, response) = self.answer(config).await?;
        let status = response.status();
        let body = whole(&client, response.into_body()).await?;
        match (status, serde_json::from_slice(&body)) {
            (StatusCode::OK, Ok(Value::Object(answer))) if answer.contains_key(answer_member) => {
                Ok(answer.into())
            }
            (status, answer) => Err(explain_refusal(&client, config, status, answer.unwrap_or_default())),
        }
    }

    /// Sends the call, and returns the body of its answer, which must be of type `media`, as it comes.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) async fn open(self, config: &Config, media: &str) -> Result<(Client, UpstreamBody), String> {
        let (client, response) = self.answer(config).await?;
        let status = response.status();
        if status == StatusCode::OK && media_type(response.headers()).is_some_and(|own| own == media) {
            return Ok((client, response.into_body()));
        }
        let body = whole(&client, response.into_body()).await?;
        Err(explain_refusal(&client, config, status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Sends the call, and returns its answer as a text of type `media`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) async fn text(self, config: &Config, media: &str) -> Result<String, String> {
        let (client, body) = self.open(config, media).await?;
        Ok(String::from_utf8_lossy(&whole(&client, body).await?).into_owned())
    }

    /// Sends the call.
    async fn answer(self, config: &Config) -> Result<(Client, Response<UpstreamBody>), String> {
        let client = Client::new(&admin_url(self.url, config)?, 1)?;
        let request = self.request(config)?;
        let response = client.send(request).await.map_err(|error| explain_error(&client, &error))?;
        Ok((client, response))
    }

    fn request(self, config: &Config) -> Result<Request<RequestBody>, String> {
        let method = if self.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(self.path);
        if self.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &config.admin.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| "ADMIN_TOKEN: is no token that a header can hold")?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let body = self.body.map_or_else(String::new, |body| body.to_string());
        request.body(RequestBody::from(Bytes::from(body))).map_err(|error| error.to_string())
    }
}

/// A whole body.
pub(super) async fn whole(client: &Client, body: UpstreamBody) -> Result<Bytes, String> {
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    Ok(body.map_err(|error| format!("{}: the answer broke off: {error}", client.url()))?.to_bytes())
}

/// Why there is no answer.
pub(super) fn explain_error(client: &Client, error: &ProxyError) -> String {
    let url = client.url();
    match error.kind {
        ErrorKind::UpstreamConnection if error.details.get("kind").is_some_and(|kind| kind == "tls") => {
            format!("{url}: {}", exc_info(error))
        }
        ErrorKind::UpstreamConnection => {
            format!("nothing answers at {url}: is sidecache running, and does it listen there?")
        }
        ErrorKind::UpstreamTimeout => format!("no answer from {url} in time"),
        _ => format!("{url} does not answer as HTTP should"),
    }
}

/// Why the answer is not the expected one.
fn explain_refusal(client: &Client, config: &Config, status: StatusCode, answer: Value) -> String {
    let url = client.url();
    let message = answer["error"].as_str().unwrap_or_default();
    match status {
        StatusCode::UNAUTHORIZED if config.admin.token.is_some() => {
            format!("{url} takes another token: set ADMIN_TOKEN to the one that sidecache was started with")
        }
        StatusCode::UNAUTHORIZED => {
            format!("{url} asks for a token: set ADMIN_TOKEN to the one that sidecache was started with")
        }
        _ if message.is_empty() || answer.get("path").is_some() => {
            format!(
                "{url} is no admin listener of sidecache (status {}): name it with --admin URL",
                status.as_u16()
            )
        }
        _ => format!("{url}: {message}"),
    }
}
