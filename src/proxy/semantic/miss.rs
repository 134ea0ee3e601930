//! An exact miss on a route with `semantic`: the question is read, and served by meaning if that is certified.
//!
//! Only where a hit is possible does the request wait for the search, before the service is asked. In all other cases the
//! search runs beside the call.

use std::{
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use bytes::Bytes;
use http::request::Parts;
use tokio::time::timeout;

use super::{
    audit::Audit,
    pending::{Asked, Pending},
    question::{caller, question},
    served::ServedPair,
    state::Semantic,
    status::SimilarHit,
};
use crate::{
    cache::{
        key::Key,
        request_directives::refuses_similar,
        semantic::{
            index::Neighbour,
            ledger::{Decision, Nearness},
        },
    },
    config::SemanticMode,
    proxy::{
        context::RequestContext,
        lookup::{self, Stored, hit},
        plan::FillPlan,
        response::Reply,
    },
    telemetry::stats::LookupResult,
    time::unix_millis,
};

/// A hit by meaning.
#[derive(Debug)]
pub(crate) struct Similar {
    pub(crate) reply: Reply,
    /// Whether the service is asked all the same.
    pub(crate) is_audited: bool,
}

/// Answers the request by meaning, if that is certified, and counts the lookup, which found nothing. If it is not answered, or
/// the hit is audited, the plan takes the question along, and the service's answer labels it.
pub(crate) async fn answer(plan: &mut FillPlan, parts: &Parts, body: &Bytes) -> Option<Similar> {
    let similar = look(plan, parts, body).await;
    let result = if similar.is_some() { LookupResult::Similar } else { LookupResult::Miss };
    plan.shared().stats.here().lookup(plan.context.route.kind, result);
    similar
}

async fn look(plan: &mut FillPlan, parts: &Parts, body: &Bytes) -> Option<Similar> {
    let semantic = Arc::clone(plan.live().semantic.as_ref()?);
    let key = plan.key.as_ref()?.local().into_boxed_str();
    let question = match question(&plan.context, parts, body) {
        Ok(question) => question,
        Err(reason) => {
            plan.shared().stats.here().semantic.ineligible(reason);
            return None;
        }
    };
    let asked = Arc::new(Asked { key, question });
    let mut pending = Pending::new(Arc::clone(&plan.context), semantic, asked);
    let similar = if may_be_served(&pending, parts) { serve(plan, &mut pending).await } else { None };
    if similar.as_ref().is_none_or(|similar| similar.is_audited) {
        plan.pending = Some(Box::new(pending));
    }
    similar
}

/// Whether the request waits for the search: a hit is possible, and vectors come in time.
fn may_be_served(pending: &Pending, parts: &Parts) -> bool {
    let Pending { semantic, asked, context, .. } = pending;
    let partition = asked.question.partition;
    semantic.config().mode == SemanticMode::Serve
        && !refuses_similar(&parts.headers)
        && semantic.index.has(partition)
        && semantic.embedder.is_timely()
        && semantic
            .ledger(&context.route.name)
            .is_some_and(|ledger| ledger.ledger.lock().may_serve(partition))
}

/// Serves the nearest question's answer, if the ledger says so and the store has it.
async fn serve(plan: &FillPlan, pending: &mut Pending) -> Option<Similar> {
    let context = Arc::clone(&plan.context);
    context.exchange.caller.half_close.waits_elsewhere();
    let patience = pending.semantic.config().timeout;
    let searched = timeout(patience, pending.searched()).await.ok().flatten()?;
    let nearest = searched.nearest.neighbours.first()?;
    let near = searched.nearest.nearness()?;
    let ledger = pending.semantic.ledger(&context.route.name)?;
    let now = unix_millis(SystemTime::now());
    let decision = ledger.ledger.lock().decide(pending.asked.question.partition, near, now);
    let Decision::Serve { audit } = decision else { return None };
    // From here on, an audit that does not take place has failed.
    let audit = audit.then(|| Audit::new(Arc::clone(&ledger), Arc::clone(&plan.shared().stats)));
    let reply = reply(plan, &pending.semantic, nearest).await?;
    ledger.served.fetch_add(1, Ordering::Relaxed);
    note_served(pending, nearest, near);
    pending.audit = audit;
    Some(Similar { reply, is_audited: pending.audit.is_some() })
}

/// The reply with the neighbour's answer. A neighbour whose answer is gone, or is another one by now, leaves the index.
async fn reply(plan: &FillPlan, semantic: &Semantic, nearest: &Neighbour) -> Option<Reply> {
    let context = &plan.context;
    let original = Key::parse(context.shared().namespace, &nearest.key)?;
    let mut found = match lookup::other(plan, &original).await {
        Stored::Fits(found) => *found,
        Stored::Unfit => return None,
        Stored::Gone => {
            semantic.index.remove(&nearest.key);
            return None;
        }
    };
    if !super::answer_text(context, &found.entry).is_some_and(|text| nearest.answer.is_of(&text)) {
        semantic.index.remove(&nearest.key);
        return None;
    }
    found.report.key.clone_from(&plan.key);
    found.report = found.report.similar(original, nearest.similarity);
    Some(hit::found(context, found))
}

/// Remembers a hit, for reports and for operators.
fn note_served(pending: &Pending, nearest: &Neighbour, near: Nearness) {
    let Pending { context, semantic, asked, .. } = pending;
    let route: Box<str> = context.route.name.as_str().into();
    semantic.recent.add(SimilarHit {
        at: unix_millis(SystemTime::now()),
        route: route.clone(),
        asked: asked.key.clone(),
        original: nearest.key.clone(),
        similarity: nearest.similarity,
    });
    semantic.served.add(ServedPair {
        asked: asked.key.clone(),
        original: nearest.key.clone(),
        route,
        partition: asked.question.partition,
        near,
    });
}

/// Notes who asked a stored question, where an answer counts only once two callers have asked for it.
pub(crate) fn note_caller(context: &RequestContext, key: &Key) {
    let (Some(_), Some(semantic)) = (&context.route.semantic, &context.live().semantic) else { return };
    let Some(caller) = caller(context) else { return };
    semantic.asked_by(key.local().into(), caller);
}
