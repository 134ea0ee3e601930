//! Deadlines of which most are called off: a connection's next head, again and again.
//!
//! The runtime keeps its timers in one wheel under one lock, which each deadline would enter and leave. Here a
//! connection has one timer in all. It is left where it is when a deadline is called off, and set to a later one only
//! once it rings.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt;
use parking_lot::Mutex;

/// The deadlines of one connection, one at a time.
#[derive(Clone, Debug, Default)]
pub struct ServerTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

impl rt::Timer for ServerTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Until { deadline: deadline.into(), alarm: self.clone() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

struct Until {
    deadline: tokio::time::Instant,
    alarm: ServerTimer,
}

impl rt::Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let mut timer = self.alarm.0.lock();
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() == deadline {
                return Poll::Ready(());
            }
            // It rang for one that was called off.
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Timer as _;
    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_met_whatever_was_called_off_before() {
        let alarm = ServerTimer::default();
        // Later than the one before, and earlier; waited for, and called off.
        for (seconds, waits) in [(10, 4), (7, 7), (2, 2), (30, 29), (30, 0), (5, 5), (9, 9)] {
            let started = Instant::now();
            let waited = tokio::time::timeout(SECOND * waits, alarm.sleep(SECOND * seconds)).await;
            assert_eq!(waited.is_ok(), waits == seconds, "{seconds} s, waited for {waits} s");
            assert_eq!(started.elapsed().as_secs(), u64::from(waits), "{seconds} s");
        }
    }
}
