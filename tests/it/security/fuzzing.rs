//! A short run of the fuzz targets in `fuzz/`: their corpus, mutated from a fixed seed.

use std::path::Path;

use fastrand::Rng;

#[path = "../../../fuzz/bodies.rs"]
mod bodies;

/// Changed inputs for each target.
const RUNS: usize = 20_000;

/// Bytes that mean something somewhere.
const TELLING: &[u8] = b"\0\n\r\t \"%&'*,-./0129:;=?@[]\\_aefltu{}\x7f\x80\xc3\xed\xff";

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("a corpus").map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

/// A few changes of the sort that bring parsers down.
fn change(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Rng) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=input.len());
        let end = (at + random.usize(..20)).min(input.len());
        match random.u8(..6) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => input.insert(at, TELLING[random.usize(..TELLING.len())]),
            3 if at < input.len() => input[at] = TELLING[random.usize(..TELLING.len())],
            4 => {
                let copy = input[at..end].to_vec();
                let place = random.usize(..=input.len());
                input.splice(place..place, copy);
            }
            _ => {
                let other = &others[random.usize(..others.len())];
                let from = random.usize(..=other.len());
                let to = (from + random.usize(..40)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
}

fn fuzz(target: &str, more: &[&[u8]], body: impl Fn(&[u8])) {
    let mut corpus = corpus(target);
    corpus.extend(more.iter().map(|input| input.to_vec()));
    corpus.iter().for_each(|input| body(input));
    let mut random = Rng::with_seed(5);
    for _ in 0..RUNS {
        let mut input = corpus[random.usize(..corpus.len())].clone();
        change(&mut input, &corpus, &mut random);
        body(&input);
    }
}

#[test]
fn fuzz_key() {
    fuzz("key", &[], bodies::key);
}

#[test]
fn fuzz_envelope() {
    // The layout is today's, whatever the corpus has.
    fuzz("envelope", &[&bodies::an_envelope()[20..]], bodies::envelope);
}

#[test]
fn events() {
    fuzz("events", &[], bodies::events);
}

#[test]
fn fuzz_dialects() {
    fuzz("dialects", &[], bodies::dialects);
}

#[test]
fn fuzz_head() {
    fuzz("head", &[], bodies::head);
}
