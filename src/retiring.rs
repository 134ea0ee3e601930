//! What a request retires once it has succeeded, and the care that this happens.

use std::{mem, sync::Arc};

use http::{HeaderMap, Method, Response};

use crate::{
    generations::Subject,
    route::Route,
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
    subjects: Vec<Subject>,
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
        let kinds = covering.map(|route| &route.invalidates[..]).unwrap_or_default();
        let mut subjects: Vec<_> = kinds.iter().copied().map(Subject::Kind).collect();
        if is_write {
            subjects.extend(live.terms.resources.changed(path, None));
        }
        (is_write || !subjects.is_empty()).then(|| Self {
            shared: Arc::clone(shared),
            live: Arc::clone(live),
            path: Arc::clone(path),
            is_write,
            subjects,
        })
    }

    /// Retires what it has to, once `response` is there; without one, nobody knows what was done.
    pub async fn settle<B>(mut self, response: Option<&Response<B>>) {
        let refused =
            |response: &Response<B>| !response.status().is_success() && !response.status().is_redirection();
        if response.is_some_and(refused) {
            self.subjects.clear();
            return;
        }
        if let Some(headers) = response.map(Response::headers) {
            self.learn(headers);
        }
        if !self.subjects.is_empty() {
            retire(&self.shared, &self.subjects).await;
            self.subjects.clear();
        }
    }

    /// What the response says it made or changed.
    fn learn(&mut self, headers: &HeaderMap) {
        if self.is_write {
            let changed = self.live.terms.resources.changed(&self.path, Some(headers));
            let kinds = mem::take(&mut self.subjects);
            let kinds = kinds.into_iter().filter(|subject| matches!(subject, Subject::Kind(_)));
            self.subjects = kinds.chain(changed).collect();
        }
    }
}

impl Drop for Retiring {
    fn drop(&mut self) {
        let subjects = mem::take(&mut self.subjects);
        if !subjects.is_empty() {
            let shared = Arc::clone(&self.shared);
            self.shared.tasks.spawn(async move { retire(&shared, &subjects).await });
        }
    }
}

/// Retires; where other replicas could not be told, they will be.
pub async fn retire(shared: &Shared, subjects: &[Subject]) {
    if shared.store.retire(subjects).await.is_err() {
        shared.stats.errors.increment();
    }
}
