//! Asking the upstream: it writes the answer for whoever reads it, and stores it once it has come whole. It outlives
//! the client that began it.

pub mod cacheability;
pub mod lease;
pub mod purpose;
pub mod recorder;
pub mod save;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use crate::{
    cache::{
        entry::Entry,
        invalidation::log::Version,
        policy::Lifetime,
        rfc9111::Times,
        route::{OnAbandon, kind::Kind},
    },
    dialect::Answer,
    http::sse::{Event, Framing},
    proxy::{
        body::{BodyError, RequestBody, UpstreamBody},
        coalesce::{
            flight::{End, Head, Outcome, Shareable, Source, StoredFor, Writer},
            registry::FlightGuard,
        },
        error::ProxyError,
        exchange::log_llm_call,
        fill::{lease::LeaseOutcome, purpose::Purpose, recorder::Recorder, save::SaveAs},
        invalidate::{PendingInvalidation, conversation},
        plan::FillPlan,
        response,
        revalidate::received::{self, Revalidated},
        state::Live,
        upstream::{self, Repeat},
    },
    reason::Reason,
    store::Lease,
    telemetry::{log::events::Operation, stats::Limit},
    time::unix_millis,
};

/// One call of the upstream: it writes the answer for its readers, and stores it.
#[derive(Debug)]
pub struct Fill {
    plan: FillPlan,
    purpose: Purpose,
    /// Lets followers join; `None` where nobody may.
    guard: Option<FlightGuard>,
    /// Keeps other replicas from the same call until the answer is stored.
    lease: Option<Lease>,
    started: Instant,
}

/// Why there is no whole answer.
enum Stop {
    /// It failed.
    Failed(ProxyError),
    /// Nobody reads it any more, and it is not worth finishing.
    Abandoned,
}

impl From<Stop> for Arc<ProxyError> {
    fn from(stop: Stop) -> Self {
        Self::new(match stop {
            Stop::Failed(error) => error,
            // Whoever joined in that very moment must not take what there is for the whole.
            Stop::Abandoned => ProxyError::internal("everybody had left the answer"),
        })
    }
}

impl From<ProxyError> for Stop {
    fn from(error: ProxyError) -> Self {
        Self::Failed(error)
    }
}

/// What becomes of an answer that has come whole.
enum FillOutcome {
    /// It is to be stored.
    Save(Box<Storable>),
    /// It is not stored, for this reason.
    NotSaved(Reason),
    /// It came from the store: another request, or another replica, has stored it.
    FromStore,
}

/// An entry that is to be stored, and the times of the response that it comes from.
struct Storable {
    entry: Entry,
    times: Times,
    stored: StoredFor,
}

impl FillOutcome {
    fn from_entry(entry: Result<Entry, Reason>, times: Times, stored: StoredFor) -> Self {
        match entry {
            Ok(entry) => Self::Save(Box::new(Storable { entry, times, stored })),
            Err(reason) => Self::NotSaved(reason),
        }
    }
}

/// An answer that has come whole.
struct Whole {
    outcome: FillOutcome,
    /// The body, where more of it may come behind the answer's end.
    rest: Option<UpstreamBody>,
}

impl From<FillOutcome> for Whole {
    fn from(outcome: FillOutcome) -> Self {
        Self { outcome, rest: None }
    }
}

/// How long the end of the body is waited for once the answer has come to its own: what comes in that time is stored too,
/// as it came.
const END_WAIT: Duration = Duration::from_millis(50);

impl Fill {
    /// A call for `purpose`. The answer is stored as `plan` says; followers join it through `guard`.
    pub fn new(plan: FillPlan, purpose: Purpose, guard: Option<FlightGuard>) -> Self {
        Self { plan, purpose, guard, lease: None, started: Instant::now() }
    }

    /// Asks the upstream and writes what it answers.
    pub async fn run(mut self, request: Request<RequestBody>, writer: Writer) {
        let answered = self.answer(request, &writer).await;
        let exchange = &self.plan.context.exchange;
        if let Err(Stop::Failed(error)) = &answered {
            exchange.failed(error);
        }
        exchange.performed(Operation::Upstream, self.started.elapsed(), answered.is_ok());
        match answered {
            Ok(Whole { outcome, rest: None }) => self.finish(outcome, writer).await,
            Ok(Whole { outcome, rest: Some(rest) }) => {
                let outcome = self.save(outcome).await;
                // From now on, the store has the answer.
                self.guard = None;
                self.lease = None;
                let end = match pass_on(rest, &writer).await {
                    Ok(()) => End::Complete(outcome),
                    Err(cut) => End::Failed(Arc::new(cut)),
                };
                writer.end(end);
            }
            Err(stop) => {
                self.hold_off_refresh();
                writer.end(End::Failed(stop.into()));
            }
        }
    }

    /// Ends an answer that came whole, and stores it. The readers do not wait for a slow store: meanwhile this process
    /// finds the answer among its pending writes.
    async fn finish(&self, outcome: FillOutcome, writer: Writer) {
        let stored = match &outcome {
            FillOutcome::Save(storable) => storable.stored,
            _ => StoredFor::Usual,
        };
        let mut saving = pin!(self.save(outcome));
        match saving.as_mut().now_or_never() {
            Some(outcome) => writer.end(End::Complete(outcome)),
            None => {
                writer.end(End::Complete(Ok(stored)));
                saving.await.ok();
            }
        }
    }

    async fn save(&self, outcome: FillOutcome) -> Outcome {
        let saved = match outcome {
            FillOutcome::Save(storable) => {
                let Storable { entry, times, stored } = *storable;
                save::store(&self.plan, entry, times).await.map(|()| stored)
            }
            FillOutcome::FromStore => Ok(StoredFor::Usual),
            FillOutcome::NotSaved(reason) => Err(reason),
        };
        if saved.is_err() {
            self.hold_off_refresh();
        }
        saved
    }

    /// After a refresh that failed, none begins for a while. This comes before the fill ends: from its end on, the next
    /// one could begin.
    fn hold_off_refresh(&self) {
        if let (Purpose::Refresh, Some(guard)) = (self.purpose, &self.guard) {
            guard.hold_off_refresh();
        }
    }

    async fn answer(&mut self, request: Request<RequestBody>, writer: &Writer) -> Result<Whole, Stop> {
        match self.acquire_lease(writer).await {
            LeaseOutcome::Fetch(lease) => self.lease = lease,
            LeaseOutcome::Found(found) => {
                lease::serve_found(&self.plan, found, writer).await.map_err(|_| Stop::Abandoned)?;
                return Ok(FillOutcome::FromStore.into());
            }
            LeaseOutcome::Abandoned => return Err(Stop::Abandoned),
        }
        let began = conversation::begin(&self.plan.context, self.plan.store_budget).await;
        let whole = self.ask(request, writer, began).await;
        conversation::end(&self.plan.context).await;
        whole
    }

    /// Asks the upstream. The answer is stored only if nothing that it depends on is invalidated after `began`.
    async fn ask(
        &mut self,
        request: Request<RequestBody>,
        writer: &Writer,
        began: Option<Version>,
    ) -> Result<Whole, Stop> {
        let asked = unix_millis(SystemTime::now());
        let (mut head, framed, body) = open(self.send(request, writer).await?);
        let context = &self.plan.context;
        context.refuse_credentials(head.status);
        context.exchange.learn_cors(head.status, &head.headers);
        let times = Times { asked, came: unix_millis(SystemTime::now()) };
        if let Some(revalidated) = received::revalidated(&self.plan, &head, times) {
            return self.serve_revalidated(revalidated, times, writer, began).await.map(Whole::from);
        }
        let verdict = cacheability::of_head(&self.plan, &head, times);
        head.shareable = cacheability::shareable(&self.plan, self.purpose, &head, verdict, times);
        let head = writer.head(head);
        self.update_by_head(&head, times, began).await;
        if cacheability::is_unshareable(&self.plan, &head, verdict) {
            self.mark_unshareable().await;
        }
        let (recording, rest) = self.receive(body, writer, &head, verdict).await?;
        let took = self.started.elapsed();
        let Some((body, pace)) = recording.whole() else {
            writer.release();
            self.plan.shared().stats.limited(Limit::MaxEntry);
            let reason = verdict.err().unwrap_or(Reason::TooLarge);
            return Ok(Whole { outcome: FillOutcome::NotSaved(reason), rest });
        };
        let answer = cacheability::of_body(&self.plan, &head, &body);
        self.log_call(&head, &answer, took);
        let end = cacheability::of_end(&head, framed, &answer);
        self.report_end(end, &head, &answer, writer);
        let outcome = match verdict.and_then(|life| end.map(|()| life)) {
            Ok(life) => {
                let (life, stored) = cacheability::of_content(&self.plan, &head, &body, life);
                let entry = save::entry(&self.plan, &head, body, answer, SaveAs { life, began });
                let dated = |entry| received::dated(&self.plan, entry, &head.headers, times);
                let entry = entry.map(|entry| Entry { took, pace, ..dated(entry) });
                FillOutcome::from_entry(entry, times, stored)
            }
            Err(reason) => FillOutcome::NotSaved(reason),
        };
        Ok(Whole { outcome, rest })
    }

    /// Sends the request, and waits for the response's head.
    async fn send(
        &self,
        request: Request<RequestBody>,
        writer: &Writer,
    ) -> Result<Response<UpstreamBody>, Stop> {
        let FillPlan { context, .. } = &self.plan;
        let Live { upstream, config, .. } = context.live();
        let invalidation = PendingInvalidation::of_own_entry(context);
        // A turn changes its conversation.
        let changes = invalidation.is_some() || !context.cache_request.conversations.is_empty();
        let repeat = Repeat::of_own_entry(request.method(), changes);
        let sent = tokio::select! {
            sent = timeout_at(context.deadline(), upstream.send(&config.upstream, request, repeat)) => {
                sent.unwrap_or_else(|_| Err(context.too_late()))
            }
            () = writer.closed(), if self.ends_when_abandoned() => return Err(Stop::Abandoned),
        };
        if let Some(invalidation) = invalidation {
            invalidation.settle(sent.as_ref()).await;
        }
        Ok(sent?)
    }

    /// Tells what the whole answer has shown: those who wait for that, and whether the caller's credentials are good.
    fn report_end(&self, end: Result<(), Reason>, head: &Head, answer: &Answer, writer: &Writer) {
        if cacheability::is_for_others(end) {
            writer.approve();
        } else {
            writer.release();
        }
        if end.is_ok() && answer.verdict.is_ok() && head.status.is_success() {
            self.plan.context.accept_credentials();
        }
        if let Some(word) = &answer.end {
            self.plan.context.exchange.ended_with(word);
        }
    }

    /// Gives the readers the stored answer that the upstream has confirmed.
    async fn serve_revalidated(
        &self,
        revalidated: Revalidated,
        times: Times,
        writer: &Writer,
        began: Option<Version>,
    ) -> Result<FillOutcome, Stop> {
        let Revalidated { entry, updated } = revalidated;
        writer.head(received::revalidated_head(&self.plan, &entry, times));
        writer.chunk(entry.body.clone()).await.map_err(|_| Stop::Abandoned)?;
        if !updated {
            return Ok(FillOutcome::NotSaved(Reason::Status));
        }
        Ok(FillOutcome::from_entry(save::again(&self.plan, entry, began), times, StoredFor::Usual))
    }

    /// The answer to a `HEAD` may update a stored response. What comes of that says nothing of this answer.
    async fn update_by_head(&self, head: &Head, times: Times, began: Option<Version>) {
        let updated = received::updated_by_head(&self.plan, head, times);
        if let Some(Ok(entry)) = updated.map(|entry| save::again(&self.plan, entry, began)) {
            let _ = Box::pin(save::store(&self.plan, entry, times)).await;
        }
    }

    /// The next requests, here and at other replicas, ask for themselves at once.
    async fn mark_unshareable(&mut self) {
        if let Some(guard) = &self.guard {
            guard.remember_unshareable();
        }
        if let Some(lease) = self.lease.take() {
            Box::pin(lease.mark_unshareable()).await;
        }
    }

    /// Whether the answer is worth nothing once nobody reads it.
    fn ends_when_abandoned(&self) -> bool {
        self.plan.context.route.on_abandon == OnAbandon::Cancel || self.plan.key.is_none()
    }

    /// Passes the body on as it comes, and keeps it where it is not too large. Once it proves larger than what is shared,
    /// the next ones ask for themselves. Where the answer comes to its own end and the body does not soon, what is left
    /// of the body.
    async fn receive(
        &mut self,
        mut body: UpstreamBody,
        writer: &Writer,
        head: &Head,
        verdict: Result<Lifetime, Reason>,
    ) -> Result<(Recorder, Option<UpstreamBody>), Stop> {
        let context = Arc::clone(&self.plan.context);
        let stream_end = context.route.stream_end.as_deref();
        let is_judged = self.plan.revalidation.is_none();
        let is_last = |event: &Event| is_judged && context.cache_request.dialect.ends_with(event, stream_end);
        let framing = Framing::of_headers(&head.headers);
        // Nothing is recorded of what is known to be too large.
        let is_too_large = verdict.is_err_and(|reason| reason == Reason::TooLarge);
        let largest = if is_too_large { 0 } else { self.plan.largest_answer() };
        let mut recording = Recorder::new(framing, largest, Instant::now());
        let largest_shared = self.plan.largest_shared();
        let mut is_marked = is_too_large;
        let mut ended: Option<Instant> = None;
        loop {
            // What cannot be stored is worth nothing to anybody but those who read it.
            let ends_when_abandoned =
                ended.is_none() && (!recording.is_kept() || verdict.is_err() || self.ends_when_abandoned());
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = writer.closed(), if ends_when_abandoned => return Err(Stop::Abandoned),
                () = until(ended.map(|ended| ended + END_WAIT)) => return Ok((recording, Some(body))),
            };
            let Some(frame) = frame else { return Ok((recording, None)) };
            let Ok(chunk) = frame.map_err(|error| upstream::cut(&error))?.into_data() else { continue };
            if recording.add(chunk.clone(), Instant::now(), is_last) && ended.is_none() {
                ended = Some(Instant::now());
                body.give_place_back();
            }
            if !is_marked && recording.len() > largest_shared {
                is_marked = true;
                writer.release();
                self.mark_unshareable().await;
            }
            if writer.chunk(chunk).await.is_err() {
                self.plan.shared().stats.limited(Limit::MaxBuffer);
                return Err(Stop::Abandoned);
            }
        }
    }

    fn log_call(&self, head: &Head, answer: &Answer, took: Duration) {
        let model = answer.model.as_ref().or(self.plan.context.cache_request.model.as_ref());
        let is_call = matches!(self.plan.context.route.kind, Kind::Query | Kind::Embedding)
            && head.status == StatusCode::OK;
        if let (true, Some(model)) = (is_call, model) {
            log_llm_call(&self.plan.context.exchange, model, answer.usage.unwrap_or_default(), took, false);
        }
    }
}

/// Passes on what comes behind an answer's end, to those who still read it. Where nothing more comes for long, the body is
/// over.
///
/// # Errors
/// Where it was cut, which its readers see.
async fn pass_on(mut rest: UpstreamBody, writer: &Writer) -> Result<(), ProxyError> {
    loop {
        let frame = tokio::select! {
            frame = rest.frame() => frame,
            () = writer.closed() => return Ok(()),
        };
        match frame {
            None | Some(Err(BodyError::TimedOut(_))) => return Ok(()),
            Some(Err(error)) => return Err(upstream::cut(&error)),
            Some(Ok(frame)) => {
                let Ok(chunk) = frame.into_data() else { continue };
                if writer.chunk(chunk).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Completes then, or never.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}

/// The head of an upstream's response, whether a length or chunks frame its body, and the body.
fn open(response: Response<UpstreamBody>) -> (Head, bool, UpstreamBody) {
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    let framed =
        headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    // A response without a body needs no framing.
    let framed = framed || body.is_end_stream();
    response::clean(&mut headers);
    (
        Head { status: parts.status, headers, shareable: Shareable::Released, source: Source::Upstream },
        framed,
        body,
    )
}
