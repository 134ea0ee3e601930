//! Runs a future inside the caller's task, and spawns the rest of it if the caller drops it.
//!
//! A fill must outlive the client that began it, but as a task from its start it woke threads back and forth
//! with the request that waited for it: a miss cost 4.9 voluntary and 4.3 other context switches. Done by the
//! request's own task it costs 1.7 and 0.6, and no futex call. tokio-util's `AbortOnDropHandle` does the
//! opposite: it ends the work.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio_util::task::TaskTracker;

/// Dropped before the end of the work, it makes the rest one of `tasks`.
pub(crate) struct DetachOnDrop {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    tasks: TaskTracker,
}

impl DetachOnDrop {
    /// `work` begins at the first call of [`until`](Self::until).
    pub(crate) fn new(work: impl Future<Output = ()> + Send + 'static, tasks: TaskTracker) -> Self {
        Self { work: Some(Box::pin(work)), tasks }
    }

    /// Does the work until `event` happens. Nothing but the work may cause it: the event wakes nobody while
    /// the work runs.
    pub(crate) async fn until<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = pin!(event);
        std::future::poll_fn(|cx| {
            self.work_on(cx);
            // The event is polled after each step of the work, so it needs no waker: that would be a second
            // wake-up.
            let waker = if self.work.is_some() { Waker::noop() } else { cx.waker() };
            event.as_mut().poll(&mut Context::from_waker(waker))
        })
        .await
    }

    fn work_on(&mut self, cx: &mut Context<'_>) {
        let Some(work) = &mut self.work else { return };
        // A panic ends the work, as it would end a task, and not the task that waits for it.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        if !matches!(polled, Ok(Poll::Pending)) {
            self.work = None;
        }
    }
}

impl Drop for DetachOnDrop {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tasks.spawn(work);
        }
    }
}

impl fmt::Debug for DetachOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachOnDrop").field("ended", &self.work.is_none()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[tokio::test]
    async fn the_task_that_waits_does_the_work() {
        let tasks = TaskTracker::new();
        let (send_input, input) = oneshot::channel::<u8>();
        let (send_result, result) = oneshot::channel();
        let work = async move {
            let number = input.await.expect("a number");
            let _ = send_result.send(number + 1);
        };
        let mut detached = DetachOnDrop::new(work, tasks.clone());
        tokio::spawn(async move { send_input.send(1) });
        assert_eq!(detached.until(result).await, Ok(2));
        drop(detached);
        assert!(tasks.is_empty(), "no task was needed");
    }

    #[tokio::test]
    async fn work_that_is_left_goes_on() {
        let tasks = TaskTracker::new();
        let (step, mut steps) = mpsc::unbounded_channel();
        let (go_on, further) = oneshot::channel();
        let work = async move {
            step.send("begun").expect("a listener");
            further.await.expect("somebody goes on");
            step.send("ended").expect("a listener");
        };
        let mut detached = DetachOnDrop::new(work, tasks.clone());
        assert_eq!(detached.until(steps.recv()).await, Some("begun"));
        drop(detached);
        assert_eq!(tasks.len(), 1);
        go_on.send(()).expect("the work waits");
        assert_eq!(steps.recv().await, Some("ended"));
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn work_that_panics_ends_and_is_not_tried_again() {
        let tasks = TaskTracker::new();
        let (held, dropped) = oneshot::channel::<()>();
        let work = async move {
            let _held = held;
            tokio::task::yield_now().await;
            panic!("a fault, as this test wants it");
        };
        let mut detached = DetachOnDrop::new(work, tasks.clone());
        assert!(detached.until(dropped).await.is_err(), "what it held is dropped");
        drop(detached);
        assert!(tasks.is_empty());
    }
}
