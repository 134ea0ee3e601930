use std::{task::Waker, time::Duration};

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;

use super::*;
use crate::proxy::coalesce::{
    buffer::{FOLLOWER_STALL, LEADER_STALL},
    head::{AnswerSource, StoredFor},
};

fn meta(bound: usize) -> FlightMeta {
    FlightMeta { bound, with_credentials: false, second: false, began: None }
}

fn bytes(len: usize) -> Bytes {
    vec![b'x'; len].into()
}

async fn read_all(reader: FlightReader) -> Result<Bytes, Arc<ProxyError>> {
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
    let waiting = flight.reader();
    let reading = tokio::spawn(read_all(flight.reader()));
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
                source: AnswerSource::Upstream,
                own_ids: Vec::new(),
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
    assert!(poll_once(&mut next).is_none(), "no room until the reader reads");
    reader.frame().await.expect("a chunk").expect("whole");
    assert_eq!(poll_once(&mut next), Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_just_joined_is_not_slow() {
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
async fn read_slowly(mut reader: FlightReader, pause: Duration) -> Result<usize, Arc<ProxyError>> {
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
async fn no_reader_is_cut_because_others_are_faster() {
    let almost = FOLLOWER_STALL - Duration::from_secs(1);
    let ms = Duration::from_millis;
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
async fn a_reader_that_takes_nothing_for_long_is_cut_and_the_others_go_on() {
    for (leader_stalls, longest) in [(true, LEADER_STALL), (false, FOLLOWER_STALL)] {
        let (flight, writer) = Flight::start(meta(10));
        let leader = flight.reader();
        let follower = flight.reader();
        let (stalled, fast) = if leader_stalls { (leader, follower) } else { (follower, leader) };
        let began = Instant::now();
        let fast = tokio::spawn(read_all(fast));
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
async fn a_reader_that_delays_nobody_may_take_its_time() {
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
    assert_eq!(writer.chunk(bytes(1)).await, Err(NoReaders));
}

fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
