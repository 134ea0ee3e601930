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
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

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
        context::RequestContext,
        error::ProxyError,
        exchange::log_llm_call,
        fill::{lease::LeaseOutcome, purpose::Purpose, recorder::Recorder},
        invalidate::{PendingInvalidation, conversation},
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

/// A question that goes to the upstream.
#[derive(Debug)]
pub struct Fill {
    /// It.
    pub context: Box<RequestContext>,
    /// Keeps its answer joinable.
    pub guard: Option<FlightGuard>,
    /// What for.
    pub purpose: Purpose,
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

/// What is to be stored of a whole answer, and as of when.
struct Keeping {
    entry: Entry,
    times: Times,
    stored: StoredFor,
}

/// What is to be stored of a whole answer; `None` where it comes from the store.
type Kept = Result<Option<Keeping>, Reason>;

/// An answer that has come whole.
struct Whole {
    kept: Kept,
    /// The body, where more of it may come behind the answer's end.
    rest: Option<UpstreamBody>,
}

impl From<Kept> for Whole {
    fn from(kept: Kept) -> Self {
        Self { kept, rest: None }
    }
}

/// How long the end of the body is waited for once the answer has come to its own: what comes in that time is stored too,
/// as it came.
const END_WAIT: Duration = Duration::from_millis(50);

impl Fill {
    /// Asks the upstream and writes what it answers.
    pub async fn run(mut self, request: Request<RequestBody>, writer: Writer) {
        let started = Instant::now();
        // Held until the answer is stored.
        let mut lease = None;
        let answered = self.answer(request, &writer, started, &mut lease).await;
        if let Err(Stop::Failed(error)) = &answered {
            self.context.exchange.failed(error);
        }
        self.context.exchange.performed(Operation::Upstream, started.elapsed(), answered.is_ok());
        match answered {
            Ok(Whole { kept, rest: None }) => self.finish(kept, writer).await,
            Ok(Whole { kept, rest: Some(rest) }) => {
                let outcome = self.store(kept).await;
                // From now on, the store has the answer.
                (self.guard, lease) = (None, None);
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
        drop(lease);
    }

    /// Ends an answer that came whole, and stores it. The readers do not wait for a store that takes its time, in which
    /// this process finds the answer already.
    async fn finish(&self, kept: Kept, writer: Writer) {
        let stored = match &kept {
            Ok(Some(keeping)) => keeping.stored,
            _ => StoredFor::Usual,
        };
        let mut storing = pin!(self.store(kept));
        match std::future::poll_fn(|cx| Poll::Ready(storing.as_mut().poll(cx))).await {
            Poll::Ready(outcome) => writer.end(End::Complete(outcome)),
            Poll::Pending => {
                writer.end(End::Complete(Ok(stored)));
                storing.await.ok();
            }
        }
    }

    async fn store(&self, kept: Kept) -> Outcome {
        let stored = match kept {
            Ok(Some(Keeping { entry, times, stored })) => {
                save::store(&self.context, entry, times).await.map(|()| stored)
            }
            Ok(None) => Ok(StoredFor::Usual),
            Err(reason) => Err(reason),
        };
        if stored.is_err() {
            self.hold_off_refresh();
        }
        stored
    }

    /// Where this is a refresh that failed, has none begun for a while: before its end is told, at which the next one could
    /// begin.
    fn hold_off_refresh(&self) {
        if let (Purpose::Refresh, Some(guard)) = (self.purpose, &self.guard) {
            guard.hold_off_refresh();
        }
    }

    async fn answer(
        &self,
        request: Request<RequestBody>,
        writer: &Writer,
        started: Instant,
        lease: &mut Option<Lease>,
    ) -> Result<Whole, Stop> {
        let ends_when_abandoned = self.ends_when_abandoned();
        let mut store_budget = self.context.store_budget;
        let outcome = match &self.guard {
            Some(guard) => {
                let purpose = self.purpose;
                lease::acquire(&self.context, guard, writer, purpose, ends_when_abandoned, &mut store_budget)
                    .await
            }
            None => LeaseOutcome::Fetch(None),
        };
        match outcome {
            LeaseOutcome::Fetch(taken) => *lease = taken,
            LeaseOutcome::Found(found) => {
                lease::serve_found(&self.context, found, writer).await.map_err(|_| Stop::Abandoned)?;
                return Ok(Ok(None).into());
            }
            LeaseOutcome::Abandoned => return Err(Stop::Abandoned),
        }
        let began = conversation::begin(&self.context, store_budget).await;
        let whole = self.ask(request, writer, started, lease, began).await;
        conversation::end(&self.context).await;
        whole
    }

    /// Asks the upstream, for an answer that depends on what was retired before `began`.
    async fn ask(
        &self,
        request: Request<RequestBody>,
        writer: &Writer,
        started: Instant,
        lease: &mut Option<Lease>,
        began: Option<Version>,
    ) -> Result<Whole, Stop> {
        let Live { upstream, config, .. } = self.context.live();
        let asked = unix_millis(SystemTime::now());
        let invalidation = PendingInvalidation::of_own_entry(&self.context);
        // A turn changes its conversation.
        let changes = invalidation.is_some() || !self.context.cache_request.conversations.is_empty();
        let repeat = Repeat::of_own_entry(request.method(), changes);
        let sent = tokio::select! {
            sent = timeout_at(self.context.deadline(), upstream.send(&config.upstream, request, repeat)) => {
                sent.unwrap_or_else(|_| Err(self.context.too_late()))
            }
            () = writer.closed(), if self.ends_when_abandoned() => return Err(Stop::Abandoned),
        };
        if let Some(invalidation) = invalidation {
            invalidation.settle(sent.as_ref()).await;
        }
        let (mut head, framed, body) = open(sent?);
        self.context.refuse_credentials(head.status);
        self.context.exchange.learn_cors(head.status, &head.headers);
        let times = Times { asked, came: unix_millis(SystemTime::now()) };
        if let Some(revalidated) = received::revalidated(&self.context, &head, times) {
            return self.give(revalidated, times, writer, began).await.map(Whole::from);
        }
        let verdict = cacheability::of_head(&self.context, &head, times);
        head.shareable = cacheability::shareable(&self.context, self.purpose, &head, verdict, times);
        let head = writer.head(head);
        self.update_by_head(&head, times, began).await;
        if cacheability::is_unshareable(&self.context, &head, verdict) {
            self.mark_unshareable(lease).await;
        }
        let (recording, rest) = self.receive(body, writer, &head, verdict, lease).await?;
        let took = started.elapsed();
        let Some((body, pace)) = recording.whole() else {
            writer.release();
            self.context.shared().stats.limited(Limit::MaxEntry);
            return Ok(Whole { kept: Err(verdict.err().unwrap_or(Reason::TooLarge)), rest });
        };
        let answer = cacheability::of_body(&self.context, &head, &body);
        self.log_call(&head, &answer, took);
        let end = cacheability::of_end(&head, framed, &answer);
        self.report_end(end, &head, &answer, writer);
        let kept = match verdict.and_then(|life| end.map(|()| life)) {
            Ok(life) => {
                let (life, stored) = cacheability::of_content(&self.context, &head, &body, life);
                let entry = save::entry(&self.context, &head, body, answer, life, began);
                let dated = |entry| received::dated(&self.context, entry, &head.headers, times);
                let keeping = |entry| Keeping { entry: Entry { took, pace, ..dated(entry) }, times, stored };
                entry.map(|entry| Some(keeping(entry)))
            }
            Err(reason) => Err(reason),
        };
        Ok(Whole { kept, rest })
    }

    /// Tells what the whole answer has shown: those who wait for that, and whether the caller's credentials are good.
    fn report_end(&self, end: Result<(), Reason>, head: &Head, answer: &Answer, writer: &Writer) {
        if cacheability::is_for_others(end) {
            writer.approve();
        } else {
            writer.release();
        }
        if end.is_ok() && answer.verdict.is_ok() && head.status.is_success() {
            self.context.accept_credentials();
        }
        if let Some(word) = &answer.end {
            self.context.exchange.ended_with(word);
        }
    }

    /// Gives the readers the stored answer that the upstream has confirmed.
    async fn give(
        &self,
        revalidated: Revalidated,
        times: Times,
        writer: &Writer,
        began: Option<Version>,
    ) -> Result<Kept, Stop> {
        let Revalidated { entry, updated } = revalidated;
        writer.head(received::revalidated_head(&self.context, &entry, times));
        writer.chunk(entry.body.clone()).await.map_err(|_| Stop::Abandoned)?;
        if !updated {
            return Ok(Err(Reason::Status));
        }
        let keeping = |entry| Some(Keeping { entry, times, stored: StoredFor::Usual });
        Ok(save::again(&self.context, entry, began).map(keeping))
    }

    /// Stores what the answer to a `HEAD` tells of a stored one. What comes of that says nothing of this answer.
    async fn update_by_head(&self, head: &Head, times: Times, began: Option<Version>) {
        let told = received::updated_by_head(&self.context, head, times);
        if let Some(Ok(entry)) = told.map(|entry| save::again(&self.context, entry, began)) {
            let _ = Box::pin(save::store(&self.context, entry, times)).await;
        }
    }

    /// Has the next ones, here and at other replicas, ask for themselves at once.
    async fn mark_unshareable(&self, lease: &mut Option<Lease>) {
        if let Some(guard) = &self.guard {
            guard.remember_unshareable();
        }
        if let Some(lease) = lease.take() {
            Box::pin(lease.mark_unshareable()).await;
        }
    }

    /// Whether the answer is worth nothing once nobody reads it.
    fn ends_when_abandoned(&self) -> bool {
        self.context.route.on_abandon == OnAbandon::Cancel || self.context.cache_request.key.is_none()
    }

    /// Passes the body on as it comes, and keeps it where it is not too large. Once it proves larger than what is shared,
    /// the next ones ask for themselves. Where the answer comes to its own end and the body does not soon, what is left
    /// of the body.
    async fn receive(
        &self,
        mut body: UpstreamBody,
        writer: &Writer,
        head: &Head,
        verdict: Result<Lifetime, Reason>,
        lease: &mut Option<Lease>,
    ) -> Result<(Recorder, Option<UpstreamBody>), Stop> {
        let RequestContext { route, cache_request, revalidation, .. } = &*self.context;
        let judged = revalidation.is_none();
        let is_last =
            |event: &Event| judged && cache_request.dialect.ends_with(event, route.stream_end.as_deref());
        let framing = Framing::of_headers(&head.headers);
        // Nothing is recorded of what is known to be too large.
        let is_too_large = verdict.is_err_and(|reason| reason == Reason::TooLarge);
        let largest = if is_too_large { 0 } else { self.context.largest_answer() };
        let mut recording = Recorder::new(framing, largest, Instant::now());
        let largest_shared = self.context.largest_shared();
        let mut is_told = is_too_large;
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
            if !is_told && recording.len() > largest_shared {
                is_told = true;
                writer.release();
                self.mark_unshareable(lease).await;
            }
            if writer.chunk(chunk).await.is_err() {
                self.context.shared().stats.limited(Limit::MaxBuffer);
                return Err(Stop::Abandoned);
            }
        }
    }

    fn log_call(&self, head: &Head, answer: &Answer, took: Duration) {
        let model = answer.model.as_ref().or(self.context.cache_request.model.as_ref());
        let is_call =
            matches!(self.context.route.kind, Kind::Query | Kind::Embedding) && head.status == StatusCode::OK;
        if let (true, Some(model)) = (is_call, model) {
            log_llm_call(&self.context.exchange, model, answer.usage.unwrap_or_default(), took, false);
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
