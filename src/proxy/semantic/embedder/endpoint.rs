//! An endpoint that is compatible with OpenAI's: `POST /v1/embeddings`
//! (<https://platform.openai.com/docs/api-reference/embeddings/create>).

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    EmbedderError, answer,
    calls::{CallError, MAX_CALLS},
};
use crate::{
    config::{ModelEndpoint, TargetUrl, UpstreamConfig},
    proxy::{
        body::RequestBody,
        upstream::{Repeat, Upstream, hop::Hop},
    },
    telemetry::log::events::exc_info,
};

/// How long the server may take for a connection, for its answer, and between two pieces of that.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer, in bytes: a vector of 8,000 numbers takes a fifth of it.
const MAX_ANSWER: usize = 1 << 20;

/// A client of the endpoint. It follows no redirects: the token is for this server.
#[derive(Debug)]
pub(super) struct Endpoint {
    client: Upstream,
    config: UpstreamConfig,
    endpoint: ModelEndpoint,
}

impl Endpoint {
    /// # Errors
    /// If the system's certificates or the file with the token are of no use.
    pub(super) fn open(endpoint: &ModelEndpoint) -> Result<Self, EmbedderError> {
        if let Some(path) = &endpoint.api_key_file {
            authorization(path).map_err(EmbedderError)?;
        }
        let config = endpoint.url.upstream(None, PATIENCE);
        // Besides the calls for requests, the probe's.
        let permits = Arc::new(Semaphore::new(MAX_CALLS + 1));
        let client = Upstream::new(&config, permits, Arc::default(), Hop::random());
        let client = client.map_err(|error| EmbedderError(format!("semantic.embeddings: {error}")))?;
        Ok(Self { client, config, endpoint: endpoint.clone() })
    }

    pub(super) const fn url(&self) -> &TargetUrl {
        &self.endpoint.url
    }

    pub(super) fn model(&self) -> &str {
        &self.endpoint.model
    }

    /// Asks for the vector of `text`.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn call(&self, text: &str) -> Result<Vec<f32>, CallError> {
        let request = self.request(text).map_err(CallError::Failed)?;
        // Asked twice, a model says the same twice.
        let sent = self.client.send(&self.config, request, Repeat::Safe).await;
        // The server is an upstream only to the code that asks it.
        let response = sent.map_err(|error| {
            CallError::Failed(self.named(&exc_info(&error).replace("the upstream", "the server")))
        })?;
        let status = response.status();
        if status != StatusCode::OK {
            let reason = self.named(&format!("the server answered {}", status.as_u16()));
            return Err(match status {
                // That is about the text.
                StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY => CallError::Refused(reason),
                _ => CallError::Failed(reason),
            });
        }
        match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
            Ok(body) => answer::vector(&body.to_bytes()).map_err(|reason| CallError::Odd(self.named(reason))),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(CallError::Odd(self.named(&format!("the answer is larger than {MAX_ANSWER} bytes"))))
            }
            Err(error) => Err(CallError::Failed(self.named(&error.to_string()))),
        }
    }

    fn request(&self, text: &str) -> Result<Request<RequestBody>, String> {
        let body = json!({"model": self.endpoint.model, "input": [text]}).to_string();
        let mut request = Request::new(RequestBody::from(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.url.target.parse().map_err(|_| self.named("is no URL"))?;
        let headers = request.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, json.clone());
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(path) = &self.endpoint.api_key_file {
            headers.insert(header::AUTHORIZATION, authorization(path)?);
        }
        Ok(request)
    }

    /// `reason` behind the setting and what it names without a query, which may have a secret.
    fn named(&self, reason: &str) -> String {
        let url = &self.endpoint.url;
        format!("semantic.embeddings: {}{}: {reason}", url.server, url.path())
    }
}

/// The token in the file, as a header. The file is small and local: no thread waits for it.
fn authorization(path: &Path) -> Result<HeaderValue, String> {
    let named = |reason: &str| format!("semantic.api_key_file: {}: {reason}", path.display());
    let text = fs::read_to_string(path).map_err(|error| named(&error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(named(
            "has no token that a header can carry; write it in one line of ASCII, without spaces",
        ));
    }
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| named("has no token that a header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}
