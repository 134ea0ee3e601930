//! Reading the body of the upstream's response while its readers get it.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::Frame;
use http_body_util::BodyExt;

use crate::{
    cache::policy::Lifetime,
    http::sse::Event,
    proxy::{
        body::BodyError,
        coalesce::{flight::FlightWriter, head::Head},
        error::ProxyError,
        fill::{call::Fill, outcome::Stop, recorder::Recorder},
        upstream,
        upstream::body::UpstreamBody,
    },
    reason::Reason,
    telemetry::stats::Limit,
};

/// How long the fill waits for the body to end after the answer's last event. What comes in that time is stored too.
const END_WAIT: Duration = Duration::from_millis(50);

/// How many chunks are held before their readers are woken.
const MAX_HELD: usize = 32;

impl Fill {
    /// Passes the body on to the readers as it comes, and records it unless it is too large. Once it proves larger than
    /// what is shared, the next requests ask for themselves. If the answer ends and the body does not end soon after, the
    /// body is returned as well, for [`pass_on`].
    pub(super) async fn receive(
        &mut self,
        mut body: UpstreamBody,
        writer: &FlightWriter,
        head: &Head,
        verdict: Result<Lifetime, Reason>,
    ) -> Result<(Recorder, Option<UpstreamBody>), Stop> {
        let context = Arc::clone(&self.plan.context);
        let stream_end = context.route.stream_end.as_ref();
        let is_judged = self.plan.revalidation.is_none();
        let has_error = AtomicBool::new(false);
        let is_last = |event: &Event| {
            if is_judged && context.route.is_error(event) {
                has_error.store(true, Ordering::Relaxed);
            }
            is_judged && context.cache_request.dialect.ends_with(event, stream_end)
        };
        let framing = context.route.framing(&head.headers);
        // An answer that is known to be too large is not recorded at all.
        let is_too_large = verdict.is_err_and(|reason| reason == Reason::TooLarge);
        let largest = if is_too_large { 0 } else { self.plan.largest_answer() };
        let mut recorder = Recorder::new(framing, largest, Instant::now());
        let largest_shared = self.plan.largest_shared();
        let mut is_marked = is_too_large;
        let mut has_readers = true;
        let mut ended: Option<Instant> = None;
        let mut held = 0;
        let ends_when_abandoned = self.ends_when_abandoned();
        // An answer that cannot be stored is only of use to its readers.
        let may_stop = |recorder: &Recorder| !recorder.fits() || verdict.is_err() || ends_when_abandoned;
        loop {
            let at_hand = if held < MAX_HELD { frame_at_hand(&mut body).await } else { None };
            let frame = match at_hand {
                Some(frame) => frame,
                None => {
                    held = 0;
                    writer.wake_readers();
                    tokio::select! {
                        frame = body.frame() => frame,
                        () = writer.closed(), if may_stop(&recorder) && ended.is_none() => {
                            return Err(Stop::Abandoned);
                        }
                        () = until(ended.map(|ended| ended + END_WAIT)) => return Ok((recorder, Some(body))),
                    }
                }
            };
            held += 1;
            let Some(frame) = frame else { return Ok((recorder, None)) };
            let Ok(chunk) = frame.map_err(|error| upstream::cut(&error))?.into_data() else { continue };
            if recorder.add(chunk.clone(), Instant::now(), is_last) && ended.is_none() {
                ended = Some(Instant::now());
                body.guard_mut().release_permit();
            }
            if has_error.swap(false, Ordering::Relaxed) {
                // What is an error is not shared: who waits, or comes now, asks again.
                writer.release();
            }
            if !is_marked && recorder.len() > largest_shared {
                is_marked = true;
                writer.release();
                self.mark_unshareable().await;
            }
            // All readers have left, and the buffer is full: nobody can join any more, and the answer is only stored.
            if has_readers && writer.hold_chunk(chunk).await.is_err() {
                if may_stop(&recorder) {
                    self.plan.shared().stats.limited(Limit::MaxBuffer);
                    return Err(Stop::Abandoned);
                }
                has_readers = false;
            }
        }
    }
}

/// Passes on what comes after the answer's end to the readers that are left. If nothing comes for the upstream's idle
/// limit, the body has ended.
///
/// # Errors
/// If the body is cut, which its readers see.
pub(super) async fn pass_on(mut rest: UpstreamBody, writer: &FlightWriter) -> Result<(), ProxyError> {
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

/// The next frame, if it is here already or the connection's task has it: several events that came together then go to a
/// client in one write. A stream of 21 such events takes 5 writes, and took 24.
async fn frame_at_hand(body: &mut UpstreamBody) -> Option<Option<Result<Frame<Bytes>, BodyError>>> {
    if let Some(frame) = body.frame().now_or_never() {
        return Some(frame);
    }
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    body.frame().now_or_never()
}

/// Completes at `then`; without one, never.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}
