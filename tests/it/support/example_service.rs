//! The example service as an upstream.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle};

use super::rag::{Options, Service, builtin_docs, serve};

/// The example service on a port of its own, until it is dropped.
pub(crate) struct ExampleService {
    service: Arc<Service>,
    url: String,
    task: JoinHandle<()>,
}

impl ExampleService {
    /// A service that answers everyone at once.
    pub(crate) async fn start() -> Self {
        let service = Service::new(Options { docs: builtin_docs(), delay: Duration::ZERO });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(serve(listener, Arc::clone(&service), std::future::pending()));
        Self { service, url, task }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many requests a path got.
    pub(crate) fn calls(&self, path: &str) -> u64 {
        self.service.calls(path)
    }
}

impl Drop for ExampleService {
    fn drop(&mut self) {
        self.task.abort();
    }
}
