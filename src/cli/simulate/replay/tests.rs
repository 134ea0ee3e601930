//! What holds of every replay.

use proptest::prelude::*;

use super::*;
use crate::cli::simulate::trace::Answer;

const SECOND: i64 = 1_000_000;

/// Requests for few answers, which come at once. No answer is larger than 50 bytes.
fn traces() -> impl Strategy<Value = Trace> {
    let told = prop_oneof![
        4 => Just(Told::Miss),
        3 => Just(Told::Hit),
        1 => Just(Told::Stale),
        1 => Just(Told::Joined),
        1 => Just(Told::NotStored),
        1 => Just(Told::Refresh),
    ];
    let request = (1i64..20, 0u32..8, told, 0u64..30);
    let size = 1u64..50;
    (proptest::collection::vec(request, 0..200), proptest::collection::vec(size, 8)).prop_map(
        |(requests, sizes)| {
            let mut at = 0;
            let requests = requests.into_iter().map(|(pause, answer, told, age)| {
                at += pause * SECOND;
                Request { at, duration: 0, age: age * SECOND as u64, answer, told }
            });
            let answer = |size| Answer { shard: 0, size, took: 0, life: 60 * SECOND, cost: None };
            Trace {
                requests: requests.collect(),
                answers: sizes.into_iter().map(answer).collect(),
                currencies: Vec::new(),
            }
        },
    )
}

/// Requests of which some come much more often than others, as in a real run. With a few requests by chance, a store that
/// keeps no strict order of use may have fewer hits than a smaller one.
fn skewed() -> impl Strategy<Value = Trace> {
    let place = (0u32..1_000_000).prop_map(|share| (f64::from(share) / 1e6).powi(3) * 300.0);
    (proptest::collection::vec(place, 2000), proptest::collection::vec(1u64..50, 300)).prop_map(
        |(places, sizes)| {
            let request = |(place, at): (f64, i64)| Request {
                at: at * SECOND,
                duration: 0,
                age: 0,
                answer: place as u32,
                told: Told::Miss,
            };
            let answer = |size| Answer { shard: 0, size, took: 0, life: 60 * SECOND, cost: None };
            Trace {
                requests: places.into_iter().zip(0..).map(request).collect(),
                answers: sizes.into_iter().map(answer).collect(),
                currencies: Vec::new(),
            }
        },
    )
}

fn seconds(seconds: u64) -> Ttl {
    Ttl::Of(Duration::from_secs(seconds))
}

fn hits(trace: &Trace, ttl: Ttl, max_memory: Option<u64>) -> u64 {
    replay(trace, Setting { ttl, max_memory }).hits
}

proptest! {
    #[test]
    fn a_longer_ttl_has_no_fewer_hits(trace in traces(), shorter in 0u64..300, more in 0u64..300) {
        let (short, long) = (seconds(shorter), seconds(shorter + more));
        prop_assert!(hits(&trace, short, None) <= hits(&trace, long, None));
    }

    #[test]
    fn a_store_twice_as_large_has_no_fewer_hits(trace in skewed(), smallest in 200u64..400) {
        let ttl = seconds(1_000_000_000);
        let sizes = std::iter::successors(Some(smallest), |size| Some(2 * size)).take(8);
        let received: Vec<_> = sizes.map(|size| hits(&trace, ttl, Some(size))).collect();
        prop_assert!(received.is_sorted(), "{received:?}");
        prop_assert!(received[7] <= hits(&trace, ttl, None));
    }

    #[test]
    fn no_store_has_more_hits_than_one_without_a_bound(trace in traces(), bytes in 0u64..300, ttl in 0u64..300) {
        let ttl = seconds(ttl);
        prop_assert!(hits(&trace, ttl, Some(bytes)) <= hits(&trace, ttl, None));
    }

    #[test]
    fn a_ttl_of_zero_and_a_store_without_room_have_no_hits(trace in traces()) {
        prop_assert_eq!(hits(&trace, seconds(0), None), 0);
        prop_assert_eq!(hits(&trace, seconds(100), Some(0)), 0);
    }

    #[test]
    fn every_lookup_is_a_hit_or_a_miss_and_no_age_exceeds_the_ttl(trace in traces(), ttl in 0u64..300) {
        let lookups = trace.requests.iter().filter(|request| request.told != Told::Refresh).count() as u64;
        let received = replay(&trace, Setting { ttl: seconds(ttl), max_memory: None });
        prop_assert_eq!(received.hits + received.misses, lookups);
        let told = measured(&trace);
        prop_assert_eq!(told.hits + told.misses, lookups);
        prop_assert!(received.half_age <= received.old_age);
        prop_assert!(received.old_age <= ttl * SECOND as u64);
        let unstored = trace.requests.iter().filter(|request| request.told == Told::NotStored).count() as u64;
        prop_assert!(received.misses >= unstored);
    }
}

/// The outcome of requests for one answer, which takes 2 s and costs 0.5; each comes at a second.
fn outcome(requests: &[(i64, Told)], ttl: u64) -> Outcome {
    let request = |(at, told): &(i64, Told)| {
        let duration = if *told == Told::Miss { 2 * SECOND } else { SECOND / 2 };
        Request { at: at * SECOND, duration, age: 7 * SECOND as u64, answer: 0, told: *told }
    };
    let trace = Trace {
        requests: requests.iter().map(request).collect(),
        answers: vec![Answer {
            shard: 0,
            size: 10,
            took: 2 * SECOND,
            life: 60 * SECOND,
            cost: Some((0.5, 0)),
        }],
        currencies: vec!["USD".to_owned()],
    };
    replay(&trace, Setting { ttl: seconds(ttl), max_memory: None })
}

#[test]
fn who_asks_while_the_answer_comes_joins_it_and_is_a_miss() {
    use Told::{Hit, Joined, Miss};
    // Stored at 2 s; a hit at 3 s and one at 11 s, and from 12 s on another call.
    let received = outcome(&[(0, Miss), (1, Joined), (3, Hit), (11, Hit), (12, Hit), (13, Joined)], 10);
    assert_eq!((received.hits, received.misses), (2, 4));
    assert_eq!((received.half_age, received.old_age), (9 * SECOND as u64, 9 * SECOND as u64));
    // The hits took half a second each, where the upstream takes two.
    assert_eq!((received.saved, received.cost), (3 * SECOND, vec![1.0]));
    assert_eq!(received.peak, Some(10));
}

#[test]
fn the_log_says_who_joined_where_its_times_do_not() {
    let at = |told| outcome(&[(0, Told::Miss), (2, told)], 10).hits;
    assert_eq!((at(Told::Hit), at(Told::Joined)), (1, 0));
}

#[test]
fn what_was_stored_before_the_log_begins_is_there() {
    // It is 7 s old then.
    for (ttl, first, both) in [(7, 0, 1), (8, 1, 1), (13, 1, 2)] {
        assert_eq!(outcome(&[(100, Told::Hit)], ttl).hits, first, "{ttl}");
        // With a TTL of 7 s it is asked for, and there again at 102 s.
        assert_eq!(outcome(&[(100, Told::Hit), (105, Told::Hit)], ttl).hits, both, "{ttl}");
    }
}

#[test]
fn a_refresh_is_no_lookup_and_begins_the_ttl_again() {
    use Told::{Hit, Miss, NotStored, Refresh};
    let received = outcome(&[(0, Miss), (9, Refresh), (15, Hit), (16, NotStored), (17, Hit)], 10);
    assert_eq!((received.hits, received.misses), (2, 2));
}
