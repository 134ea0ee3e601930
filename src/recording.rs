//! An answer as it is recorded on its way to those who read it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{body, dialect::sse::Framing};

/// What has come of an answer, until that is too much.
#[derive(Debug)]
pub struct Recording {
    chunks: Vec<Bytes>,
    arrivals: Vec<Arrival>,
    len: usize,
    largest: usize,
}

/// The bytes that had come in all, and when.
type Arrival = (usize, Instant);

impl Recording {
    /// Of an answer that is kept up to `largest` bytes.
    pub const fn new(largest: usize) -> Self {
        Self { chunks: Vec::new(), arrivals: Vec::new(), len: 0, largest }
    }

    /// Adds what came at `now`.
    pub fn add(&mut self, chunk: Bytes, now: Instant) {
        self.len += chunk.len();
        if self.is_kept() {
            self.chunks.push(chunk);
            self.arrivals.push((self.len, now));
        } else {
            (self.chunks, self.arrivals) = (Vec::new(), Vec::new());
        }
    }

    /// Whether it is not too large.
    pub const fn is_kept(&self) -> bool {
        self.len <= self.largest
    }

    /// The body, and the milliseconds before each of its events; `None` where it was too large.
    pub fn whole(self, framing: Framing) -> Option<(Bytes, Vec<u32>)> {
        if !self.is_kept() {
            return None;
        }
        let body = body::joined(self.chunks, self.len);
        let pace = pace(framing, &body, &self.arrivals);
        Some((body, pace))
    }
}

fn pace(framing: Framing, body: &[u8], arrivals: &[Arrival]) -> Vec<u32> {
    let mut arrivals = arrivals.iter().peekable();
    let mut last = None;
    let gap = |end: usize| {
        while arrivals.peek().is_some_and(|(len, _)| *len < end) {
            arrivals.next();
        }
        let (_, at) = arrivals.peek()?;
        let gap = last.replace(*at).map_or(Duration::ZERO, |last| *at - last);
        u32::try_from(gap.as_millis()).ok()
    };
    let events = framing.events(body).unwrap_or_default();
    events.iter().map(|event| event.end).map_while(gap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(largest: usize, chunks: &[(&'static str, u64)]) -> Recording {
        let (began, mut recording) = (Instant::now(), Recording::new(largest));
        for (chunk, at) in chunks {
            recording.add(Bytes::from_static(chunk.as_bytes()), began + Duration::from_millis(*at));
        }
        recording
    }

    #[test]
    fn each_event_has_its_pace_whatever_the_chunks() {
        let chunks = [("data: a\n", 5), ("\ndata: b\n\ndata: c", 25), ("\n\n", 60)];
        let whole = recorded(100, &chunks).whole(Framing::Events).expect("within the bound");
        assert_eq!(whole, (Bytes::from_static(b"data: a\n\ndata: b\n\ndata: c\n\n"), vec![0, 0, 35]));
    }

    #[test]
    fn what_is_too_large_is_let_go() {
        let chunks = [("12345", 0), ("67890", 1), ("x", 2), ("", 3)];
        assert!(recorded(10, &chunks[..2]).whole(Framing::Whole).is_some());
        let beyond = recorded(10, &chunks);
        assert!(!beyond.is_kept() && beyond.chunks.is_empty());
        assert_eq!(beyond.whole(Framing::Whole), None);
    }
}
