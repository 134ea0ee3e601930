//! The steps of a fill, from its lease to its end.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use http_body::Body;
use tokio::time::timeout_at;

use crate::{
    cache::{entry::Entry, invalidation::Version, policy::Lifetime, rfc9111::Times},
    dialect::Answer,
    proxy::{
        body::RequestBody,
        coalesce::{
            flight::FlightWriter,
            head::{AnswerSource, End, Head, Outcome, Shareable, StoredFor},
        },
        fill::{
            cacheability,
            call::Fill,
            lease::{self, LeaseOutcome},
            outcome::{FillOutcome, Stop, Storable, Whole},
            receive::pass_on,
            save::{self, SaveAs},
        },
        invalidate::{PendingInvalidation, conversation},
        model_call::ModelCall,
        response,
        revalidate::received::{self, Revalidated},
        semantic::{Answered, pending::Pending},
        state::Live,
        upstream::Repeat,
        upstream::body::UpstreamBody,
    },
    reason::Reason,
    telemetry::{
        log::events::Operation,
        stats::{Limit, UpstreamOutcome},
    },
    time::unix_millis,
};

impl Fill {
    /// Asks the upstream, writes the answer for its readers, and stores it.
    pub(crate) async fn run(mut self, request: Request<RequestBody>, writer: FlightWriter) {
        if let Some(pending) = &mut self.plan.pending {
            pending.begin();
        }
        let answered = self.answer(request, &writer).await;
        let exchange = &self.plan.context.exchange;
        if let Err(Stop::Failed(error)) = &answered {
            exchange.log_error(error);
        }
        let took = self.started.elapsed();
        exchange.log_step(Operation::Upstream, took, answered.is_ok());
        // An answer from the store is no call, and an abandoned one did not end.
        let outcome = match &answered {
            Ok(Whole { outcome: FillOutcome::FromStore, .. }) | Err(Stop::Abandoned) => None,
            Ok(_) => Some(UpstreamOutcome::Ok),
            Err(Stop::Failed(error)) => Some(error.outcome()),
        };
        if let Some(outcome) = outcome {
            let kind = Some(self.plan.context.route.kind);
            self.plan.shared().stats.here().upstream_call(kind, outcome, took);
        }
        let error = answered.as_ref().err().map(Stop::name);
        self.plan.context.exchange.trace_call(&self.upstream_call, took, error);
        match answered {
            Ok(Whole { outcome, rest: None }) => self.finish(outcome, writer).await,
            Ok(Whole { outcome, rest: Some(rest) }) => {
                let pending = self.plan.pending.take();
                let outcome = self.save(outcome, pending).await;
                // From now on, the store answers.
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
    /// finds the answer among its pending writes. They do wait for one that refused writes a moment ago, since they
    /// learn whether the answer is stored.
    async fn finish(mut self, outcome: FillOutcome, writer: FlightWriter) {
        let stored = match &outcome {
            FillOutcome::Save(storable) => storable.stored,
            _ => StoredFor::Usual,
        };
        let pending = self.plan.pending.take();
        let mut saving = pin!(self.save(outcome, pending));
        match saving.as_mut().now_or_never() {
            Some(outcome) => writer.end(End::Complete(outcome)),
            None if self.is_write_refused() => writer.end(End::Complete(saving.await)),
            None => {
                writer.end(End::Complete(Ok(stored)));
                saving.await.ok();
            }
        }
    }

    /// Whether the store refuses to write the answer, or did a moment ago.
    fn is_write_refused(&self) -> bool {
        let store = &self.plan.shared().store;
        self.plan.key.as_ref().is_some_and(|key| store.refuses_writes(key))
    }

    /// Stores the answer. It labels the question that is `pending`.
    async fn save(&self, outcome: FillOutcome, pending: Option<Box<Pending>>) -> Outcome {
        let mut answered = None;
        let saved = match outcome {
            FillOutcome::Save(storable) => {
                let Storable { entry, times, stored } = *storable;
                if pending.is_some() && stored == StoredFor::Usual {
                    answered = Some(Answered::Stored(Box::new(entry.clone())));
                }
                save::store(&self.plan, entry, times).await.map(|()| stored)
            }
            FillOutcome::FromStore => Ok(StoredFor::Usual),
            FillOutcome::NotSaved(reason) => Err(reason),
        };
        if saved.is_err() {
            self.hold_off_refresh();
        }
        self.note_stored(saved.map(|_| ()));
        if let Err(reason) = saved {
            // No text could stand in for such an answer; other failures say nothing about it.
            let is_other = matches!(reason, Reason::ToolCalls | Reason::Filtered);
            answered = is_other.then_some(Answered::Otherwise);
        }
        if let (Some(pending), Some(answered)) = (pending, answered) {
            pending.answered(answered);
        }
        saved
    }

    async fn answer(&mut self, request: Request<RequestBody>, writer: &FlightWriter) -> Result<Whole, Stop> {
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
        writer: &FlightWriter,
        began: Option<Version>,
    ) -> Result<Whole, Stop> {
        let asked = unix_millis(SystemTime::now());
        self.upstream_call.is_sent = true;
        let (mut head, framed, body) = open(self.send(request, writer).await?);
        self.upstream_call.status = Some(head.status);
        let context = &self.plan.context;
        context.refuse_credentials(head.status);
        context.exchange.record_cors(head.status, &head.headers);
        let times = Times { asked, came: unix_millis(SystemTime::now()) };
        if let Some(revalidated) = received::revalidated(&self.plan, &head, times) {
            return self.serve_revalidated(revalidated, times, writer, began).await.map(Whole::from);
        }
        head.own_ids.clone_from(&context.cache_request.own_ids);
        let verdict = cacheability::of_head(&self.plan, &head, times);
        head.shareable = cacheability::shareable(&self.plan, self.purpose, &head, verdict, times);
        let head = writer.head(head);
        self.update_by_head(&head, times, began).await;
        if cacheability::is_unshareable(&self.plan, &head, verdict) {
            self.mark_unshareable().await;
        }
        let received = self.receive(body, writer, &head, verdict).await;
        let (recorder, rest) = received.inspect_err(|stop| self.note_stopped(stop, verdict))?;
        let took = self.started.elapsed();
        let Some((body, pace)) = recorder.whole() else {
            writer.release();
            self.plan.shared().stats.limited(Limit::MaxEntry);
            let reason = verdict.err().unwrap_or(Reason::TooLarge);
            return Ok(Whole { outcome: FillOutcome::NotSaved(reason), rest });
        };
        let answer = cacheability::of_body(&self.plan, &head, &body);
        self.upstream_call.model_call = self.count_call(&head, &answer, took);
        let end = cacheability::of_end(&head, framed, &answer);
        self.report_end(end, &head, &answer, writer);
        let outcome = match verdict.and_then(|life| end.map(|()| life)) {
            Ok(life) => {
                let (life, stored) = cacheability::of_content(&self.plan, &head, &body, &answer, life);
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
        writer: &FlightWriter,
    ) -> Result<Response<UpstreamBody>, Stop> {
        let context = &self.plan.context;
        let Live { upstream, config, .. } = context.live();
        let invalidation = PendingInvalidation::for_cached(context);
        // A turn changes its conversation.
        let changes = invalidation.is_some() || !context.cache_request.conversations.is_empty();
        let repeat = Repeat::for_cached(request.method(), changes);
        let sent = tokio::select! {
            sent = timeout_at(context.deadline(), upstream.send(&config.upstream, request, repeat)) => {
                sent.unwrap_or_else(|_| Err(context.too_late()))
            }
            () = writer.closed(), if self.ends_when_abandoned() => return Err(Stop::Abandoned),
        };
        if let Some(invalidation) = invalidation {
            invalidation.finish(sent.as_ref()).await;
        }
        Ok(sent?)
    }

    /// Releases the followers that wait for the verdict, and notes whether the client's credentials are accepted.
    fn report_end(&self, end: Result<(), Reason>, head: &Head, answer: &Answer, writer: &FlightWriter) {
        if cacheability::followers_may_read(end) {
            writer.approve();
        } else {
            writer.release();
        }
        if end.is_ok() && answer.verdict.is_ok() && head.status.is_success() {
            self.plan.context.accept_credentials();
        }
        if let Some(word) = &answer.end {
            self.plan.context.exchange.log_unknown_end(word);
        }
    }

    /// Gives the readers the stored answer that the upstream has confirmed.
    async fn serve_revalidated(
        &self,
        revalidated: Revalidated,
        times: Times,
        writer: &FlightWriter,
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

    /// The answer to a `HEAD` may update a stored response. If that fails, this answer is not affected.
    async fn update_by_head(&self, head: &Head, times: Times, began: Option<Version>) {
        let updated = received::updated_by_head(&self.plan, head, times);
        if let Some(Ok(entry)) = updated.map(|entry| save::again(&self.plan, entry, began)) {
            let _ = Box::pin(save::store(&self.plan, entry, times)).await;
        }
    }

    /// Notes why an answer that has begun and did not come whole is not stored.
    fn note_stopped(&self, stop: &Stop, verdict: Result<Lifetime, Reason>) {
        match (stop, verdict) {
            (_, Err(reason)) => self.note_stored(Err(reason)),
            (Stop::Failed(_), Ok(_)) => self.note_stored(Err(Reason::Truncated)),
            (Stop::Abandoned, Ok(_)) => {}
        }
    }

    /// Counts and logs the call of a model that the upstream has answered.
    fn count_call(&self, head: &Head, answer: &Answer, took: Duration) -> Option<ModelCall> {
        if head.status != StatusCode::OK {
            return None;
        }
        let context = &self.plan.context;
        let model = answer.model.clone().or_else(|| context.cache_request.model.clone());
        let call = ModelCall::made(context, model, answer.usage);
        if context.route.kind.is_a_models() {
            context.exchange.log_llm_call(&call, took, false);
        }
        Some(call)
    }
}

/// Splits a response: its head, whether a length or chunks frame its body, and the body.
fn open(response: Response<UpstreamBody>) -> (Head, bool, UpstreamBody) {
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    let framed =
        headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    // A response without a body needs no framing.
    let framed = framed || body.is_end_stream();
    response::strip_upstream_headers(&mut headers);
    (
        Head {
            status: parts.status,
            headers,
            shareable: Shareable::Released,
            source: AnswerSource::Upstream,
            own_ids: Vec::new(),
        },
        framed,
        body,
    )
}
