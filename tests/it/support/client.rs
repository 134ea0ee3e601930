//! A client: requests whole, answers whole or as they come.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use super::{Sidecache, soon};

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// `X-Cache`; empty if there is none.
    pub(crate) fn cache(&self) -> &str {
        self.header("x-cache")
    }

    /// The `detail` of sidecache's member of `Cache-Status`.
    pub(crate) fn detail(&self) -> Option<&str> {
        self.header("cache-status").split("; ").find_map(|part| part.strip_prefix("detail="))
    }

    /// The entry's key, as `Cache-Status` has it.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        let received = self.header("cache-status");
        let key = received.split("; ").find_map(|part| part.strip_prefix("key="));
        key.unwrap_or_else(|| panic!("no key: {received:?}")).trim_matches('"').to_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("text"))
}

/// An answer whose body is still coming.
#[derive(Debug)]
pub(crate) struct Streaming {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// What has come so far.
    pub(crate) text: String,
}

impl Streaming {
    /// `X-Cache`; empty if there is none.
    pub(crate) fn cache(&self) -> &str {
        header(&self.headers, "x-cache")
    }

    /// Reads on until `end` has come.
    pub(crate) async fn until(&mut self, end: &str) {
        while !self.text.ends_with(end) {
            let more = soon(end, self.more()).await.expect("no cut");
            assert!(more, "the body ended without {end:?}: {:?}", self.text);
        }
    }

    /// Reads to the end, and gives all that came; an error where the body was cut.
    pub(crate) async fn rest(mut self) -> Result<String, String> {
        while soon("the rest", self.more()).await? {}
        Ok(self.text)
    }

    /// Reads to the end; returns the rest as bytes.
    pub(crate) async fn bytes(self) -> Result<Vec<u8>, String> {
        let whole = soon("the rest", self.body.collect()).await.map_err(|error| error.to_string())?;
        Ok(whole.to_bytes().into())
    }

    /// Reads what comes next and forgets it; how many bytes that was.
    pub(crate) async fn skip(&mut self) -> usize {
        assert!(soon("more", self.more()).await.expect("no cut"), "the body ended");
        std::mem::take(&mut self.text).len()
    }

    async fn more(&mut self) -> Result<bool, String> {
        match self.body.frame().await {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                self.text += std::str::from_utf8(&data).expect("text");
                Ok(true)
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(false),
        }
    }
}

/// A client of one server.
#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    base: String,
}

impl Client {
    /// An HTTP/1.1 client.
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self::with(server, false)
    }

    /// An HTTP/2 client that knows that its server speaks it.
    pub(crate) fn h2c(server: SocketAddr) -> Self {
        Self::with(server, true)
    }

    fn with(server: SocketAddr, http2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = legacy::Client::builder(TokioExecutor::new()).http2_only(http2).build(connector);
        Self { http, base: format!("http://{server}") }
    }

    /// Sends a request, and gives the answer as soon as its head is there.
    pub(crate) async fn try_open(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Streaming, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let sent = soon("an answer", self.http.request(request)).await;
        let (parts, body) = sent.map(Response::into_parts).map_err(|error| format!("{error:?}"))?;
        Ok(Streaming { status: parts.status.as_u16(), headers: parts.headers, body, text: String::new() })
    }

    /// Like [`Self::try_open`], where an answer must come.
    pub(crate) async fn open(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Streaming {
        self.try_open(method, target, headers, body).await.expect("an answer")
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let streaming = self.open(method, target, headers, body).await;
        let body = soon("the body", streaming.body.collect()).await.expect("a whole body").to_bytes();
        Answer { status: streaming.status, headers: streaming.headers, body }
    }

    /// `GET`
    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[], "").await
    }

    /// `POST` of JSON.
    pub(crate) async fn post(&self, target: &str, body: &Value) -> Answer {
        self.post_with(target, &[], body).await
    }

    /// `POST` of JSON, with further headers.
    pub(crate) async fn post_with(&self, target: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.post_text(target, headers, &body.to_string()).await
    }

    /// `POST` of a text that is said to be JSON.
    pub(crate) async fn post_text(&self, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.request("POST", target, &all, body.to_owned()).await
    }

    /// `POST` of JSON for a stream.
    pub(crate) async fn stream(&self, target: &str, body: &Value) -> Streaming {
        self.open("POST", target, &[("content-type", "application/json")], body.to_string()).await
    }
}

impl From<&Sidecache> for Client {
    fn from(sidecache: &Sidecache) -> Self {
        Self::new(sidecache.address())
    }
}
