//! Makes buckets of readings. Pure: the clock is an argument.

use super::{
    Range,
    marks::{Event, Mark, Marks},
    reading::Reading,
    series::Series,
};

/// What a range shows.
#[derive(Debug)]
pub(crate) struct View {
    /// When the first bucket begins, in milliseconds since 1970.
    pub(crate) start: u64,
    /// The length of a bucket, in milliseconds.
    pub(crate) step: u64,
    /// When the counters were last read. The last bucket ends there.
    pub(crate) until: u64,
    /// What happened in each bucket, oldest first.
    pub(crate) changes: Vec<Reading>,
    pub(crate) marks: Vec<Mark>,
}

#[derive(Debug)]
pub(super) struct Recorder {
    /// The last reading, and when it was.
    last: Reading,
    at: u64,
    series: [Series; Range::ALL.len()],
    marks: Marks,
}

impl Default for Recorder {
    fn default() -> Self {
        let series = Range::ALL.map(Series::new);
        Self { last: Reading::default(), at: 0, series, marks: Marks::default() }
    }
}

impl Recorder {
    pub(super) fn read(&mut self, reading: Reading, now: u64) {
        self.marks.set_back(self.at.saturating_sub(now));
        let change = reading - self.last;
        self.series.iter_mut().for_each(|series| series.add(change, now));
        self.last = reading;
        self.at = now;
    }

    pub(super) fn mark(&mut self, event: Event, now: u64) {
        self.marks.add(event, now);
    }

    pub(super) fn view(&self, range: Range) -> View {
        let (start, changes) = self.series[range as usize].all();
        let marks = self.marks.since(start);
        View { start, step: range.step(), until: self.at, changes, marks }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::{history::series::Bucket, stats::PurgeCause};

    /// A counter that has counted so far.
    fn reading(requests: u64) -> Reading {
        let mut reading = Reading::default();
        reading.counts[0] = requests;
        reading
    }

    fn requests(view: &View) -> Vec<u64> {
        view.changes.iter().map(|change| change.counts[0]).collect()
    }

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;

    proptest! {
        /// The buckets are what the counters did within the range, however the clock goes.
        #[test]
        fn buckets_add_up_to_what_was_counted(
            steps in proptest::collection::vec((0..40_000_u64, 0..1000_u64), 1..300),
            gaps in proptest::collection::vec((0..300_usize, -2 * HOUR as i64..30 * HOUR as i64), 0..4),
        ) {
            let mut recorder = Recorder::default();
            let (mut now, mut counted) = (1_800_000_000_000_u64, 0);
            // Each count, with how long ago it was read. A clock that is set back does not make it younger.
            let mut told: Vec<(u64, u64)> = Vec::new();
            for (number, (pause, count)) in steps.into_iter().enumerate() {
                let jump = gaps.iter().find(|(at, _)| *at == number).map_or(0, |(_, jump)| *jump);
                let next = (now + pause).saturating_add_signed(jump);
                let passed = next.saturating_sub(now);
                now = next;
                counted += count;
                recorder.read(reading(counted), now);
                told.iter_mut().for_each(|(age, _)| *age += passed);
                told.push((0, count));
            }
            for range in Range::ALL {
                let view = recorder.view(range);
                let total: u64 = requests(&view).iter().sum();
                let span = range.step() * range.buckets();
                let within = |limit: u64| -> u64 {
                    told.iter().filter(|(age, _)| *age < limit).map(|(_, count)| count).sum()
                };
                // Where the clock was set back, bucket ends move by less than a step each time.
                let slack = range.step() * 6;
                prop_assert!(total >= within(span - slack), "{total}, {range:?}");
                prop_assert!(total <= within(span + slack), "{total}, {range:?}");
                prop_assert!(view.changes.len() as u64 <= range.buckets());
                prop_assert!(view.start <= view.until && view.until == now);
                let end = view.start + view.step * view.changes.len() as u64;
                prop_assert!(end > now && end - view.step <= now);
            }
        }
    }

    #[test]
    fn a_machine_that_slept_leaves_empty_buckets() {
        let mut recorder = Recorder::default();
        recorder.read(reading(5), 10 * MINUTE);
        recorder.read(reading(12), 10 * MINUTE + 10_000);
        recorder.read(reading(13), 11 * MINUTE);
        assert_eq!(requests(&recorder.view(Range::Hour)), [5, 7, 0, 0, 0, 0, 1]);
        recorder.read(reading(20), 26 * MINUTE);
        assert_eq!(requests(&recorder.view(Range::Day)), [13, 0, 0, 7]);
        let view = recorder.view(Range::Hour);
        assert_eq!(
            (view.changes.len(), view.start, requests(&view).iter().sum::<u64>()),
            (97, 10 * MINUTE, 20)
        );
        recorder.read(reading(21), 100 * HOUR);
        assert_eq!(requests(&recorder.view(Range::Hour)), [1]);
        assert_eq!(requests(&recorder.view(Range::Day)), [1]);
    }

    #[test]
    fn readings_of_one_step_share_a_bucket() {
        let mut recorder = Recorder::default();
        for (count, now) in [(1, 20_000), (3, 24_000), (6, 29_999), (10, 30_000)] {
            recorder.read(reading(count), now);
        }
        assert_eq!(requests(&recorder.view(Range::Hour)), [6, 4]);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_buckets_and_marks_along() {
        let mut recorder = Recorder::default();
        recorder.read(reading(1), 50 * MINUTE);
        recorder.mark(Event::Purge(PurgeCause::All), 50 * MINUTE);
        recorder.read(reading(3), 51 * MINUTE);
        recorder.read(reading(7), 21 * MINUTE);
        let view = recorder.view(Range::Hour);
        assert_eq!(requests(&view), [1, 0, 0, 0, 0, 0, 6]);
        assert_eq!((view.start, view.marks[0].at), (20 * MINUTE, 20 * MINUTE));
    }

    #[test]
    fn all_buckets_take_256_kib_at_most() {
        let buckets: u64 = Range::ALL.iter().map(|range| range.buckets()).sum();
        assert!(buckets * size_of::<Bucket>() as u64 <= 256 * 1024, "{}", size_of::<Bucket>());
    }
}
