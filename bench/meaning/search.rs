//! The index itself: that it finds what the comparison uses, and how long it takes.

use std::time::Instant;

use sidecache::internals::cache::semantic::{
    AnswerSketch, Index, Partition, Record, Search, Signature, Vector,
};

use super::data::{DataSet, Stored};

/// How many questions are asked of the index itself.
const CHECKED: usize = 3_000;

/// Asks the index, and compares what it finds with what the comparison uses.
pub(crate) fn check(data: &DataSet, order: &[u32]) {
    let index = Index::new(order.len());
    let mut stored = Stored::new(order.len());
    for asked in order.iter().take(CHECKED) {
        let question = &data.questions[*asked as usize];
        let key = asked.to_string();
        let found = nearest(&index, &question.vector, &question.signature, &key);
        let expected = data.nearest(*asked, &stored);
        let expected: Vec<_> = expected.iter().map(|near| near.similarity).collect();
        assert_eq!(found, expected, "the index finds something else");
        index.insert(record(key, question.vector.clone(), question.signature.clone()), 0);
        stored.add(*asked);
    }
    println!("  {CHECKED} questions: the index finds the same neighbours");
}

fn record(key: String, vector: Vector, signature: Signature) -> Record {
    Record {
        key: key.into(),
        partition: Partition([0; 32]),
        vector,
        signature,
        answer: AnswerSketch { text: [0; 16], facts: [0; 16], vector: None },
        expires_at: u64::MAX,
        callers: Vec::new(),
    }
}

fn nearest(index: &Index, vector: &Vector, signature: &Signature, own_key: &str) -> Vec<f32> {
    let partition = Partition([0; 32]);
    let search = Search { partition, vector, signature, own_key, needs_two_callers: false, now: 0 };
    index.nearest(&search).neighbours.iter().map(|neighbour| neighbour.similarity).collect()
}

/// A search of 10,000 questions with 384 dimensions.
pub(crate) fn time() {
    let mut chance = fastrand::Rng::with_seed(0);
    let mut vector = || {
        let components: Vec<_> = (0..384).map(|_| chance.f32() - 0.5).collect();
        Vector::new(&components)
    };
    let index = Index::new(10_000);
    let signature = Signature::new("how do I change my address");
    for number in 0..10_000 {
        let Some(vector) = vector() else { continue };
        index.insert(record(number.to_string(), vector, signature.clone()), 0);
    }
    let Some(asked) = vector() else { return };
    let mut micros: Vec<_> = (0..200)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(nearest(&index, &asked, &signature, ""));
            began.elapsed().as_micros()
        })
        .collect();
    micros.sort_unstable();
    println!("\nsearch of 10,000 x 384: median {} us, 99th of 100: {} us", micros[100], micros[198]);
}
