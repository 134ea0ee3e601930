//! Where keys come from: a server, or a file.

use std::{fs, path::PathBuf, sync::Arc};

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;

use super::JwksError;
use crate::{
    cache::identity::{KeySet, keys::MAX_SET},
    config::{JWKS_PATIENCE, JwksSource, UpstreamConfig},
    proxy::{
        body::RequestBody,
        upstream::{Repeat, Upstream, hop::Hop},
    },
    telemetry::log::events::exc_info,
    tls::{self, Stamp},
};

/// Where keys come from.
#[derive(Debug)]
pub(super) enum Source {
    Server(Box<Server>),
    File(File),
}

#[derive(Debug)]
pub(super) struct Server {
    client: Upstream,
    config: UpstreamConfig,
    target: String,
}

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// What the file was when it was last read.
    stamp: Stamp,
}

impl Source {
    /// # Errors
    /// If the authorities that vouch for the server are of no use.
    pub(super) fn open(source: &JwksSource) -> Result<Self, JwksError> {
        let (url, ca) = match source {
            JwksSource::File(path) => return Ok(Self::File(File { path: path.clone(), stamp: None })),
            JwksSource::Url(url, ca) => (url, ca),
        };
        if let Some(path) = ca {
            // Its errors name the setting.
            tls::roots("jwks.ca", path).map_err(|error| JwksError(error.to_string()))?;
        }
        let config = url.upstream(ca.clone(), JWKS_PATIENCE);
        let client = Upstream::new(&config, Arc::new(Semaphore::new(1)), Arc::default(), Hop::random());
        let client = client.map_err(|error| JwksError(format!("jwks.url: {error}")))?;
        Ok(Self::Server(Box::new(Server { client, config, target: url.target.clone() })))
    }

    /// Whether it is a file that has changed since it was read.
    pub(super) fn has_changed(&self) -> bool {
        matches!(self, Self::File(file) if file.stamp != tls::stamp(&file.path))
    }

    pub(super) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Gets the keys, which are the `number`th ones and count until `until`.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn load(&mut self, number: u64, until: u64) -> Result<KeySet, JwksError> {
        let text = match self {
            Self::File(file) => file.read(),
            Self::Server(server) => server.get().await,
        };
        self.parse(text, number, until)
    }

    /// Reads the keys, if they are in a file.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) fn load_file(&mut self, number: u64) -> Result<Option<KeySet>, JwksError> {
        let Self::File(file) = self else { return Ok(None) };
        let text = file.read();
        self.parse(text, number, u64::MAX).map(Some)
    }

    fn parse(&self, text: Result<Vec<u8>, String>, number: u64, until: u64) -> Result<KeySet, JwksError> {
        let keys = text.and_then(|text| KeySet::parse(&text, number, until));
        keys.map_err(|reason| JwksError(format!("{}: {reason}", self.name())))
    }

    /// The setting, and what it names without a query, which may have a secret.
    fn name(&self) -> String {
        match self {
            Self::File(file) => format!("jwks.file: {}", file.path.display()),
            Self::Server(server) => {
                let path = server.target.split('?').next().unwrap_or_default();
                format!("jwks.url: {}{path}", server.config.url)
            }
        }
    }
}

impl File {
    fn read(&mut self) -> Result<Vec<u8>, String> {
        // Before it is read: what changes meanwhile is read again.
        self.stamp = tls::stamp(&self.path);
        let text = fs::read(&self.path).map_err(|error| error.to_string())?;
        if text.len() > MAX_SET { Err(too_large()) } else { Ok(text) }
    }
}

impl Server {
    async fn get(&self) -> Result<Vec<u8>, String> {
        let mut request = Request::new(RequestBody::empty());
        *request.uri_mut() = self.target.parse().map_err(|_| "is no URL".to_owned())?;
        let accepts = HeaderValue::from_static("application/jwk-set+json, application/json");
        request.headers_mut().insert(header::ACCEPT, accepts);
        let sent = self.client.send(&self.config, request, Repeat::Safe).await;
        // The server is an upstream only to the code that asks it.
        let response = sent.map_err(|error| exc_info(&error).replace("the upstream", "the server"))?;
        if response.status() != StatusCode::OK {
            return Err(format!("the server answered {}", response.status().as_u16()));
        }
        match Limited::new(response.into_body(), MAX_SET).collect().await {
            Ok(body) => Ok(body.to_bytes().to_vec()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn too_large() -> String {
    format!("is larger than {MAX_SET} bytes")
}
