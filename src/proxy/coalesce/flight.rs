//! An answer while it arrives: one task writes it, any number of readers follow.
//!
//! The chunks are kept in one buffer that readers share, so a slow reader loses nothing and a late one starts
//! at the beginning. Beyond its bound the buffer is a window: what every reader has had is let go, and the writer
//! waits for the slowest one. Nobody is cut because others are faster; but one that keeps them waiting and takes
//! nothing at all for a long time is.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    cache::invalidation::Version, proxy::error::ProxyError, reason::Reason, telemetry::stats::Limit,
};

/// How long one that joined may take nothing while others wait for it: what a system keeps for a connection is
/// megabytes, so that at some 50 KiB a second there are half minutes without a read here.
const FOLLOWER_STALL: Duration = Duration::from_secs(30);

/// The same for the one that asked, whose answer it is: without this proxy, nobody would cut it.
const LEADER_STALL: Duration = Duration::from_secs(300);

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers, without those of the connection.
    pub(crate) headers: HeaderMap,
    /// Who may read it besides the request that asked for it.
    pub(crate) shareable: Shareable,
    /// Where it comes from.
    pub(crate) source: Source,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the upstream.
    Upstream,
    /// From the store, where it came between the request's lookup and its turn to ask.
    Meanwhile,
    /// From the store, confirmed by the upstream.
    Revalidated {
        /// Its age, in seconds.
        age: u64,
        /// How long it is fresh yet, in seconds; negative where it is stale.
        ttl: i64,
    },
}

/// Who may read an answer besides the request that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shareable {
    /// Everybody who joins.
    Open,
    /// Everybody who joins, once the whole answer was judged: before, it may be a failure, or somebody's own.
    Judged,
    /// Nobody: those who wait ask for themselves, at once.
    Released,
    /// Nobody: the upstream failed, and one of those who wait may try again for all.
    Failed,
}

/// How an answer that came whole ended: how it was stored, or why not.
pub(crate) type Outcome = Result<StoredFor, Reason>;

/// For how long an answer was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredFor {
    /// As long as its route says.
    Usual,
    /// A short time only, for this reason.
    Short(Reason),
}

/// Why an answer was not stored, or for a short time only.
pub(crate) fn reason(outcome: Outcome) -> Option<Reason> {
    match outcome {
        Ok(StoredFor::Usual) => None,
        Ok(StoredFor::Short(reason)) | Err(reason) => Some(reason),
    }
}

/// How an answer ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It came whole; whether it was stored, or why not.
    Complete(Outcome),
    /// It did not come, or was cut off.
    Failed(Arc<ProxyError>),
}

/// Everybody has left, and the answer is too large to be worth finishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

#[derive(Debug, Default)]
struct State {
    head: Option<Arc<Head>>,
    chunks: VecDeque<Bytes>,
    /// The number of chunks that were let go.
    gone: usize,
    held: usize,
    end: Option<End>,
    ended_at: Option<Instant>,
    /// It is nobody else's, whatever its head says.
    released: bool,
    /// It was judged, and is good for those who wait for that.
    approved: bool,
    readers: Vec<Option<Slot>>,
}

/// A reader, as the writer sees it.
#[derive(Debug, Default)]
struct Slot {
    /// The number of chunks it has had.
    next: usize,
    waker: Option<Waker>,
    /// It asked for the answer.
    leads: bool,
    /// Since when others wait for it, in which it took nothing.
    stalls_since: Option<Instant>,
    /// It took nothing for too long, and what it needs next is gone.
    lost: bool,
}

impl Slot {
    const fn may_stall_for(&self) -> Duration {
        if self.leads { LEADER_STALL } else { FOLLOWER_STALL }
    }
}

/// Whether there is room for a chunk.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    /// There is.
    Yes,
    /// Once readers have read on, or at the latest then.
    Later(Option<Instant>),
    /// Nobody reads, and the buffer is full.
    Nobody,
}

impl State {
    fn wake_readers(&mut self) {
        for slot in self.readers.iter_mut().flatten() {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    fn written(&self) -> usize {
        self.gone + self.chunks.len()
    }

    /// Lets go of the first chunk, and of the readers that have not had it.
    fn drop_first(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.held -= chunk.len();
            self.gone += 1;
        }
        let gone = self.gone;
        for slot in self.readers.iter_mut().flatten().filter(|slot| slot.next < gone) {
            slot.lost = true;
        }
    }

    /// Makes room for `more` bytes under `bound`: what all have had goes first, then what those lack that stall.
    fn make_room(&mut self, more: usize, bound: usize, now: Instant) -> Room {
        while self.held + more > bound {
            let live = || self.readers.iter().flatten().filter(|slot| !slot.lost).map(|slot| slot.next);
            let (Some(fastest), Some(slowest)) = (live().max(), live().min()) else { return Room::Nobody };
            if self.gone == fastest {
                // A single chunk may be larger than the bound; it goes through alone.
                return if self.held == 0 { Room::Yes } else { Room::Later(None) };
            }
            if slowest == self.gone
                && let Some(until) = self.waits_until(now)
            {
                return Room::Later(Some(until));
            }
            self.drop_first();
        }
        Room::Yes
    }

    /// Until when those are waited for who lack the first chunk; `None` where they have been.
    fn waits_until(&mut self, now: Instant) -> Option<Instant> {
        let gone = self.gone;
        let behind = self.readers.iter_mut().flatten().filter(|slot| !slot.lost && slot.next == gone);
        let until = |slot: &mut Slot| *slot.stalls_since.get_or_insert(now) + slot.may_stall_for();
        behind.map(until).filter(|until| now < *until).max()
    }
}

/// An answer while it arrives.
#[derive(Debug)]
pub(crate) struct Flight {
    state: Mutex<State>,
    meta: FlightMeta,
    /// A reader has read on, or left.
    progress: Notify,
}

/// What is known of an answer from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlightMeta {
    /// How many bytes are kept for readers at most.
    pub(crate) bound: usize,
    /// Whether the request that asks for it has credentials.
    pub(crate) with_credentials: bool,
    /// Whether it was asked for after another request's failure, which is not done twice.
    pub(crate) second: bool,
    /// How far the order of retirements was known as it began; `None` where nothing was.
    pub(crate) began: Option<Version>,
}

impl Flight {
    /// A new answer, with its only writer.
    pub(crate) fn start(meta: FlightMeta) -> (Arc<Self>, Writer) {
        let flight = Arc::new(Self { state: Mutex::default(), meta, progress: Notify::new() });
        (Arc::clone(&flight), Writer { flight })
    }

    /// What was known of it from its start.
    pub(crate) const fn meta(&self) -> FlightMeta {
        self.meta
    }

    /// How many read it, if a request could that came at `since`: `None` where it failed, is nobody else's, its
    /// beginning is gone, or its end was before that.
    pub(crate) fn joinable(&self, since: std::time::Instant) -> Option<usize> {
        let state = self.state.lock();
        let is_shared = state
            .head
            .as_ref()
            .is_none_or(|head| matches!(head.shareable, Shareable::Open | Shareable::Judged));
        let failed = matches!(state.end, Some(End::Failed(_)));
        let is_over = state.ended_at.is_some_and(|ended| ended.into_std() < since);
        (is_shared && !failed && !is_over && !state.released && state.gone == 0)
            .then(|| state.readers.iter().flatten().count())
    }

    /// One more reader, from the answer's beginning. The first one is that of the request that asks for it.
    pub(crate) fn reader(self: &Arc<Self>) -> Reader {
        let mut state = self.state.lock();
        let slot = Slot { lost: state.gone > 0, leads: state.readers.is_empty(), ..Slot::default() };
        let free = state.readers.iter().position(Option::is_none);
        let place = free.unwrap_or(state.readers.len());
        match free {
            Some(place) => state.readers[place] = Some(slot),
            None => state.readers.push(Some(slot)),
        }
        drop(state);
        Reader { flight: Arc::clone(self), place }
    }
}

/// Writes an answer. Dropped before the end, it fails the answer, so that nobody waits for a dead writer.
#[derive(Debug)]
pub(crate) struct Writer {
    flight: Arc<Flight>,
}

impl Writer {
    /// Tells the head.
    pub(crate) fn head(&self, head: Head) -> Arc<Head> {
        let head = Arc::new(head);
        let mut state = self.flight.state.lock();
        state.head = Some(Arc::clone(&head));
        state.wake_readers();
        head
    }

    /// Has those who wait for the answer ask for themselves, and nobody join it from now on.
    pub(crate) fn release(&self) {
        let mut state = self.flight.state.lock();
        state.released = true;
        state.wake_readers();
    }

    /// Gives the answer to those who wait for it to be judged.
    pub(crate) fn approve(&self) {
        let mut state = self.flight.state.lock();
        state.approved = true;
        state.wake_readers();
    }

    /// Adds a chunk, waiting for the readers where they lag.
    ///
    /// # Errors
    /// Where nobody reads any more and the buffer is full.
    pub(crate) async fn chunk(&self, chunk: Bytes) -> Result<(), Abandoned> {
        loop {
            let now = Instant::now();
            let room = self.flight.state.lock().make_room(chunk.len(), self.flight.meta.bound, now);
            match room {
                Room::Yes => break,
                Room::Nobody => return Err(Abandoned),
                Room::Later(None) => self.flight.progress.notified().await,
                Room::Later(Some(until)) => {
                    let _ = timeout_at(until, self.flight.progress.notified()).await;
                }
            }
        }
        let mut state = self.flight.state.lock();
        state.held += chunk.len();
        state.chunks.push_back(chunk);
        state.wake_readers();
        Ok(())
    }

    /// Completes once nobody reads any more.
    pub(crate) async fn closed(&self) {
        while self.flight.state.lock().readers.iter().any(Option::is_some) {
            self.flight.progress.notified().await;
        }
    }

    /// Ends the answer.
    pub(crate) fn end(self, end: End) {
        self.flight.end(end);
    }
}

impl Flight {
    fn end(&self, end: End) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.end = Some(end);
            state.ended_at = Some(Instant::now());
            state.wake_readers();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flight.end(End::Failed(Arc::new(ProxyError::internal("the answer was abandoned"))));
    }
}

/// Reads an answer from its beginning; as a [`Body`], its chunks.
#[derive(Debug)]
pub(crate) struct Reader {
    flight: Arc<Flight>,
    place: usize,
}

impl Reader {
    /// What was known of the answer from its start.
    pub(crate) fn meta(&self) -> FlightMeta {
        self.flight.meta
    }

    /// Waits for the head.
    ///
    /// # Errors
    /// Where the answer failed before it.
    pub(crate) async fn head(&self) -> Result<Arc<Head>, Arc<ProxyError>> {
        self.told(|state| match (&state.head, &state.end) {
            (Some(head), _) => Some(Ok(Arc::clone(head))),
            (None, Some(End::Failed(error))) => Some(Err(Arc::clone(error))),
            _ => None,
        })
        .await
    }

    /// Waits, as one of those who did not ask for the answer, for its head; `None` where it is nobody else's.
    ///
    /// # Errors
    /// Where the answer failed before it.
    pub(crate) async fn shared_head(&self) -> Result<Option<Arc<Head>>, Arc<ProxyError>> {
        self.told(|state| match (&state.head, &state.end) {
            (Some(head), _) if head.shareable == Shareable::Released => Some(Ok(None)),
            (Some(head), _) if head.shareable != Shareable::Judged || state.approved => {
                Some(Ok(Some(Arc::clone(head))))
            }
            (_, _) if state.released => Some(Ok(None)),
            (_, Some(End::Failed(error))) => Some(Err(Arc::clone(error))),
            (Some(_), Some(End::Complete(_))) => Some(Ok(None)),
            _ => None,
        })
        .await
    }

    /// Waits for the first chunk, or the end where there is none.
    pub(crate) async fn begun(&self) {
        self.told(|state| (state.written() > 0 || state.end.is_some()).then_some(())).await;
    }

    /// Waits for the end.
    pub(crate) async fn end(&self) -> End {
        self.told(|state| state.end.clone()).await
    }

    /// Waits until `look` finds what it looks for.
    async fn told<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        std::future::poll_fn(|cx| {
            let mut state = self.flight.state.lock();
            look(&state).map_or_else(|| self.wait(&mut state, cx), Poll::Ready)
        })
        .await
    }

    /// How the answer ended, if it has.
    pub(crate) fn ended(&self) -> Option<End> {
        self.flight.state.lock().end.clone()
    }

    /// The bytes that have come, where all of them have.
    pub(crate) fn complete_len(&self) -> Option<u64> {
        let state = self.flight.state.lock();
        matches!(state.end, Some(End::Complete(_)) if state.gone == 0).then_some(state.held as u64)
    }

    fn wait<T>(&self, state: &mut State, cx: &Context<'_>) -> Poll<T> {
        if let Some(Some(slot)) = state.readers.get_mut(self.place) {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Arc<ProxyError>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut state = self.flight.state.lock();
        let (gone, written) = (state.gone, state.written());
        let Some(Some(slot)) = state.readers.get_mut(self.place) else { return Poll::Ready(None) };
        if slot.lost {
            let error = ProxyError::internal("the client took nothing, and others waited for it");
            let error = error.over(Limit::MaxBuffer);
            return Poll::Ready(Some(Err(Arc::new(error))));
        }
        if slot.next < written {
            let at = slot.next - gone;
            slot.next += 1;
            slot.stalls_since = None;
            let chunk = state.chunks[at].clone();
            drop(state);
            self.flight.progress.notify_one();
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &state.end {
            Some(End::Complete(_)) => Poll::Ready(None),
            Some(End::Failed(error)) => Poll::Ready(Some(Err(Arc::clone(error)))),
            None => self.wait(&mut state, cx),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.flight.state.lock().readers[self.place] = None;
        self.flight.progress.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn meta(bound: usize) -> FlightMeta {
        FlightMeta { bound, with_credentials: false, second: false, began: None }
    }

    fn bytes(len: usize) -> Bytes {
        vec![b'x'; len].into()
    }

    async fn read_all(reader: Reader) -> Result<Bytes, Arc<ProxyError>> {
        reader.collect().await.map(http_body_util::Collected::to_bytes)
    }

    #[tokio::test]
    async fn late_readers_get_everything() {
        let (flight, writer) = Flight::start(meta(100));
        let early = tokio::spawn(read_all(flight.reader()));
        writer.chunk(Bytes::from_static(b"one ")).await.expect("a reader");
        let late = tokio::spawn(read_all(flight.reader()));
        writer.chunk(Bytes::from_static(b"two")).await.expect("a reader");
        writer.end(End::Complete(Ok(StoredFor::Usual)));
        for reader in [early, late, tokio::spawn(read_all(flight.reader()))] {
            assert_eq!(reader.await.expect("no panic").expect("whole"), "one two");
        }
    }

    #[tokio::test]
    async fn a_dropped_writer_fails_its_readers_at_once() {
        let (flight, writer) = Flight::start(meta(100));
        let (waiting, reading) = (flight.reader(), tokio::spawn(read_all(flight.reader())));
        drop(writer);
        assert!(waiting.head().await.is_err());
        assert!(reading.await.expect("no panic").is_err());
    }

    #[tokio::test]
    async fn a_writer_that_panics_fails_its_readers_at_every_stage() {
        for stage in 0..3 {
            let (flight, writer) = Flight::start(meta(100));
            let reading = tokio::spawn(read_all(flight.reader()));
            let writing = tokio::spawn(async move {
                let head = Head {
                    status: StatusCode::OK,
                    headers: HeaderMap::new(),
                    shareable: Shareable::Open,
                    source: Source::Upstream,
                };
                if stage > 0 {
                    writer.head(head);
                }
                if stage > 1 {
                    writer.chunk(bytes(10)).await.expect("a reader");
                }
                panic!("a fault, as this test wants it");
            });
            assert!(writing.await.expect_err("a panic").is_panic());
            assert!(reading.await.expect("no panic").is_err(), "stage {stage}");
        }
    }

    #[tokio::test]
    async fn the_only_reader_holds_the_writer_back() {
        let (flight, writer) = Flight::start(meta(10));
        let mut reader = flight.reader();
        writer.chunk(bytes(10)).await.expect("room");
        let mut next = Box::pin(writer.chunk(bytes(5)));
        assert!(futures_poll(&mut next).is_none(), "no room until the reader reads");
        reader.frame().await.expect("a chunk").expect("whole");
        assert_eq!(futures_poll(&mut next), Some(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_joined_is_not_slow() {
        let (flight, writer) = Flight::start(meta(10));
        let mut fast = flight.reader();
        writer.chunk(bytes(10)).await.expect("room");
        fast.frame().await.expect("a chunk").expect("whole");
        let late = tokio::spawn(read_all(flight.reader()));
        writer.chunk(bytes(10)).await.expect("the fast reader reads");
        writer.end(End::Complete(Ok(StoredFor::Usual)));
        assert_eq!(late.await.expect("no panic").expect("whole").len(), 20);
    }

    /// Reads to the end, with a pause before each chunk.
    async fn read_slowly(mut reader: Reader, pause: Duration) -> Result<usize, Arc<ProxyError>> {
        let mut len = 0;
        loop {
            tokio::time::sleep(pause).await;
            match reader.frame().await {
                Some(frame) => len += frame?.into_data().map_or(0, |data| data.len()),
                None => return Ok(len),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_who_reads_is_cut_because_others_are_faster() {
        let (almost, ms) = (FOLLOWER_STALL - Duration::from_secs(1), Duration::from_millis);
        for paces in [
            [almost, ms(1), ms(1)],
            [ms(1), almost, ms(1)],
            [LEADER_STALL - Duration::from_secs(1), ms(1), almost],
            [ms(1), almost, almost],
            [almost, almost, almost],
        ] {
            let (flight, writer) = Flight::start(meta(100));
            let readers: Vec<_> =
                paces.iter().map(|pace| tokio::spawn(read_slowly(flight.reader(), *pace))).collect();
            for _ in 0..100 {
                writer.chunk(bytes(10)).await.expect("they read");
            }
            writer.end(End::Complete(Ok(StoredFor::Usual)));
            for reader in readers {
                assert_eq!(reader.await.expect("no panic").expect("whole"), 1000, "{paces:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_for_long_is_cut_and_the_others_go_on() {
        for (leader_stalls, longest) in [(true, LEADER_STALL), (false, FOLLOWER_STALL)] {
            let (flight, writer) = Flight::start(meta(10));
            let (leader, follower) = (flight.reader(), flight.reader());
            let (stalled, fast) = if leader_stalls { (leader, follower) } else { (follower, leader) };
            let (began, fast) = (Instant::now(), tokio::spawn(read_all(fast)));
            for _ in 0..5 {
                writer.chunk(bytes(10)).await.expect("the fast reader reads");
            }
            writer.end(End::Complete(Ok(StoredFor::Usual)));
            assert_eq!(fast.await.expect("no panic").expect("whole").len(), 50);
            let waited = began.elapsed();
            assert!(waited >= longest && waited < longest + Duration::from_secs(1), "once: {waited:?}");
            assert!(read_all(stalled).await.is_err());
            assert!(read_all(flight.reader()).await.is_err(), "what a new one needs first is gone");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_nobody_waiting_may_take_its_time() {
        let (flight, writer) = Flight::start(meta(10));
        let only = tokio::spawn(read_slowly(flight.reader(), LEADER_STALL * 3));
        for _ in 0..5 {
            writer.chunk(bytes(10)).await.expect("it reads");
        }
        writer.end(End::Complete(Ok(StoredFor::Usual)));
        assert_eq!(only.await.expect("no panic").expect("whole"), 50);
    }

    #[tokio::test]
    async fn unread_and_too_large_is_abandoned() {
        let (flight, writer) = Flight::start(meta(10));
        drop(flight.reader());
        writer.chunk(bytes(10)).await.expect("within the bound, it may be worth storing");
        assert_eq!(writer.chunk(bytes(1)).await, Err(Abandoned));
    }

    fn futures_poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }
}
