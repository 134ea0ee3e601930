//! What the upstream's answer is worth: whether it may be stored, and who else may read it while it runs.

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
    dialect::Answer,
    http::sse::Framing,
    proxy::{
        coalesce::flight::{Head, Shareable, StoredFor},
        context::RequestContext,
        fill::purpose::Purpose,
        plan::FillPlan,
        revalidate::received,
    },
    reason::Reason,
};

/// Whether an answer with this head may be stored, and for how long.
///
/// # Errors
/// The reason, where it may not.
pub fn of_head(plan: &FillPlan, head: &Head, times: Times) -> Result<Lifetime, Reason> {
    let life = by_rules(plan, head, times)?;
    if is_longer(head, plan.largest_answer()) { Err(Reason::TooLarge) } else { Ok(life) }
}

/// Whether its head says that its body has more than `most` bytes. A length that is none is the parser's affair.
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
        return received::storable(plan, head.status, &head.headers, times);
    }
    let keyed = |name: &HeaderName| key::is_keyed(route, cache_request.dialect, name);
    let life = policy::storable(route, &cache_request.directives, head.status, &head.headers, keyed)?;
    if cache_request.is_turn { Err(Reason::ConversationTurn) } else { Ok(life) }
}

/// What its whole body says.
pub fn of_body(plan: &FillPlan, head: &Head, body: &Bytes) -> Answer {
    let RequestContext { route, cache_request, .. } = &*plan.context;
    match plan.revalidation {
        Some(_) => Answer::opaque(),
        None => {
            let ask = plan.ask();
            let judging = route.judging(&ask, plan.named());
            cache_request.dialect.judge(judging, &head.headers, body)
        }
    }
}

/// Whether those who wait for the answer to be judged may have it: it is whole, and says what it was asked for, though it
/// may not be worth keeping.
pub const fn is_for_others(end: Result<(), Reason>) -> bool {
    matches!(end, Ok(()) | Err(Reason::Filtered | Reason::Length | Reason::ToolCalls))
}

/// Whether it is worth keeping, now that it has come to its end.
///
/// # Errors
/// The reason, where it is not.
pub fn of_end(head: &Head, framed: bool, answer: &Answer) -> Result<(), Reason> {
    // A document's 404 is no answer of its dialect.
    if head.status != StatusCode::OK {
        return if framed { Ok(()) } else { Err(Reason::Unframed) };
    }
    answer.verdict?;
    if framed || answer.end_seen { Ok(()) } else { Err(Reason::Unframed) }
}

/// How long an answer that may be kept for `life` is kept, by what its content says of itself.
pub fn of_content(plan: &FillPlan, head: &Head, body: &Bytes, life: Lifetime) -> (Lifetime, StoredFor) {
    if plan.revalidation.is_some() {
        return (life, StoredFor::Usual);
    }
    match unfinished::shortened(plan.context.route.kind, &head.headers, body, life) {
        Some(life) => (life, StoredFor::Short(Reason::Unfinished)),
        None => (life, StoredFor::Usual),
    }
}

/// Who else may read it.
pub fn shareable(
    plan: &FillPlan,
    purpose: Purpose,
    head: &Head,
    verdict: Result<Lifetime, Reason>,
    times: Times,
) -> Shareable {
    let status = head.status;
    let shareable = match verdict {
        Ok(life) if plan.revalidation.is_some() => received::shareable(plan, head, life, times),
        // Whoever asked owns what goes on under the answer's id.
        Ok(_) | Err(Reason::ConversationTurn) if plan.context.cache_request.ask.runs_on => {
            Shareable::Released
        }
        Ok(_) | Err(Reason::ConversationTurn) => {
            let is_judged = plan.context.cache_request.dialect.judges_documents() && status == StatusCode::OK;
            let is_document = Framing::of_headers(&head.headers) == Framing::Whole;
            if is_judged && is_document { Shareable::Judged } else { Shareable::Open }
        }
        // What may not be stored is for one request (RFC 9111, section 4).
        Err(_) if plan.revalidation.is_some() => Shareable::Released,
        // One more may try; what comes of that is for everybody.
        Err(Reason::Status) if status.is_server_error() && purpose != Purpose::SecondAnswer => {
            Shareable::Failed
        }
        Err(Reason::Status) if status.is_server_error() => Shareable::Open,
        Err(Reason::Status) if status.is_client_error() => match plan.context.route.scope {
            Scope::Credential => Shareable::Open,
            Scope::Shared | Scope::Headers(_) => Shareable::Released,
        },
        Err(_) => Shareable::Released,
    };
    // Who reads slowly and who reads fast would have to wait for each other.
    if matches!(shareable, Shareable::Open | Shareable::Judged) && is_longer(head, plan.largest_shared()) {
        Shareable::Released
    } else {
        shareable
    }
}

/// Whether a key with such an answer is asked for by each caller on its own: an error says nothing of the next
/// answer.
pub fn is_unshareable(plan: &FillPlan, head: &Head, verdict: Result<Lifetime, Reason>) -> bool {
    match verdict {
        Ok(_) | Err(Reason::ConversationTurn) => is_longer(head, plan.largest_shared()),
        Err(reason) => reason != Reason::Status,
    }
}
