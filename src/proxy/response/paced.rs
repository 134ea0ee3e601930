//! A stored stream, sent event by event at the pace at which it was recorded, or at a fixed one (`replay`).

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{cache::route::Replay, http::sse::Framing};

/// The events of a stream that are still to come, each with the time before it.
#[derive(Debug)]
pub(crate) struct Paced {
    events: VecDeque<(Duration, Bytes)>,
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    /// `body` event by event, as `replay` says; `recorded` has the milliseconds before each event. `None` if
    /// the body is no stream, or is to be sent at once.
    pub(crate) fn new(replay: Replay, framing: Framing, body: &Bytes, recorded: &[u32]) -> Option<Self> {
        let events = framing.all_events(body)?;
        let gap = |place: usize| match replay {
            Replay::AtOnce => None,
            Replay::Recorded => Some(Duration::from_millis(recorded.get(place).copied().unwrap_or(0).into())),
            Replay::Every(_) if place == 0 => Some(Duration::ZERO),
            Replay::Every(gap) => Some(gap),
        };
        let mut at = 0;
        let mut paced = VecDeque::with_capacity(events.len() + 1);
        for (place, event) in events.iter().enumerate() {
            paced.push_back((gap(place)?, body.slice(at..event.end)));
            at = event.end;
        }
        if at < body.len() {
            paced.push_back((Duration::ZERO, body.slice(at..)));
        }
        Some(Self { events: paced, last: Instant::now(), timer: None })
    }

    /// The bytes that are still to come.
    pub(crate) fn len(&self) -> usize {
        self.events.iter().map(|(_, event)| event.len()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The next event, once it is due.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some((gap, _)) = self.events.front() else { return Poll::Ready(None) };
        if !gap.is_zero() {
            let due = self.last + *gap;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        self.last = Instant::now();
        Poll::Ready(self.events.pop_front().map(|(_, event)| event))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const BODY: &[u8] = b"data: a\n\n: note\n\ndata: b\r\n\r\ndata: c\n\n: bye\n";

    async fn times(replay: Replay, recorded: &[u32]) -> (Vec<u64>, Vec<u8>) {
        let mut paced =
            Paced::new(replay, Framing::Events, &Bytes::from_static(BODY), recorded).expect("paced");
        let start = Instant::now();
        let mut times = Vec::new();
        let mut whole = Vec::new();
        assert_eq!(paced.len(), BODY.len());
        while let Some(event) = poll_fn(|cx| paced.poll_next(cx)).await {
            times.push(start.elapsed().as_millis() as u64);
            whole.extend_from_slice(&event);
        }
        (times, whole)
    }

    #[tokio::test(start_paused = true)]
    async fn events_come_at_their_times_and_nothing_is_lost() {
        assert_eq!(times(Replay::Recorded, &[5, 30, 200]).await, (vec![5, 35, 235, 235], BODY.to_vec()));
        assert_eq!(
            times(Replay::Every(Duration::from_millis(20)), &[]).await,
            (vec![0, 20, 40, 40], BODY.to_vec())
        );
    }

    #[test]
    fn what_has_no_pace_is_not_paced() {
        let body = Bytes::from_static(BODY);
        assert!(Paced::new(Replay::Recorded, Framing::Whole, &body, &[]).is_none());
        assert!(Paced::new(Replay::AtOnce, Framing::Events, &body, &[]).is_none());
    }
}
