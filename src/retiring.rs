//! What a request retires once it has succeeded, and the care that this happens.

use std::sync::Arc;

use http::{HeaderMap, Method, Response};

use crate::{
    generations::Subject,
    route::{Kind, Route},
    state::{Live, Shared},
};

/// What a request may retire. Dropped before it is known how the request went (its client has left), it retires all
/// the same: the upstream may have done what it was asked for.
#[derive(Debug)]
pub struct Retiring {
    shared: Arc<Shared>,
    live: Arc<Live>,
    path: Arc<str>,
    /// Whether it writes.
    is_write: bool,
    /// What the route that covers it says.
    kinds: Vec<Kind>,
    settled: bool,
}

impl Retiring {
    /// Of a request that `covering` covers, if any route does; `None` where it retires nothing.
    pub fn of(
        shared: &Arc<Shared>,
        live: &Arc<Live>,
        method: &Method,
        path: &Arc<str>,
        covering: Option<&Route>,
    ) -> Option<Self> {
        let is_write = [Method::PUT, Method::PATCH, Method::POST, Method::DELETE].contains(method);
        let kinds = covering.map(|route| route.invalidates.clone()).unwrap_or_default();
        (is_write || !kinds.is_empty()).then(|| Self {
            shared: Arc::clone(shared),
            live: Arc::clone(live),
            path: Arc::clone(path),
            is_write,
            kinds,
            settled: false,
        })
    }

    /// Retires what it has to, once `response` is there; without one, nobody knows what was done.
    pub async fn settle<B>(mut self, response: Option<&Response<B>>) {
        let refused =
            |response: &Response<B>| !response.status().is_success() && !response.status().is_redirection();
        if !response.is_some_and(refused) {
            retire(&self.shared, &self.subjects(response.map(Response::headers))).await;
        }
        self.settled = true;
    }

    fn subjects(&self, response: Option<&HeaderMap>) -> Vec<Subject> {
        let resources = &self.live.terms.resources;
        let changed = if self.is_write { resources.changed(&self.path, response) } else { Vec::new() };
        self.kinds.iter().copied().map(Subject::Kind).chain(changed).collect()
    }
}

impl Drop for Retiring {
    fn drop(&mut self) {
        if !self.settled {
            let (shared, subjects) = (Arc::clone(&self.shared), self.subjects(None));
            self.shared.tasks.spawn(async move { retire(&shared, &subjects).await });
        }
    }
}

/// Retires; where other replicas could not be told, they will be.
pub async fn retire(shared: &Shared, subjects: &[Subject]) {
    if !subjects.is_empty() && shared.store.retire(subjects).await.is_err() {
        shared.stats.errors.increment();
    }
}
