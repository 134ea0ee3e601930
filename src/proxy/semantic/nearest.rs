//! What hits by meaning would make of a request, for operators: it is answered, labelled and decided for nobody.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

use super::{pending::terms, question::question, state::Semantic};
use crate::{
    cache::semantic::{
        index::{Nearest, Neighbour, Search},
        ledger::Nearness,
        question::{Ineligible, Question},
        rounded_similarity,
    },
    config::SemanticMode,
    http::headers,
    proxy::{
        context::RequestContext,
        exchange::{self, Exchange},
        state::Live,
    },
    reason::Reason,
    request::{body::RawBody, connection::Connection, dispatch::Dispatch, head::RequestHead},
    time::unix_millis,
};

/// The nearest stored questions, and what would be done with them, as the members of an answer without any text. `caller` is
/// who calls: under a shared scope, one caller alone makes no neighbour.
pub(crate) async fn nearest(
    live: Arc<Live>,
    semantic: &Semantic,
    caller: Arc<Connection>,
    (parts, body): (Parts, Bytes),
) -> Value {
    let (context, parts, body) = match classify(live, caller, parts, body) {
        Ok(classified) => classified,
        Err(why_not) => return json!({"takes_part": false, "why_not": why_not}),
    };
    let mut answer = json!({"route": context.route.label(), "takes_part": true});
    let (question, key) = match asked(&context, &parts, &body) {
        Ok(asked) => asked,
        Err(why_not) => {
            answer["takes_part"] = false.into();
            answer["why_not"] = why_not.into();
            return answer;
        }
    };
    let Some((vector, _)) = semantic.embed(&terms(&context, semantic), &question.text).await else {
        let problem = semantic.status().problem;
        answer["no_vector"] = problem.as_deref().unwrap_or("it did not come in time").into();
        return answer;
    };
    let found = semantic.index.nearest(&Search {
        partition: question.partition,
        vector: &vector,
        signature: &question.signature,
        own_key: &key,
        needs_two_callers: question.caller.is_some(),
        now: unix_millis(SystemTime::now()),
    });
    show_found(&mut answer, &found, &context);
    decide(&mut answer, semantic, &context, (&question, found.nearness()));
    answer
}

/// The request as the proxy would take it, with its body decoded; or why nothing covers it.
fn classify(
    live: Arc<Live>,
    caller: Arc<Connection>,
    mut parts: Parts,
    body: Bytes,
) -> Result<(Arc<RequestContext>, Parts, Bytes), &'static str> {
    let Dispatch::Cacheable(route) = Dispatch::new(&live.config.health_path, &live.routes, &parts) else {
        return Err(Reason::NoRoute.as_str());
    };
    headers::remove_hop_by_hop(&mut parts.headers);
    let head = Arc::new(RequestHead::new(route, &parts));
    let decoded = head.coding.decode(&body, live.config.limits.max_body);
    let raw = RawBody::received(&body, head.coding, decoded.as_ref());
    let mut exchange = Exchange {
        is_silent: true,
        trace: None,
        id: exchange::request_id(&parts.headers),
        method: parts.method.clone(),
        path: parts.uri.path().into(),
        started: Instant::now(),
        caller,
        origin: None,
        question_text: None,
        route: None,
        live,
    };
    let context =
        RequestContext::new(&mut exchange, head, &parts, &raw).map_err(|_| Reason::NoRoute.as_str())?;
    Ok((context, parts, decoded.unwrap_or(body)))
}

/// The question and its key, or why it takes no part.
fn asked(context: &RequestContext, parts: &Parts, body: &Bytes) -> Result<(Question, String), &'static str> {
    if context.route.semantic.is_none() {
        return Err("not-on-this-route");
    }
    if let Some(reason) = context.cache_request.bypass {
        return Err(reason.as_str());
    }
    let key = context.cache_request.key.as_ref().ok_or("no-key")?;
    let question = question(context, parts, body).map_err(Ineligible::name)?;
    Ok((question, key.local()))
}

fn show_found(answer: &mut Value, found: &Nearest, context: &RequestContext) {
    let namespace = context.live().classify_context.namespace;
    let show = |neighbour: &Neighbour| {
        json!({
            "key": format!("{namespace}:{}", neighbour.key),
            "similarity": rounded_similarity(neighbour.similarity),
        })
    };
    if let Some((refused, guard)) = &found.refused {
        answer["refused"] = show(refused);
        answer["refused"]["guard"] = guard.name().into();
    }
    if let Some(nearest) = found.neighbours.first() {
        answer["nearest"] = show(nearest);
    }
}

/// Adds the threshold, and what would be done.
fn decide(
    answer: &mut Value,
    semantic: &Semantic,
    context: &RequestContext,
    (question, near): (&Question, Option<Nearness>),
) {
    let Some(ledger) = semantic.ledger(&context.route.name) else { return };
    let ledger = ledger.ledger.lock();
    let threshold = ledger.threshold(question.partition);
    let mode = semantic.config().mode;
    answer["threshold"] = threshold.map(rounded_similarity).into();
    answer["labels_missing"] = ledger.status().missing.into();
    let Some(near) = near else { return };
    answer["disagreement"] = rounded_similarity(near.disagreement).into();
    answer["decision"] = match threshold {
        None => "no-threshold",
        Some(threshold) if near.similarity < threshold => "below",
        Some(threshold) if !near.is_hit_at(threshold) => "disagree",
        Some(_) if mode == SemanticMode::Shadow => "shadow",
        Some(_) => "serve",
    }
    .into();
}
