//! Records an answer on its way to its readers: its bytes, and for a replay at its pace the gaps between its events.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    http::sse::{Event, Framing, StreamDecoder},
    proxy::body,
};

/// The answer so far. Nothing is recorded once it is larger than what may be stored.
#[derive(Debug)]
pub(super) struct Recorder {
    chunks: Vec<Bytes>,
    len: usize,
    largest: usize,
    pacing: Option<Pacing>,
}

/// When the events of a stream came.
#[derive(Debug)]
struct Pacing {
    decoder: StreamDecoder,
    /// The milliseconds before each event.
    gaps: Vec<u32>,
    last_event: Option<Instant>,
    last_chunk: Instant,
}

impl Pacing {
    /// Reads the next chunk. True if one of its events is the last one by `is_last`.
    fn read(&mut self, bytes: &[u8], now: Instant, is_last: impl Fn(&Event) -> bool) -> bool {
        self.last_chunk = now;
        let mut has_ended = false;
        let (gaps, last_event) = (&mut self.gaps, &mut self.last_event);
        self.decoder.feed(bytes, |event| {
            gaps.push(gap(last_event, now));
            has_ended |= is_last(&event);
        });
        has_ended
    }

    fn finish(mut self) -> Vec<u32> {
        let (gaps, last_event) = (&mut self.gaps, &mut self.last_event);
        self.decoder.finish(|_| gaps.push(gap(last_event, self.last_chunk)));
        self.gaps
    }
}

/// The milliseconds since the last event, whose time becomes `now`.
fn gap(last: &mut Option<Instant>, now: Instant) -> u32 {
    let gap = last.replace(now).map_or(0, |last| (now - last).as_millis());
    u32::try_from(gap).unwrap_or(u32::MAX)
}

impl Recorder {
    /// Records an answer with this framing, up to `largest` bytes.
    pub(super) fn new(framing: Framing, largest: usize, now: Instant) -> Self {
        let pacing = |decoder| Pacing { decoder, gaps: Vec::new(), last_event: None, last_chunk: now };
        Self { chunks: Vec::new(), len: 0, largest, pacing: framing.decoder().map(pacing) }
    }

    /// Adds a chunk that came at `now`. True if the stream has ended with it, by `is_last`.
    pub(super) fn add(&mut self, chunk: Bytes, now: Instant, is_last: impl Fn(&Event) -> bool) -> bool {
        self.len += chunk.len();
        if !self.fits() {
            self.chunks = Vec::new();
            self.pacing = None;
            return false;
        }
        let has_ended = self.pacing.as_mut().is_some_and(|pacing| pacing.read(&chunk, now, is_last));
        self.chunks.push(chunk);
        has_ended
    }

    /// The bytes that have come, recorded or not.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether what has come is small enough to be stored.
    pub(super) const fn fits(&self) -> bool {
        self.len <= self.largest
    }

    /// The body, and the milliseconds before each of its events; `None` if it was too large.
    pub(super) fn whole(self) -> Option<(Bytes, Vec<u32>)> {
        if !self.fits() {
            return None;
        }
        let body = body::joined(self.chunks, self.len);
        Some((body, self.pacing.map(Pacing::finish).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn recorded(framing: Framing, largest: usize, chunks: &[(&'static str, u64)]) -> (Recorder, Vec<bool>) {
        let began = Instant::now();
        let mut recording = Recorder::new(framing, largest, began);
        let add = |(chunk, at): &(&'static str, u64)| {
            let at = began + Duration::from_millis(*at);
            recording.add(Bytes::from_static(chunk.as_bytes()), at, |event| event.data == "c")
        };
        let ended = chunks.iter().map(add).collect();
        (recording, ended)
    }

    #[test]
    fn each_event_has_its_pace_whatever_the_chunks() {
        let chunks = [("data: a\n", 5), ("\ndata: b\n\ndata: c", 25), ("\n\n", 60)];
        let (recording, ended) = recorded(Framing::Events, 100, &chunks);
        let whole = recording.whole().expect("within the bound");
        assert_eq!(whole, (Bytes::from_static(b"data: a\n\ndata: b\n\ndata: c\n\n"), vec![0, 0, 35]));
        assert_eq!(ended, [false, false, true]);
        let (recording, _) = recorded(Framing::Lines, 100, &[("1\n2", 5), ("3\n4", 25), ("5", 60)]);
        let whole = recording.whole().expect("within the bound");
        assert_eq!(whole, (Bytes::from_static(b"1\n23\n45"), vec![0, 20, 35]));
    }

    #[test]
    fn what_is_too_large_is_let_go() {
        let chunks = [("12345", 0), ("67890", 1), ("x", 2), ("", 3)];
        assert!(recorded(Framing::Whole, 10, &chunks[..2]).0.whole().is_some());
        let (beyond, _) = recorded(Framing::Whole, 10, &chunks);
        assert!(!beyond.fits() && beyond.chunks.is_empty());
        assert_eq!(beyond.whole(), None);
    }
}
