//! Messages between replicas, and which of them were heard already.
//!
//! A replica numbers its messages, and sends some again if it does not know whether Redis has them. It sends those of a feed
//! in their order, so a number that is not above the last one of the same replica is an old one. Labels may count only once.

use std::collections::HashMap;

/// The origins that are remembered of a feed: each process of the last month is one.
const MAX_ORIGINS: usize = 20_000;

/// An event as one replica sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// A number that no other process has.
    pub(super) origin: u64,
    /// Its place among the messages of its origin.
    pub(super) number: u64,
    pub(super) event: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Self { origin, number, event } = self;
        [&origin.to_le_bytes()[..], &number.to_le_bytes(), event].concat()
    }

    /// `None` if these are not the bytes of a message.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (origin, rest) = bytes.split_first_chunk()?;
        let (number, event) = rest.split_first_chunk()?;
        Some(Self { origin: u64::from_le_bytes(*origin), number: u64::from_le_bytes(*number), event })
    }
}

/// The last number of each origin in a feed. Two halves: once one is full, the older one goes.
#[derive(Debug, Default)]
pub(super) struct Heard {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl Heard {
    /// Notes that `origin` sent this number; whether that is news.
    pub(super) fn note(&mut self, origin: u64, number: u64) -> bool {
        let last = self.young.get(&origin).or_else(|| self.old.get(&origin));
        if last.is_some_and(|last| number <= *last) {
            return false;
        }
        if self.young.len() >= MAX_ORIGINS / 2 && !self.young.contains_key(&origin) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(origin, number);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_message_comes_back(origin in any::<u64>(), number in any::<u64>(), event in vec(any::<u8>(), 0..50)) {
            let message = Message { origin, number, event: &event };
            let bytes = message.to_bytes();
            prop_assert_eq!(Message::from_bytes(&bytes), Some(message));
        }

        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..50)) {
            let is_long = bytes.len() >= 16;
            prop_assert_eq!(Message::from_bytes(&bytes).is_some(), is_long);
        }

        /// Whatever is sent again, each message counts once: senders repeat some of their last ones, in their order.
        #[test]
        fn each_message_is_news_once(repeats in vec((0..3_u64, 1..5_u64), 1..60)) {
            let mut heard = Heard::default();
            let mut sent = [0_u64; 3];
            let mut counted = HashSet::new();
            for (origin, back) in repeats {
                let last = &mut sent[origin as usize];
                let first = last.saturating_sub(back) + 1;
                *last += 1;
                for number in first..=*last {
                    let is_news = heard.note(origin, number);
                    prop_assert_eq!(is_news, counted.insert((origin, number)));
                }
            }
        }
    }

    #[test]
    fn the_latest_origins_are_remembered_and_no_more_than_all() {
        let mut heard = Heard::default();
        for origin in 0..3 * MAX_ORIGINS as u64 {
            assert!(heard.note(origin, 1));
            assert!(!heard.note(origin, 1));
        }
        assert!(heard.young.len() + heard.old.len() <= MAX_ORIGINS);
    }
}
