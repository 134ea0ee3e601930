//! Asking the upstream: it writes the answer for whoever reads it, and stores it once it has come whole. It outlives
//! the client that began it.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use crate::{
    body::{self, RequestBody, UpstreamBody},
    dialect::{Answer, sse::Framing},
    entry::Entry,
    error::ProxyError,
    exchange::log_llm_call,
    flight::{End, Head, Outcome, Sharing, Source, Writer},
    flights::Landing,
    follow::answer::{self, Confirmed},
    generations::{Point, Subject},
    keep,
    log::events::Operation,
    policy::{self, Life, Reason},
    question::Question,
    reply,
    retiring::retire,
    rfc9111::Times,
    route::{Kind, OnAbandon, Scope},
    state::Live,
    stats::Limit,
    store::Lease,
    talk,
    time::unix_millis,
    turn::{self, Turn},
    upstream,
};

/// A question that goes to the upstream.
#[derive(Debug)]
pub struct Fill {
    /// It.
    pub question: Question,
    /// Keeps its answer joinable.
    pub landing: Option<Landing>,
    /// What for.
    pub purpose: Purpose,
}

/// What the upstream is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An answer to a request that waits.
    Answer,
    /// The same, after another request's failure.
    SecondAnswer,
    /// A fresh answer in the place of a stale one, for which nobody waits.
    Refresh,
}

/// Why there is no whole answer.
enum Stop {
    /// It failed.
    Failed(ProxyError),
    /// Nobody reads it any more, and it is not worth finishing.
    Abandoned,
}

impl From<ProxyError> for Stop {
    fn from(error: ProxyError) -> Self {
        Self::Failed(error)
    }
}

/// A body that came whole, and when each chunk had come; `None` where it was too large to keep.
type Received = Option<(Bytes, Vec<Arrival>)>;

/// The bytes that had come in all, and when.
type Arrival = (usize, Instant);

impl Fill {
    /// Asks the upstream and writes what it answers.
    pub async fn run(self, request: Request<RequestBody>, writer: Writer) {
        let started = Instant::now();
        let end = match self.answer(request, &writer, started).await {
            Ok(outcome) => End::Complete(outcome),
            Err(Stop::Failed(error)) => {
                self.question.exchange.failed(&error);
                End::Failed(Arc::new(error))
            }
            // Whoever joined in that very moment must not take what there is for the whole.
            Err(Stop::Abandoned) => {
                End::Failed(Arc::new(ProxyError::internal("everybody had left the answer")))
            }
        };
        self.question.exchange.performed(
            Operation::Upstream,
            started.elapsed(),
            matches!(end, End::Complete(_)),
        );
        let stored = matches!(end, End::Complete(Ok(())));
        if let (Purpose::Refresh, false, Some(landing)) = (self.purpose, stored, &self.landing) {
            landing.hold_off_refresh();
        }
        writer.end(end);
    }

    async fn answer(
        &self,
        request: Request<RequestBody>,
        writer: &Writer,
        started: Instant,
    ) -> Result<Outcome, Stop> {
        let ends_when_deserted = self.ends_when_deserted();
        let mut patience = self.question.patience;
        let turn = match &self.landing {
            Some(landing) => {
                let purpose = self.purpose;
                turn::take(&self.question, landing, writer, purpose, ends_when_deserted, &mut patience).await
            }
            None => Turn::Mine(None),
        };
        let lease = match turn {
            Turn::Mine(lease) => lease,
            Turn::Stored(found) => {
                turn::give(&self.question, found, writer).await.map_err(|_| Stop::Abandoned)?;
                return Ok(Ok(()));
            }
            Turn::Nobodys => return Err(Stop::Abandoned),
        };
        let began = talk::begin(&self.question, patience).await;
        let outcome = self.ask(request, writer, started, lease, began).await;
        talk::end(&self.question, began).await;
        outcome
    }

    /// Asks the upstream, for an answer that depends on what was retired before `began`.
    async fn ask(
        &self,
        request: Request<RequestBody>,
        writer: &Writer,
        started: Instant,
        mut lease: Option<Lease>,
        began: Option<Point>,
    ) -> Result<Outcome, Stop> {
        let Live { upstream, config, .. } = &*self.question.live;
        let asked = unix_millis(SystemTime::now());
        let response = tokio::select! {
            response = timeout_at(self.question.deadline(), upstream.send(&config.upstream, request)) => {
                response.map_err(|_| self.question.too_late())??
            }
            () = writer.deserted(), if self.ends_when_deserted() => return Err(Stop::Abandoned),
        };
        let (mut head, framed, body) = open(response);
        self.learn_standing(head.status);
        self.invalidate(head.status).await;
        let times = Times { asked, came: unix_millis(SystemTime::now()) };
        if let Some(confirmed) = answer::confirmed(&self.question, &head, times) {
            return self.give(confirmed, times, writer, began).await;
        }
        let verdict = self.judge_head(&head, times);
        head.sharing = self.sharing(&head, verdict, times);
        writer.head(head.clone());
        if let Some(entry) = answer::told_by_head(&self.question, &head, times) {
            // What comes of that says nothing of this answer.
            let _ = keep::store_again(&self.question, entry, times, began).await;
        }
        if is_unshareable(verdict) {
            if let Some(landing) = &self.landing {
                landing.remember_unshareable();
            }
            if let Some(lease) = lease.take() {
                lease.mark_unshareable().await;
            }
        }
        let received = self.receive(body, writer, verdict).await?;
        let took = started.elapsed();
        let Some((body, arrivals)) = received else {
            self.question.shared.stats.limited(Limit::MaxEntry);
            return Ok(Err(verdict.err().unwrap_or(Reason::TooLarge)));
        };
        let answer = self.judge_body(&head, &body);
        self.log_call(&head, &answer, took);
        let life = match verdict.and_then(|life| judge_end(&head, framed, &answer).map(|()| life)) {
            Ok(life) => life,
            Err(reason) => return Ok(Err(reason)),
        };
        let pace = pace(Framing::of_headers(&head.headers), &body, &arrivals);
        match keep::entry(&self.question, &head, body, answer, life, began) {
            Ok(entry) => {
                let entry = answer::dated(&self.question, entry, &head.headers, times);
                Ok(keep::store(&self.question, Entry { took, pace, ..entry }, times).await)
            }
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Gives the readers the stored answer that the upstream has confirmed.
    async fn give(
        &self,
        confirmed: Confirmed,
        times: Times,
        writer: &Writer,
        began: Option<Point>,
    ) -> Result<Outcome, Stop> {
        let Confirmed { entry, updated } = confirmed;
        writer.head(answer::confirmed_head(&self.question, &entry, times));
        writer.chunk(entry.body.clone()).await.map_err(|_| Stop::Abandoned)?;
        if updated {
            Ok(keep::store_again(&self.question, entry, times, began).await)
        } else {
            Ok(Err(Reason::Status))
        }
    }

    /// A success here retires what the route says.
    async fn invalidate(&self, status: StatusCode) {
        let Question { route, shared, .. } = &self.question;
        if status.is_success() && !route.invalidates.is_empty() {
            let kinds: Vec<_> = route.invalidates.iter().copied().map(Subject::Kind).collect();
            retire(shared, &kinds).await;
        }
    }

    /// Whether the answer is worth nothing once nobody reads it.
    fn ends_when_deserted(&self) -> bool {
        self.question.route.on_abandon == OnAbandon::Cancel || self.question.inquiry.key.is_none()
    }

    /// Who else may read the answer.
    fn sharing(&self, head: &Head, verdict: Result<Life, Reason>, times: Times) -> Sharing {
        let status = head.status;
        match verdict {
            Ok(life) if self.question.follow.is_some() => answer::sharing(&self.question, head, life, times),
            Ok(_) => Sharing::Open,
            // What may not be stored is for one request (RFC 9111, section 4).
            Err(_) if self.question.follow.is_some() => Sharing::Released,
            // One more may try; what comes of that is for everybody.
            Err(Reason::Status) if status.is_server_error() && self.purpose != Purpose::SecondAnswer => {
                Sharing::Failed
            }
            Err(Reason::Status) if status.is_server_error() => Sharing::Open,
            Err(Reason::Status) if status.is_client_error() => match self.question.route.scope {
                Scope::Credential => Sharing::Open,
                Scope::Shared | Scope::Headers(_) => Sharing::Released,
            },
            Err(_) => Sharing::Released,
        }
    }

    /// Under a shared scope, the upstream's answer tells whether the caller's credentials are good.
    fn learn_standing(&self, status: StatusCode) {
        if let Some(credentials) = &self.question.inquiry.credentials {
            let ttl = self.question.live.config.shared_auth_ttl;
            self.question.shared.standing.learn(
                &self.question.route.name,
                credentials,
                status,
                ttl,
                Instant::now(),
            );
        }
    }

    fn judge_head(&self, head: &Head, times: Times) -> Result<Life, Reason> {
        if let (Some(reason), None) = (self.question.inquiry.bypass, &self.question.inquiry.key) {
            return Err(reason);
        }
        if self.question.is_head() {
            return Err(Reason::RequestMethod);
        }
        if self.question.follow.is_some() {
            return answer::storable(&self.question, head.status, &head.headers, times);
        }
        let has_stream_member = self.question.inquiry.dialect.has_stream_member();
        let keyed = |name: &HeaderName| policy::is_keyed(&self.question.route, has_stream_member, name);
        policy::storable(
            &self.question.route,
            &self.question.inquiry.directives,
            head.status,
            &head.headers,
            keyed,
        )
    }

    fn judge_body(&self, head: &Head, body: &Bytes) -> Answer {
        let Question { route, inquiry, follow, .. } = &self.question;
        match follow {
            Some(_) => Answer::opaque(),
            None => inquiry.dialect.judge(&inquiry.ask, route, &head.headers, body),
        }
    }

    /// Passes the body on as it comes, and keeps it where it is not too large.
    async fn receive(
        &self,
        mut body: UpstreamBody,
        writer: &Writer,
        verdict: Result<Life, Reason>,
    ) -> Result<Received, Stop> {
        let largest = self.question.largest_answer();
        let (mut chunks, mut arrivals, mut len) = (Vec::new(), Vec::new(), 0_usize);
        let mut keeps = true;
        loop {
            // What cannot be stored is worth nothing to anybody but those who read it.
            let ends_when_deserted = !keeps || verdict.is_err() || self.ends_when_deserted();
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = writer.deserted(), if ends_when_deserted => return Err(Stop::Abandoned),
            };
            let Some(frame) = frame else { break };
            let Ok(chunk) = frame.map_err(|error| upstream::cut(&error))?.into_data() else { continue };
            len += chunk.len();
            if keeps && len > largest {
                keeps = false;
                (chunks, arrivals) = (Vec::new(), Vec::new());
            }
            if keeps {
                chunks.push(chunk.clone());
                arrivals.push((len, Instant::now()));
            }
            if writer.chunk(chunk).await.is_err() {
                return Err(Stop::Abandoned);
            }
        }
        Ok(keeps.then(|| (body::joined(chunks, len), arrivals)))
    }

    fn log_call(&self, head: &Head, answer: &Answer, took: Duration) {
        let model = answer.model.as_ref().or(self.question.inquiry.model.as_ref());
        let is_call = matches!(self.question.route.kind, Kind::Query | Kind::Embedding)
            && head.status == StatusCode::OK;
        if let (true, Some(model)) = (is_call, model) {
            log_llm_call(&self.question.exchange, model, answer.usage.unwrap_or_default(), took, false);
        }
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
    reply::clean(&mut headers);
    (
        Head { status: parts.status, headers, sharing: Sharing::Released, source: Source::Upstream },
        framed,
        body,
    )
}

/// Whether a key with such an answer is asked for by each caller on its own: an error says nothing of the next
/// answer.
const fn is_unshareable(verdict: Result<Life, Reason>) -> bool {
    matches!(verdict, Err(reason) if !matches!(reason, Reason::Status))
}

/// Whether an answer that came to its end is worth keeping.
fn judge_end(head: &Head, framed: bool, answer: &Answer) -> Result<(), Reason> {
    // A document's 404 is no answer of its dialect.
    if head.status != StatusCode::OK {
        return if framed { Ok(()) } else { Err(Reason::Unframed) };
    }
    answer.verdict?;
    if framed || answer.end_seen { Ok(()) } else { Err(Reason::Unframed) }
}

/// The milliseconds before each event of a stream.
fn pace(framing: Framing, body: &[u8], arrivals: &[Arrival]) -> Vec<u32> {
    let mut arrivals = arrivals.iter().peekable();
    let mut last = None;
    let gap = |end: usize| {
        while arrivals.peek().is_some_and(|(len, _)| *len < end) {
            arrivals.next();
        }
        let (_, at) = arrivals.peek()?;
        let gap = last.replace(*at).map_or(Duration::ZERO, |last| *at - last);
        u32::try_from(gap.as_millis()).ok()
    };
    let events = framing.events(body).unwrap_or_default();
    events.iter().map(|event| event.end).map_while(gap).collect()
}
