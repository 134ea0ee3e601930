//! `sidecache health`: asks a running sidecache, where its clients do, how it is. For health checks of images and probes,
//! which run a command in the container: they need no admin listener and no token.

use std::time::Duration;

use clap::Args;
use http::{Request, StatusCode};
use tokio::time::timeout;

use super::{
    Exit,
    client::{Client, explain_error, listener_url, local_url, whole},
};
use crate::{config::Config, proxy::body::RequestBody};

/// How long the answer may take. The page itself waits half a second for the service.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only whether it runs (/health/live).
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Whether it takes requests (/health/ready).
    #[arg(long)]
    ready: bool,
    /// The running sidecache [default: what listen says].
    #[arg(long, value_name = "URL", value_parser = listener_url)]
    proxy: Option<String>,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    match timeout(PATIENCE, ask(config, arguments)).await {
        Ok(Ok(page)) => Exit::success(page + "\n"),
        Ok(Err(error)) => Exit::failure(error),
        Err(_) => Exit::failure(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// The page, if its status is 200.
async fn ask(config: &Config, arguments: &Arguments) -> Result<String, String> {
    let url = match &arguments.proxy {
        Some(url) => url.clone(),
        None => local_url(&config.listen, config.tls.is_some(), "--proxy")?,
    };
    let page = match (arguments.live, arguments.ready) {
        (true, _) => "/live",
        (_, true) => "/ready",
        _ => "",
    };
    let client = Client::new(&url, 1)?;
    let request = Request::get(format!("{}{page}", config.health_path)).body(RequestBody::empty());
    let request = request.map_err(|error| error.to_string())?;
    let response = client.send(request).await.map_err(|error| explain_error(&client, &error))?;
    let status = response.status();
    let body = whole(&client, response.into_body()).await?;
    let page = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK {
        Ok(page)
    } else {
        Err(format!("{url}: status {}: {page}", status.as_u16()))
    }
}
