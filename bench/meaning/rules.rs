//! What is served of a stream of questions: by sidecache, by a fixed threshold, by vCache's rule.

use sidecache::internals::cache::semantic::{Decision, Label, LabelSource, Ledger, Nearness, Partition};

use super::{
    data::{DataSet, Near, Stored},
    vcache::VCache,
};

const PARTITION: Partition = Partition([0; 32]);

/// What came of a stream.
#[derive(Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) questions: u32,
    pub(crate) hits: u32,
    pub(crate) falses: u32,
    /// The questions until the first threshold was certified.
    pub(crate) until_certified: Option<u32>,
    /// The lowest threshold that was in force.
    pub(crate) lowest: Option<f32>,
    pub(crate) stepped_back: u32,
}

impl Outcome {
    pub(crate) fn hit_rate(&self) -> f64 {
        f64::from(self.hits) / f64::from(self.questions.max(1))
    }

    /// Of the questions after the first certificate.
    pub(crate) fn hit_rate_once_certified(&self) -> f64 {
        let Some(before) = self.until_certified else { return 0.0 };
        f64::from(self.hits) / f64::from((self.questions - before).max(1))
    }

    pub(crate) fn false_rate(&self) -> f64 {
        f64::from(self.falses) / f64::from(self.hits.max(1))
    }

    fn serve(&mut self, is_right: bool) {
        self.hits += 1;
        self.falses += u32::from(!is_right);
    }
}

/// How near the neighbours are, as the proxy says it.
fn nearness(data: &DataSet, near: &[Near]) -> Option<Nearness> {
    let (nearest, others) = near.split_first()?;
    let answer = |near: &Near| data.questions[near.question as usize].answer;
    let differs = others.iter().find(|other| answer(other) != answer(nearest));
    Some(Nearness {
        similarity: nearest.similarity,
        disagreement: differs.map_or(0.0, |differs| differs.similarity),
    })
}

/// Each question in turn: the neighbours are searched among what is stored, and the ledger decides. What the service is asked is
/// stored, and labels what would have been a hit.
pub(crate) fn sidecache(data: &DataSet, order: &[u32], limit: f64) -> Outcome {
    let mut ledger = Ledger::new(limit, 0.05);
    let mut stored = Stored::new(data.questions.len());
    let mut outcome = Outcome { questions: order.len() as u32, ..Outcome::default() };
    for (number, asked) in order.iter().enumerate() {
        let near = data.nearest(*asked, &stored);
        let Some(nearness) = nearness(data, &near) else {
            stored.add(*asked);
            continue;
        };
        let answer = |question: u32| data.questions[question as usize].answer;
        let same = answer(*asked) == answer(near[0].question);
        let source = match ledger.decide(PARTITION, nearness, 0) {
            Decision::Serve { audit } => {
                outcome.serve(same);
                if !audit {
                    continue;
                }
                LabelSource::Audit
            }
            Decision::Ask | Decision::Below => LabelSource::Shadow,
        };
        stored.add(*asked);
        ledger.record(Label { at: 0, partition: PARTITION, near: nearness, same, source });
        if let Some(threshold) = ledger.threshold(PARTITION) {
            outcome.until_certified.get_or_insert(number as u32);
            outcome.lowest = Some(outcome.lowest.map_or(threshold, |lowest| lowest.min(threshold)));
        }
    }
    outcome.stepped_back = u32::from(ledger.status().stepped_back_at.is_some());
    outcome
}

/// The same with a threshold that does not change, from the first question on.
pub(crate) fn fixed(data: &DataSet, order: &[u32], threshold: f32, must_agree: bool) -> Outcome {
    let mut stored = Stored::new(data.questions.len());
    let mut outcome = Outcome { questions: order.len() as u32, ..Outcome::default() };
    for asked in order {
        let near = data.nearest(*asked, &stored);
        let is_hit = nearness(data, &near).is_some_and(|near| {
            if must_agree { near.is_hit_at(threshold) } else { near.similarity >= threshold }
        });
        if is_hit {
            let answer = |question: u32| data.questions[question as usize].answer;
            outcome.serve(answer(*asked) == answer(near[0].question));
        } else {
            stored.add(*asked);
        }
    }
    outcome
}

/// vCache's rule: each stored question has a threshold of its own. An answer that was the neighbour's is not stored again.
pub(crate) fn vcache(data: &DataSet, order: &[u32], limit: f64, seed: u64) -> Outcome {
    let mut rule = VCache::new(limit, data.questions.len(), seed);
    let mut stored = Stored::new(data.questions.len());
    let mut outcome = Outcome { questions: order.len() as u32, ..Outcome::default() };
    for asked in order {
        let near = data.nearest(*asked, &stored);
        let Some(nearest) = near.first() else {
            stored.add(*asked);
            continue;
        };
        let answer = |question: u32| data.questions[question as usize].answer;
        let same = answer(*asked) == answer(nearest.question);
        if rule.exploits(nearest.question, nearest.similarity) {
            outcome.serve(same);
            continue;
        }
        rule.observe(nearest.question, nearest.similarity, same);
        if !same {
            stored.add(*asked);
        }
    }
    outcome
}
