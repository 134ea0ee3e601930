//! What may explain a step in the figures: purges, reloads, a store that went and came back. Pure.

use std::collections::VecDeque;

use crate::telemetry::stats::PurgeCause;

/// The most marks that are kept. The oldest ones go first.
const MAX_MARKS: usize = 500;

/// Equal events within this time are one mark, in milliseconds: a service may purge with each of its changes.
const TOGETHER: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An operator's purge, by what it named.
    Purge(PurgeCause),
    Reloaded,
    ReloadFailed,
    StoreLost,
    StoreBack,
    WritesRefused,
    WritesBack,
}

impl Event {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Purge(_) => "purge",
            Self::Reloaded => "reloaded",
            Self::ReloadFailed => "reload-failed",
            Self::StoreLost => "store-lost",
            Self::StoreBack => "store-back",
            Self::WritesRefused => "writes-refused",
            Self::WritesBack => "writes-back",
        }
    }

    /// What a purge named.
    pub(crate) const fn cause(self) -> Option<PurgeCause> {
        match self {
            Self::Purge(cause) => Some(cause),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) event: Event,
    /// How often it happened within a moment.
    pub(crate) count: u64,
}

#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

impl Marks {
    pub(super) fn add(&mut self, event: Event, now: u64) {
        let recent = self.0.iter_mut().rev().take_while(|mark| now.saturating_sub(mark.at) < TOGETHER);
        if let Some(mark) = recent.into_iter().find(|mark| mark.event == event) {
            mark.count += 1;
            return;
        }
        if self.0.len() == MAX_MARKS {
            self.0.pop_front();
        }
        self.0.push_back(Mark { at: now, event, count: 1 });
    }

    /// The clock was set back by so much: what has happened is as long ago as before.
    pub(super) fn set_back(&mut self, by: u64) {
        self.0.iter_mut().for_each(|mark| mark.at = mark.at.saturating_sub(by));
    }

    pub(super) fn since(&self, start: u64) -> Vec<Mark> {
        self.0.iter().filter(|mark| mark.at >= start).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_events_of_a_moment_are_one_mark() {
        let mut marks = Marks::default();
        let purge = Event::Purge(PurgeCause::Tag);
        for (event, now) in [
            (purge, 1_000),
            (Event::StoreLost, 2_000),
            (purge, 3_000),
            (Event::Purge(PurgeCause::All), 4_000),
            (purge, 11_000),
        ] {
            marks.add(event, now);
        }
        let told: Vec<_> = marks.since(0).iter().map(|mark| (mark.at, mark.event, mark.count)).collect();
        let expected = [
            (1_000, purge, 2),
            (2_000, Event::StoreLost, 1),
            (4_000, Event::Purge(PurgeCause::All), 1),
            (11_000, purge, 1),
        ];
        assert_eq!(told, expected);
        assert_eq!(marks.since(3_000).len(), 2);
        marks.set_back(10_000);
        assert_eq!(marks.since(0).last().map(|mark| mark.at), Some(1_000));
    }

    #[test]
    fn the_number_of_marks_is_bounded() {
        let mut marks = Marks::default();
        for number in 0..3 * MAX_MARKS as u64 {
            marks.add(Event::Reloaded, number * TOGETHER);
        }
        assert_eq!(marks.since(0).len(), MAX_MARKS);
        assert_eq!(marks.since(0).last().map(|mark| mark.at), Some((3 * MAX_MARKS as u64 - 1) * TOGETHER));
    }
}
