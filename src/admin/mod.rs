//! The admin listener: the operators' API.
//!
//! A call passes `auth` first, then `call` says which one it is. `entries` and `new_entry` do what concerns
//! one entry, `list`, `purge` and `selection` what concerns many, `semantic` and `nearest`
//! what concerns hits by meaning, `page` is for people. It listens on a port of its own, so that no client
//! of the service can reach it by a path.

mod auth;
mod call;
mod entries;
mod error;
mod history;
mod list;
mod metrics;
mod nearest;
mod new_entry;
mod overview;
mod page;
mod purge;
mod requests;
mod selection;
mod semantic;
mod suggest;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub(crate) use self::history::keep as keep_history;
use self::{call::Call, error::AdminError};
use crate::{
    http::validation::check_length,
    proxy::{
        Proxy,
        body::{self, ReadLimits},
        health::cache_section,
        reload::Reloaded,
        response::{self, body::ResponseBody},
        state::{Live, Shared},
    },
    request::{client_body::ClientBody, connection::Connection, dispatch::HealthPage},
};

/// Answers the operators' requests.
#[derive(Debug)]
pub(crate) struct Admin {
    proxy: Arc<Proxy>,
    /// A permit for each sweep under way.
    sweeps: Arc<Semaphore>,
}

impl Admin {
    pub(crate) fn new(proxy: Arc<Proxy>) -> Self {
        Self { proxy, sweeps: Arc::new(Semaphore::new(purge::MAX_SWEEPS)) }
    }

    /// Never fails: an error is a response, too. The result is what
    /// [`Server::run`](crate::server::Server::run) takes.
    pub(crate) async fn handle(
        &self,
        request: Request<ClientBody>,
        caller: &Connection,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let live = self.proxy.live.load_full();
        let (parts, body) = request.into_parts();
        Ok(self.respond(&live, &parts, body, caller).await.unwrap_or_else(AdminError::into_response))
    }

    async fn respond(
        &self,
        live: &Arc<Live>,
        parts: &Parts,
        body: ClientBody,
        caller: &Connection,
    ) -> Result<Response<ResponseBody>, AdminError> {
        let config = &live.config.admin;
        check_length(&parts.headers).map_err(AdminError::framing)?;
        auth::check_host(parts, config)?;
        if let Some(page) =
            HealthPage::from_request(&live.config.health_path, &parts.method, parts.uri.path())
        {
            return Ok(self.proxy.health.page(page, live, &parts.method).await);
        }
        if let Some(file) = page::file(parts) {
            return file;
        }
        auth::check_token(&parts.headers, config)?;
        let call = Call::parse(parts, live.classify_context.namespace)?;
        let body = if call.is_write() {
            auth::check_content_type(&parts.headers)?;
            let limits = &live.config.limits;
            let limits = ReadLimits { bytes: limits.max_body, pause: limits.body_timeout };
            body::read(body, limits, || caller.half_close.needs_more()).await?
        } else {
            Bytes::new()
        };
        if let Call::Requests(_) = call {
            // It has no end of its own: who leaves is let go.
            caller.half_close.waits_elsewhere();
        }
        self.execute(live, call, (&parts.headers, &body), caller).await
    }

    async fn execute(
        &self,
        live: &Arc<Live>,
        call: Call,
        (headers, body): (&HeaderMap, &[u8]),
        caller: &Connection,
    ) -> Result<Response<ResponseBody>, AdminError> {
        let shared = &self.proxy.shared;
        let answer = match call {
            Call::Metrics => return Ok(metrics::page(&self.proxy, live, headers).await),
            Call::Requests(filter) => return requests::stream(shared, filter),
            Call::Stats => Value::Object(cache_section(shared).await),
            Call::Suggest => suggest::suggest(live, shared),
            Call::Overview => overview::overview(&self.proxy, live).await,
            Call::History(range) => history::history(shared, range),
            Call::List(query) => list::list(live, shared, query).await?,
            Call::Show(key) => entries::show(shared, &key).await?,
            Call::Put(key) => entries::put(live, shared, &key, body).await?,
            Call::Remove(key) => entries::remove(shared, &key).await?,
            Call::Wrong(key) => semantic::wrong(live, &key)?,
            Call::Nearest => nearest::nearest(live, caller, body).await?,
            Call::Reload => reload(shared).await?,
            Call::Purge => purge::purge(live, shared, &self.sweeps, body).await?,
        };
        Ok(response::json(StatusCode::OK, answer.to_string().into_bytes()))
    }
}

/// `POST /reload`
async fn reload(shared: &Shared) -> Result<Value, AdminError> {
    match shared.reloads.ask().await {
        Some(Ok(Reloaded { changed, waiting_for_restart })) => {
            Ok(json!({"changed": changed, "waiting_for_restart": waiting_for_restart}))
        }
        Some(Err(errors)) => {
            let message = format!("the old settings stay: {}", errors.join("; "));
            Err(AdminError::new(StatusCode::UNPROCESSABLE_ENTITY, message))
        }
        None => Err(AdminError::new(StatusCode::NOT_IMPLEMENTED, "whoever runs this sidecache reloads it")),
    }
}
