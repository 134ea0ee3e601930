//! What happens when the service's answers are others than they were.

use proptest::prelude::*;

use super::*;

/// A ledger that serves everything from 0.6 on.
fn certified(limit: f64, audit: f64) -> Ledger {
    let mut ledger = Ledger::new(limit, audit);
    for _ in 0..800 {
        ledger.record(label(0.6, true));
    }
    assert_eq!(ledger.threshold(PARTITION), Some(0.6));
    ledger
}

/// What a client or the service does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A question that would be a hit.
    Ask,
    /// One of the labels that are on their way arrives.
    Arrive(prop::sample::Index),
    /// One of the audits comes to nothing.
    Fail(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Ask),
        3 => any::<prop::sample::Index>().prop_map(Step::Arrive),
        1 => any::<prop::sample::Index>().prop_map(Step::Fail),
    ]
}

proptest! {
    /// All answers change at once. Audits end whenever they like, those from before the change, too.
    #[test]
    fn after_a_change_of_all_answers_at_most_forty_hits_are_served(
        limit in prop::sample::select(vec![0.01, 0.03, 0.2]),
        audit in prop::sample::select(vec![0.001, 0.05, 0.3, 1.0]),
        before in proptest::collection::vec(step(), 0..300),
        after in proptest::collection::vec(step(), 200..600),
    ) {
        let mut ledger = certified(limit, audit);
        let (mut on_their_way, mut number, mut wrong) = (Vec::new(), 0u16, 0);
        for (has_changed, step) in before.into_iter().map(|step| (false, step)).chain(after.into_iter().map(|step| (true, step))) {
            match step {
                Step::Ask => {
                    number += 1;
                    let near = near(0.6 + 0.0001 * f32::from(number));
                    let decision = ledger.decide(PARTITION, near, 0);
                    let source = match decision {
                        Decision::Serve { audit } => {
                            wrong += u32::from(has_changed);
                            audit.then_some(LabelSource::Audit)
                        }
                        Decision::Ask | Decision::Below => Some(LabelSource::Shadow),
                    };
                    let label = |source| Label { near, source, ..label(0.0, !has_changed) };
                    on_their_way.extend(source.map(label));
                }
                Step::Arrive(which) if !on_their_way.is_empty() => {
                    let label = on_their_way.remove(which.index(on_their_way.len()));
                    ledger.record(label);
                }
                Step::Fail(which) if !on_their_way.is_empty() => {
                    let failed = on_their_way.remove(which.index(on_their_way.len()));
                    if failed.source == LabelSource::Audit {
                        ledger.audit_failed();
                    }
                }
                Step::Arrive(_) | Step::Fail(_) => {}
            }
            prop_assert!(wrong <= 40, "{} wrong hits", wrong);
        }
    }

    /// Where labels come at once, the route is in shadow within 50 questions that would have been hits.
    #[test]
    fn a_change_of_all_answers_ends_in_shadow_within_fifty_hits(
        limit in prop::sample::select(vec![0.01, 0.03, 0.1]),
        audit in prop::sample::select(vec![0.001, 0.05, 1.0]),
        before in 0..100u32,
    ) {
        let mut ledger = certified(limit, audit);
        let mut service = Service::new(1, |_| 0.0);
        (0..before).for_each(|_| {
            service.step(&mut ledger);
        });
        let mut hits = 0;
        while ledger.may_serve(PARTITION) {
            hits += 1;
            let near = near(0.9);
            let source = match ledger.decide(PARTITION, near, 0) {
                Decision::Serve { audit: false } => continue,
                Decision::Serve { audit: true } => LabelSource::Audit,
                Decision::Ask | Decision::Below => LabelSource::Shadow,
            };
            ledger.record(Label { at: 77, near, source, ..label(0.0, false) });
        }
        prop_assert!(hits <= 50, "{} hits", hits);
        let status = ledger.status();
        prop_assert_eq!((status.stepped_back_at, status.labels, status.threshold), (Some(77), 0, None));
    }
}

#[test]
fn one_report_puts_on_probation_and_good_labels_end_it() {
    let mut ledger = certified(0.03, 0.05);
    ledger.record(Label { source: LabelSource::Report, ..label(0.9, false) });
    let mut asked = 0;
    while ledger.decide(PARTITION, near(0.9), 0) == Decision::Ask {
        asked += 1;
        ledger.record(label(0.9, true));
    }
    assert!((5..20).contains(&asked), "{asked}");
    assert_eq!(ledger.status().false_labels, 1);
}

#[test]
fn reports_alone_can_step_back() {
    let mut ledger = certified(0.03, 0.05);
    let report = || Label { source: LabelSource::Report, ..label(0.9, false) };
    let changes: Vec<_> = (0..5).map(|_| ledger.record(report())).collect();
    assert_eq!(changes, [None, None, None, None, Some(Change::SteppedBack)]);
    assert!(!ledger.may_serve(PARTITION));
}

#[test]
fn without_the_results_of_audits_nothing_is_served_any_more_and_with_them_again() {
    let mut ledger = certified(0.03, 0.05);
    let (mut served, mut audits) = (0, 0);
    for _ in 0..1_000 {
        if let Decision::Serve { audit } = ledger.decide(PARTITION, near(0.9), 0) {
            served += 1;
            audits += u32::from(audit);
        }
    }
    assert_eq!((served, audits), (40, 2));
    ledger.audit_failed();
    ledger.audit_failed();
    assert_eq!(ledger.decide(PARTITION, near(0.9), 0), Decision::Ask);
    // The question was asked of the service, which gave the same answer.
    ledger.record(label(0.9, true));
    assert!(matches!(ledger.decide(PARTITION, near(0.9), 0), Decision::Serve { .. }));
}

#[test]
fn a_busy_route_whose_results_are_lost_serves_again_once_others_come() {
    let mut ledger = certified(0.03, 0.05);
    let similarity = |number: u16| 0.6 + 0.0001 * f32::from(number);
    for number in 0..1_000 {
        ledger.decide(PARTITION, near(similarity(number)), 0);
    }
    // Much later than all these could end.
    let now = 120_000;
    for number in 1_000..1_300 {
        if ledger.decide(PARTITION, near(similarity(number)), now) == Decision::Ask {
            ledger.record(label(similarity(number), true));
        }
    }
    assert!(matches!(ledger.decide(PARTITION, near(0.9), now), Decision::Serve { .. }));
}

#[test]
fn a_service_within_its_limit_does_not_step_back() {
    let mut stepped_back = 0;
    for run in 0..10 {
        let mut ledger = certified(0.03, 0.05);
        let mut service = Service::new(run, |_| 0.015);
        for _ in 0..10_000 {
            service.step(&mut ledger);
            if ledger.stepped_back_at.is_some() {
                stepped_back += 1;
                break;
            }
        }
    }
    assert!(stepped_back <= 1, "{stepped_back} of 10");
}
