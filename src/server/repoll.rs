//! A task that is woken while it runs goes on at once.
//!
//! A connection wakes itself with each request whose body its own handler reads. The runtime would put it at the end
//! of its queue, and wake another thread to look there.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// How often a future is polled in a row before others have their turn.
const AT_ONCE: usize = 8;

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const WOKEN: u8 = 2;

/// Who is woken, and whether the runtime must hear of it.
#[derive(Debug, Default)]
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == IDLE {
            self.task.wake();
        }
    }
}

/// Polls one future, again where it was woken while it was polled.
#[derive(Debug)]
pub struct Repoll {
    bell: Arc<Bell>,
    waker: Waker,
}

impl Default for Repoll {
    fn default() -> Self {
        let bell = Arc::new(Bell::default());
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }
}

impl Repoll {
    /// Polls `future`, which is the same one each time.
    pub fn poll<F: Future>(&self, mut future: Pin<&mut F>, cx: &Context<'_>) -> Poll<F::Output> {
        let bell = &self.bell;
        bell.task.register(cx.waker());
        for _ in 0..AT_ONCE {
            bell.state.swap(RUNNING, Ordering::AcqRel);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                return Poll::Ready(output);
            }
            let slept =
                bell.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if slept {
                return Poll::Pending;
            }
        }
        bell.state.store(IDLE, Ordering::Release);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, sync::atomic::AtomicUsize};

    use tokio::sync::mpsc;

    use super::*;

    async fn promptly<F: Future>(future: F) -> F::Output {
        let (mut future, promptly) = (pin!(future), Repoll::default());
        poll_fn(|cx| promptly.poll(future.as_mut(), cx)).await
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls once; the result, and how often the runtime was to hear of it so far.
    fn poll<F: Future + Unpin>(future: &mut F, count: &Arc<Count>) -> (Poll<F::Output>, usize) {
        let waker = Waker::from(Arc::clone(count));
        let polled = pin!(future).poll(&mut Context::from_waker(&waker));
        (polled, count.0.load(Ordering::Relaxed))
    }

    #[test]
    fn what_wakes_itself_goes_on_without_the_runtime() {
        let (count, mut left) = (Arc::default(), AT_ONCE - 1);
        let mut work = Box::pin(promptly(poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            left = left.saturating_sub(1);
            if left == 0 { Poll::Ready("done") } else { Poll::Pending }
        })));
        assert_eq!(poll(&mut work, &count), (Poll::Ready("done"), 0));
    }

    #[test]
    fn others_have_their_turn() {
        let count = Arc::default();
        let mut work = Box::pin(promptly(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })));
        assert_eq!(poll(&mut work, &count), (Poll::Pending, 1));
        assert_eq!(poll(&mut work, &count), (Poll::Pending, 2));
    }

    #[test]
    fn the_runtime_hears_once_of_what_happens_meanwhile() {
        let count = Arc::default();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut work = Box::pin(promptly(async move { (receiver.recv().await, receiver.recv().await) }));
        assert_eq!(poll(&mut work, &count), (Poll::Pending, 0));
        sender.send(1).expect("a receiver");
        assert_eq!(poll(&mut work, &count), (Poll::Pending, 1));
        sender.send(2).expect("a receiver");
        assert_eq!(poll(&mut work, &count), (Poll::Ready((Some(1), Some(2))), 2));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_is_lost_between_threads() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let reading = tokio::spawn(promptly(async move {
            let mut sum = 0_u64;
            while let Some(number) = receiver.recv().await {
                sum += number;
            }
            sum
        }));
        for number in 0..20_000 {
            sender.send(number).expect("a receiver");
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(sender);
        assert_eq!(reading.await.expect("no panic"), 19_999 * 20_000 / 2);
    }
}
