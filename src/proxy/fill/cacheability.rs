//! Cacheability: whether the upstream's answer may be stored, for how long, and who else may read it while it comes.
//!
//! The checks run in the order of the page of [`crate::proxy::fill`]; each returns the reason of its "no".

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, StatusCode, header};

use crate::{
    cache::{
        key,
        policy::{self, Lifetime},
        rfc9111::Times,
        route::Scope,
        unfinished,
    },
    dialect::{Answer, Instead},
    http::sse::Framing,
    proxy::{
        coalesce::head::{Head, Shareable, StoredFor},
        context::RequestContext,
        fill::purpose::Purpose,
        plan::FillPlan,
        revalidate::received,
    },
    reason::Reason,
};

/// How long an answer is fresh at most that no model may have made.
const UNPROVEN_TTL: Duration = Duration::from_secs(10);

/// How long OpenAI keeps a response (platform.openai.com/docs/guides/your-data): then its id means nothing.
const KEPT_BY_SERVICE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Whether an answer with this head may be stored, and for how long.
///
/// # Errors
/// The reason, where it may not.
pub(super) fn of_head(plan: &FillPlan, head: &Head, times: Times) -> Result<Lifetime, Reason> {
    let life = by_rules(plan, head, times)?;
    if is_longer(head, plan.largest_answer()) { Err(Reason::TooLarge) } else { Ok(life) }
}

/// Whether the head announces a body of more than `most` bytes. The HTTP parser has refused invalid lengths already.
fn is_longer(head: &Head, most: usize) -> bool {
    let length =
        head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: u64| length > most as u64)
}

fn by_rules(plan: &FillPlan, head: &Head, times: Times) -> Result<Lifetime, Reason> {
    let RequestContext { route, cache_request, .. } = &*plan.context;
    if let (Some(reason), None) = (plan.bypass, &plan.key) {
        return Err(reason);
    }
    if plan.context.is_head() {
        return Err(Reason::RequestMethod);
    }
    if plan.revalidation.is_some() {
        return received::lifetime_under_rfc9111(plan, head.status, &head.headers, times);
    }
    let keyed = |name: &HeaderName| key::tells_apart(route, cache_request.dialect, name);
    let life =
        policy::lifetime_under_ttl(route, &cache_request.directives, head.status, &head.headers, keyed)?;
    if cache_request.is_turn { Err(Reason::ConversationTurn) } else { Ok(life) }
}

/// What the whole body says, as its dialect judges it. Under RFC 9111 bodies are opaque.
pub(super) fn of_body(plan: &FillPlan, head: &Head, body: &Bytes) -> Answer {
    let RequestContext { route, cache_request, .. } = &*plan.context;
    match plan.revalidation {
        Some(_) => Answer::opaque(),
        None => {
            let ask = plan.ask();
            let judging = route.judging(&ask, plan.ids());
            cache_request.dialect.judge(judging, route.framing(&head.headers), &head.headers, body)
        }
    }
}

/// Whether followers that wait for the judgement may have the answer: it is whole and answers the question, even if it
/// is not stored.
pub(super) const fn followers_may_read(end: Result<(), Reason>) -> bool {
    matches!(end, Ok(()) | Err(Reason::Filtered | Reason::Length | Reason::ToolCalls))
}

/// Whether the answer may be stored, now that it has ended.
pub(super) fn of_end(head: &Head, framed: bool, answer: &Answer) -> Result<(), Reason> {
    answer.by_route?;
    // Only a 200 is judged by its dialect. For other statuses, the framing must show that the body is complete.
    if head.status != StatusCode::OK {
        return if framed { Ok(()) } else { Err(Reason::Unframed) };
    }
    answer.verdict?;
    if framed || answer.end_seen { Ok(()) } else { Err(Reason::Unframed) }
}

/// The lifetime of an answer by its content: documents that are unfinished get a short one, and so do answers that no
/// model may have made.
pub(super) fn of_content(
    plan: &FillPlan,
    head: &Head,
    body: &Bytes,
    answer: &Answer,
    life: Lifetime,
) -> (Lifetime, StoredFor) {
    if plan.revalidation.is_some() {
        return (life, StoredFor::Usual);
    }
    if answer.is_unproven && life.ttl > UNPROVEN_TTL {
        let life = Lifetime {
            ttl: UNPROVEN_TTL,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        };
        return (life, StoredFor::Short(Reason::Unproven));
    }
    let life =
        if plan.context.cache_request.ask.is_kept_by_service { life.within(KEPT_BY_SERVICE) } else { life };
    match unfinished::shortened_lifetime(plan.context.route.kind, &head.headers, body, life) {
        Some(life) => (life, StoredFor::Short(Reason::Unfinished)),
        None => (life, StoredFor::Usual),
    }
}

/// Who else may read the answer while it comes.
pub(super) fn shareable(
    plan: &FillPlan,
    purpose: Purpose,
    head: &Head,
    verdict: Result<Lifetime, Reason>,
    times: Times,
) -> Shareable {
    let status = head.status;
    let shareable = match verdict {
        Ok(life) if plan.revalidation.is_some() => received::shareable(plan, head, life, times),
        Ok(_) | Err(Reason::ConversationTurn) => {
            let is_judged = (plan.context.cache_request.dialect.judges_documents()
                && status == StatusCode::OK)
                || plan.context.route.judges_answers();
            let opens = &plan.context.route.opens;
            let is_alone = opens.instead == Instead::Alone;
            let is_list = plan.context.cache_request.ask.form.list;
            match plan.context.route.framing(&head.headers) {
                // The route's pointers are into its elements, of which an edit knows nothing.
                Framing::Whole if is_list && opens.pointers.is_some() => Shareable::Released,
                Framing::Whole if is_judged => Shareable::Judged,
                // No id can be taken out of a text.
                Framing::Text if plan.ids().is_some() => Shareable::Judged,
                Framing::Events | Framing::Lines if is_alone && plan.ids().is_some() => Shareable::Released,
                _ => Shareable::Open,
            }
        }
        // A response that may not be stored answers one request only (RFC 9111, section 4).
        Err(_) if plan.revalidation.is_some() => Shareable::Released,
        // One follower may try again; all share the second answer, good or bad.
        Err(Reason::Status) if status.is_server_error() && purpose != Purpose::SecondAnswer => {
            Shareable::Failed
        }
        Err(Reason::Status) if status.is_server_error() => Shareable::Open,
        Err(Reason::Status) if status.is_client_error() => match plan.context.route.scope {
            Scope::Credential => Shareable::Open,
            Scope::Shared | Scope::Headers(_) | Scope::Identity(_) => Shareable::Released,
        },
        Err(_) => Shareable::Released,
    };
    // Beyond the buffer, slow and fast readers would have to wait for each other.
    if matches!(shareable, Shareable::Open | Shareable::Judged) && is_longer(head, plan.largest_shared()) {
        Shareable::Released
    } else {
        shareable
    }
}

/// Whether the next requests for this key do not wait for each other. An error does not make a key unshareable: it says
/// nothing about the next answer.
pub(super) fn is_unshareable(plan: &FillPlan, head: &Head, verdict: Result<Lifetime, Reason>) -> bool {
    match verdict {
        Ok(_) | Err(Reason::ConversationTurn) => is_longer(head, plan.largest_shared()),
        Err(reason) => reason != Reason::Status,
    }
}
