//! A question on an exact miss: its search, which runs beside the call of the service.

use std::{sync::Arc, time::SystemTime};

use tokio::{
    sync::OwnedSemaphorePermit,
    task::{JoinHandle, spawn_blocking},
};

use super::{audit::Audit, embedder::Terms, state::Semantic};
use crate::{
    cache::semantic::{
        index::{Nearest, Search},
        question::Question,
        vector::Vector,
    },
    proxy::context::RequestContext,
    telemetry::log::events,
    time::unix_millis,
};

/// A question, and what is near. It travels with the fill, and the service's answer labels it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) context: Arc<RequestContext>,
    pub(super) semantic: Arc<Semantic>,
    pub(super) asked: Arc<Asked>,
    search: Progress,
    /// If the question was served by meaning, and is asked all the same.
    pub(super) audit: Option<Audit>,
}

/// A question and its key.
#[derive(Debug)]
pub(super) struct Asked {
    /// Without the namespace.
    pub(super) key: Box<str>,
    pub(super) question: Question,
}

/// What a search found.
#[derive(Debug)]
pub(super) struct Searched {
    /// Of the question's text.
    pub(super) vector: Vector,
    /// The embedder that made it.
    pub(super) embedder: Box<str>,
    pub(super) nearest: Nearest,
}

#[derive(Debug)]
enum Progress {
    /// Those who follow a running answer need no search.
    NotBegun,
    Running(JoinHandle<Option<Searched>>),
    Done(Option<Arc<Searched>>),
}

impl Pending {
    pub(super) const fn new(
        context: Arc<RequestContext>,
        semantic: Arc<Semantic>,
        asked: Arc<Asked>,
    ) -> Self {
        Self { context, semantic, asked, search: Progress::NotBegun, audit: None }
    }

    /// Begins the search, if it has not begun. With very many searches at once, this one is left out.
    pub(crate) fn begin(&mut self) {
        if !matches!(self.search, Progress::NotBegun) {
            return;
        }
        self.search = match Arc::clone(&self.semantic.searches).try_acquire_owned() {
            Ok(permit) => {
                let (context, semantic) = (Arc::clone(&self.context), Arc::clone(&self.semantic));
                let search = search(context, semantic, Arc::clone(&self.asked), permit);
                Progress::Running(tokio::spawn(search))
            }
            Err(_) => Progress::Done(None),
        };
    }

    /// The settings for another vector.
    pub(super) fn terms(&self) -> Terms<'_> {
        terms(&self.context, &self.semantic)
    }

    /// What the search found; `None` if there is no vector. A caller who waits no longer can come back.
    pub(super) async fn searched(&mut self) -> Option<Arc<Searched>> {
        self.begin();
        if let Progress::Running(search) = &mut self.search {
            let found = search.await.ok().flatten();
            self.search = Progress::Done(found.map(Arc::new));
        }
        match &self.search {
            Progress::Done(found) => found.clone(),
            Progress::NotBegun | Progress::Running(_) => None,
        }
    }
}

/// The settings for a vector.
pub(super) fn terms<'a>(context: &'a RequestContext, semantic: &Semantic) -> Terms<'a> {
    let live = context.live();
    Terms {
        store: &live.shared.store,
        context: &live.classify_context,
        ttl: live.config.ttls.embedding,
        timeout: semantic.config().timeout,
    }
}

/// Embeds the question, and looks for what is near.
async fn search(
    context: Arc<RequestContext>,
    semantic: Arc<Semantic>,
    asked: Arc<Asked>,
    _permit: OwnedSemaphorePermit,
) -> Option<Searched> {
    let (vector, embedder) = semantic.embed(&terms(&context, &semantic), &asked.question.text).await?;
    let (of_search, of_asked) = (vector.clone(), Arc::clone(&asked));
    // Milliseconds where there are very many questions: no other request of this thread waits for that.
    let look = move || {
        let Asked { key, question } = &*of_asked;
        semantic.index.nearest(&Search {
            partition: question.partition,
            vector: &of_search,
            signature: &question.signature,
            own_key: key,
            needs_two_callers: question.caller.is_some(),
            now: unix_millis(SystemTime::now()),
        })
    };
    let nearest = spawn_blocking(look).await.ok()?;
    note_refused(&context, &asked, &nearest);
    Some(Searched { vector, embedder, nearest })
}

/// Counts what a guard refused; logs it if nothing else is near.
fn note_refused(context: &RequestContext, asked: &Asked, nearest: &Nearest) {
    let Some((refused, guard)) = &nearest.refused else { return };
    context.shared().stats.here().semantic.refused(*guard);
    if nearest.neighbours.is_empty() {
        events::semantic_refused(&events::SemanticRefused {
            request_id: Some(&context.exchange.id),
            route: &context.route.name,
            asked: &asked.key,
            nearest: &refused.key,
            similarity: refused.similarity,
            guard: *guard,
        });
    }
}
