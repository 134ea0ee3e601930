//! The listener for operators.
//!
//! - `guard`: who may call
//! - `call`: which call it is
//! - `entries`, `draft`: entries, one by one
//! - `purge`, `selection`: many of them
//! - `refusal`: what a call is refused with

pub mod auth;
mod call;
mod entries;
pub mod error;
pub mod new_entry;
mod purge;
mod selection;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use serde_json::Value;
use tokio::sync::Semaphore;

use self::{call::Call, error::AdminError};
use crate::{
    http::validation::check_length,
    proxy::{
        Proxy,
        body::{self, ReadLimits, ResponseBody},
        health::cache_section,
        response,
        state::Live,
    },
    request::{client_body::ClientBody, connection::Connection, dispatch::HealthPage},
};

/// The listener for operators.
#[derive(Debug)]
pub(crate) struct Admin {
    proxy: Arc<Proxy>,
    /// Bounds the sweeps under way.
    sweeps: Arc<Semaphore>,
}

impl Admin {
    /// The operators' view of `proxy`.
    pub(crate) fn new(proxy: Arc<Proxy>) -> Self {
        Self { proxy, sweeps: Arc::new(Semaphore::new(purge::MAX_SWEEPS)) }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// None.
    pub(crate) async fn handle(
        &self,
        request: Request<ClientBody>,
        caller: &Connection,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let live = self.proxy.live.load_full();
        let (parts, body) = request.into_parts();
        Ok(self.answer(&live, &parts, body, caller).await.unwrap_or_else(AdminError::response))
    }

    async fn answer(
        &self,
        live: &Live,
        parts: &Parts,
        body: ClientBody,
        caller: &Connection,
    ) -> Result<Response<ResponseBody>, AdminError> {
        let config = &live.config.admin;
        check_length(&parts.headers).map_err(AdminError::framing)?;
        auth::check_name(parts, config)?;
        if let Some(page) =
            HealthPage::from_request(&live.config.health_path, &parts.method, parts.uri.path())
        {
            return Ok(self.proxy.health.page(page, &live.config, &self.proxy.shared, &parts.method).await);
        }
        auth::check_token(&parts.headers, config)?;
        let call = Call::of(parts, live.classify_context.namespace)?;
        let text = if call.changes() {
            auth::check_type(&parts.headers)?;
            let limits = &live.config.limits;
            let limits = ReadLimits { bytes: limits.max_body, pause: limits.body_timeout };
            body::read(body, limits, || caller.half_close.needs_more()).await?
        } else {
            Bytes::new()
        };
        let answer = self.carry_out(live, call, &text).await?;
        Ok(response::json(StatusCode::OK, answer.to_string().into_bytes()))
    }

    async fn carry_out(&self, live: &Live, call: Call, text: &[u8]) -> Result<Value, AdminError> {
        let shared = &self.proxy.shared;
        match call {
            Call::Stats => Ok(Value::Object(cache_section(shared).await)),
            Call::List { kind, limit } => entries::list(live, shared, kind, limit).await,
            Call::Show(key) => entries::show(shared, &key).await,
            Call::Put(key) => entries::put(live, shared, &key, text).await,
            Call::Remove(key) => entries::remove(shared, &key).await,
            Call::Purge => purge::purge(live, shared, &self.sweeps, text).await,
        }
    }
}
