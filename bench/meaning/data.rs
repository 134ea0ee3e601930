//! The questions of a data set, and which others are near each.

use std::{fs, io, path::Path};

use sidecache::internals::cache::semantic::{Signature, Vector};

use super::parallel;

/// How many near questions are kept of each.
const NEAR: usize = 512;

/// Questions with known answers.
pub(crate) struct DataSet {
    pub(crate) questions: Vec<Question>,
    /// Of each question, those nearest to it, the nearest first.
    near: Vec<Vec<Near>>,
}

pub(crate) struct Question {
    /// What the service would answer: its intent.
    pub(crate) answer: u32,
    pub(crate) vector: Vector,
    pub(crate) signature: Signature,
}

/// Another question.
#[derive(Clone, Copy)]
pub(crate) struct Near {
    pub(crate) question: u32,
    pub(crate) similarity: f32,
}

impl DataSet {
    /// Reads `NAME.tsv` (a text and an intent a line) and `NAME.f32` (their vectors).
    pub(crate) fn read(dir: &Path, name: &str) -> io::Result<Self> {
        let texts = fs::read_to_string(dir.join(format!("{name}.tsv")))?;
        let rows: Vec<_> = texts.lines().filter_map(|line| line.split_once('\t')).collect();
        let vectors = vectors(dir, name, rows.len())?;
        let mut intents: Vec<_> = rows.iter().map(|(_, intent)| *intent).collect();
        intents.sort_unstable();
        intents.dedup();
        let question = |((text, intent), vector): (&(&str, &str), Vector)| Question {
            answer: intents.binary_search(intent).unwrap_or(0) as u32,
            vector,
            signature: Signature::new(text),
        };
        let questions: Vec<_> = rows.iter().zip(vectors).map(question).collect();
        let near = parallel(questions.len(), |number| near(&questions, number));
        Ok(Self { questions, near })
    }

    /// The three nearest of the questions that are `stored`, without those that a guard refuses.
    pub(crate) fn nearest(&self, asked: u32, stored: &Stored) -> Vec<Near> {
        let is_stored = |near: &&Near| stored.has(near.question);
        let listed: Vec<_> = self.near[asked as usize].iter().filter(is_stored).take(3).copied().collect();
        if listed.len() == 3 {
            return listed;
        }
        let mut all: Vec<_> = stored.list.iter().filter_map(|other| self.pair(asked, *other)).collect();
        all.sort_by(|one, other| other.similarity.total_cmp(&one.similarity));
        all.truncate(3);
        all
    }

    fn pair(&self, asked: u32, other: u32) -> Option<Near> {
        pair(&self.questions, asked as usize, other as usize)
    }
}

fn pair(questions: &[Question], asked: usize, other: usize) -> Option<Near> {
    let (one, two) = (&questions[asked], &questions[other]);
    if asked == other || one.signature.conflict(&two.signature).is_some() {
        return None;
    }
    Some(Near { question: other as u32, similarity: one.vector.similarity(&two.vector) })
}

fn near(questions: &[Question], asked: usize) -> Vec<Near> {
    let own = &questions[asked].vector;
    let similarity = |other: usize| own.similarity(&questions[other].vector);
    let mut all: Vec<_> = (0..questions.len()).map(|other| (similarity(other), other)).collect();
    // More than are kept, since guards refuse some.
    let most = (2 * NEAR).min(all.len() - 1);
    all.select_nth_unstable_by(most, |one, other| other.0.total_cmp(&one.0));
    all.truncate(most);
    all.sort_by(|one, other| other.0.total_cmp(&one.0));
    all.iter().filter_map(|(_, other)| pair(questions, asked, *other)).take(NEAR).collect()
}

/// The vectors in `NAME.f32`: 32-bit floats, little-endian.
pub(crate) fn vectors(dir: &Path, name: &str, count: usize) -> io::Result<Vec<Vector>> {
    let bytes = fs::read(dir.join(format!("{name}.f32")))?;
    let floats: Vec<_> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let dimension = floats.len() / count.max(1);
    let vectors: Option<Vec<_>> = floats.chunks(dimension.max(1)).map(Vector::new).collect();
    vectors
        .filter(|vectors| vectors.len() == count)
        .ok_or_else(|| io::Error::other(format!("{name}.f32 does not fit {name}.tsv")))
}

/// Which questions are stored.
pub(crate) struct Stored {
    is_stored: Vec<bool>,
    list: Vec<u32>,
}

impl Stored {
    pub(crate) fn new(questions: usize) -> Self {
        Self { is_stored: vec![false; questions], list: Vec::new() }
    }

    pub(crate) fn has(&self, question: u32) -> bool {
        self.is_stored[question as usize]
    }

    pub(crate) fn add(&mut self, question: u32) {
        self.is_stored[question as usize] = true;
        self.list.push(question);
    }
}

/// A pair of texts that look alike and need different answers.
pub(crate) struct Opposed {
    pub(crate) signatures: [Signature; 2],
    pub(crate) vectors: [Vector; 2],
    pub(crate) line: String,
}

/// Reads `polarity.tsv` (a kind and two texts a line) and `polarity.f32` (the vectors of both texts of each line).
pub(crate) fn polarity(texts: &Path, dir: &Path) -> io::Result<Vec<Opposed>> {
    let texts = fs::read_to_string(texts)?;
    let is_pair = |line: &&str| !line.starts_with('#') && line.split('\t').count() == 3;
    let lines: Vec<_> = texts.lines().filter(is_pair).collect();
    let mut vectors = vectors(dir, "polarity", 2 * lines.len())?.into_iter();
    let pair = |line: &&str| {
        let mut texts = line.split('\t').skip(1);
        let mut signature = || Signature::new(texts.next().unwrap_or_default());
        let signatures = [signature(), signature()];
        let vectors = [vectors.next()?, vectors.next()?];
        Some(Opposed { signatures, vectors, line: (*line).to_owned() })
    };
    lines.iter().map(pair).collect::<Option<Vec<_>>>().ok_or_else(|| io::Error::other("vectors are missing"))
}
