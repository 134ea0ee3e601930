//! Work that is done by the task which waits for it, and by one of its own once that task waits no longer.
//!
//! Where nobody leaves early, no other thread is woken for it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio_util::task::TaskTracker;

/// Work that is carried along. Dropped before its end, it becomes one of `tasks`.
pub(crate) struct DetachOnDrop {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    tasks: TaskTracker,
}

impl DetachOnDrop {
    /// `work`, which begins once it is waited for.
    pub(crate) fn new(work: impl Future<Output = ()> + Send + 'static, tasks: TaskTracker) -> Self {
        Self { work: Some(Box::pin(work)), tasks }
    }

    /// Does the work until `told` is, which nothing but the work tells.
    pub(crate) async fn until<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = pin!(event);
        std::future::poll_fn(|cx| {
            self.work_on(cx);
            // It is looked at after each step of the work: to be woken as well would be to be woken twice.
            let waker = if self.work.is_some() { Waker::noop() } else { cx.waker() };
            event.as_mut().poll(&mut Context::from_waker(waker))
        })
        .await
    }

    fn work_on(&mut self, cx: &mut Context<'_>) {
        let Some(work) = &mut self.work else { return };
        // A panic ends the work, as it would end a task, and not who waits for it.
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
    async fn the_one_who_waits_does_the_work() {
        let tasks = TaskTracker::new();
        let (told, tell) = (oneshot::channel(), oneshot::channel::<u8>());
        let work = async move {
            let number = tell.1.await.expect("a number");
            let _ = told.0.send(number + 1);
        };
        let mut detached = DetachOnDrop::new(work, tasks.clone());
        tokio::spawn(async move { tell.0.send(1) });
        assert_eq!(detached.until(told.1).await, Ok(2));
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
        let (held, told) = oneshot::channel::<()>();
        let work = async move {
            let _held = held;
            tokio::task::yield_now().await;
            panic!("a fault, as this test wants it");
        };
        let mut detached = DetachOnDrop::new(work, tasks.clone());
        assert!(detached.until(told).await.is_err(), "what it held is dropped");
        drop(detached);
        assert!(tasks.is_empty());
    }
}
