//! The index: passages ranked by BM25, and by the likeness of their vectors for hybrid search.

use super::documents::Document;
use super::embeddings::embed;
use super::text;
use std::collections::{BTreeMap, HashMap};

/// How soon more of the same word stops counting, and how much a long passage has to pay for its length.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// More dimensions than the endpoint's default: fewer words share one.
const DIMENSIONS: usize = 256;
/// Below this, vectors are alike only by the accident of hashing.
const MIN_LIKENESS: f32 = 0.1;
/// The usual constant of reciprocal rank fusion.
const FUSION: f64 = 60.0;
/// How much of each list is fused.
const FUSED: usize = 100;

/// A part of a document, as it is searched.
pub(super) struct Passage {
    pub(super) document_id: String,
    pub(super) title: String,
    pub(super) text: String,
    counts: HashMap<String, u32>,
    length: usize,
    vector: Vec<f32>,
}

/// A passage that was found. What scores mean depends on the search; more is better.
#[derive(Clone, Copy)]
pub(super) struct Hit<'a> {
    pub(super) passage: &'a Passage,
    pub(super) score: f64,
}

/// All passages, by document. The map is ordered so that the same documents always give the same answers, whatever
/// the order they came in.
#[derive(Default)]
pub(super) struct Index {
    passages: BTreeMap<String, Vec<Passage>>,
    /// In how many passages each word occurs.
    containing: HashMap<String, usize>,
    passage_count: usize,
    total_length: usize,
}

impl Index {
    /// Takes a document in, in place of what had its id before.
    pub(super) fn insert(&mut self, document: &Document) {
        self.remove(&document.id);
        let passages: Vec<Passage> =
            text::passages(&document.text).into_iter().map(|text| Passage::new(document, text)).collect();
        for passage in &passages {
            for word in passage.counts.keys() {
                *self.containing.entry(word.clone()).or_default() += 1;
            }
            self.total_length += passage.length;
        }
        self.passage_count += passages.len();
        self.passages.insert(document.id.clone(), passages);
    }

    /// Forgets a document.
    pub(super) fn remove(&mut self, document_id: &str) {
        for passage in self.passages.remove(document_id).unwrap_or_default() {
            for word in passage.counts.keys() {
                if let Some(count) = self.containing.get_mut(word) {
                    *count -= 1;
                }
            }
            self.total_length -= passage.length;
            self.passage_count -= 1;
        }
        self.containing.retain(|_, count| *count > 0);
    }

    /// How many passages there are, or how many of one document.
    pub(super) fn count(&self, document_id: Option<&str>) -> usize {
        match document_id {
            Some(id) => self.passages.get(id).map_or(0, Vec::len),
            None => self.passage_count,
        }
    }

    /// How telling a word is: the rarer, the more.
    pub(super) fn idf(&self, word: &str) -> f64 {
        let containing = self.containing.get(word).copied().unwrap_or(0) as f64;
        (1.0 + (self.passage_count as f64 - containing + 0.5) / (containing + 0.5)).ln()
    }

    /// The passages that share words with a question, best first. Each word comes with its weight.
    pub(super) fn search(&self, terms: &[(String, f64)]) -> Vec<Hit<'_>> {
        let average = self.total_length as f64 / self.passage_count.max(1) as f64;
        let score = |passage: &Passage| -> f64 {
            let long = 1.0 - B + B * passage.length as f64 / average;
            let of_word = |(word, weight): &(String, f64)| {
                let count = f64::from(passage.counts.get(word).copied().unwrap_or(0));
                weight * self.idf(word) * count * (K1 + 1.0) / (count + K1 * long)
            };
            terms.iter().map(of_word).sum()
        };
        self.rank(|passage| Some(score(passage)).filter(|score| *score > 0.0))
    }

    /// The best of both: passages by their words and by the likeness of their vectors, which also sees that `cached`
    /// is close to `caching`. The two lists' scores cannot be compared, so their ranks are added up.
    pub(super) fn search_hybrid(&self, terms: &[(String, f64)]) -> Vec<Hit<'_>> {
        let words: Vec<&str> = terms.iter().map(|(word, _)| word.as_str()).collect();
        let wanted = embed(&words.join(" "), DIMENSIONS);
        let likeness = |passage: &Passage| -> Option<f64> {
            let cosine: f32 = passage.vector.iter().zip(&wanted).map(|(a, b)| a * b).sum();
            (cosine >= MIN_LIKENESS).then_some(f64::from(cosine))
        };
        let lists = [self.search(terms), self.rank(likeness)];
        let score = |passage: &Passage| -> f64 {
            let rank = |list: &Vec<Hit<'_>>| {
                list.iter().take(FUSED).position(|hit| std::ptr::eq(hit.passage, passage))
            };
            let ranks = lists.iter().filter_map(rank);
            ranks.map(|rank| 1.0 / (FUSION + rank as f64 + 1.0)).sum()
        };
        self.rank(|passage| Some(score(passage)).filter(|score| *score > 0.0))
    }

    /// All passages that the function gives a score, best first; of equals, the one that comes first in the documents.
    fn rank(&self, score: impl Fn(&Passage) -> Option<f64>) -> Vec<Hit<'_>> {
        let passages = self.passages.values().flatten();
        let mut hits: Vec<Hit<'_>> =
            passages.filter_map(|passage| Some(Hit { passage, score: score(passage)? })).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        hits
    }
}

impl Passage {
    fn new(document: &Document, text: String) -> Self {
        let words = text::tokenize(&text);
        let length = words.len();
        let mut counts = HashMap::new();
        for word in words {
            *counts.entry(word).or_default() += 1;
        }
        let vector = embed(&text, DIMENSIONS);
        Self { document_id: document.id.clone(), title: document.title.clone(), text, counts, length, vector }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: &str, text: &str) -> Document {
        Document { id: id.into(), title: id.into(), text: text.into() }
    }

    fn terms(question: &str) -> Vec<(String, f64)> {
        text::search_terms(question).into_iter().map(|word| (word, 1.0)).collect()
    }

    fn index() -> Index {
        let mut index = Index::default();
        index.insert(&document(
            "fruit",
            "Apples and pears grow on trees.\n## Berries\nBerries grow on bushes.",
        ));
        index.insert(&document("tools", "A hammer drives nails. Apples are not tools."));
        index
    }

    #[test]
    fn rare_words_and_short_passages_come_first() {
        let index = index();
        let hits = index.search(&terms("berries bushes grow"));
        assert_eq!(hits.len(), 2);
        assert!(hits[0].passage.text.starts_with("## Berries"));
        assert!(index.idf("hammer") > index.idf("grow"));
    }

    #[test]
    fn scores_follow_the_formula() {
        let mut index = Index::default();
        index.insert(&document("a", "one two"));
        index.insert(&document("b", "three four"));
        // Both passages have the average length, so the score of a word that occurs once is its idf: ln(1 + 1.5/1.5).
        let hits = index.search(&terms("one"));
        assert!((hits[0].score - 2.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_removed_document_leaves_nothing_behind() {
        let mut index = index();
        index.remove("fruit");
        index.insert(&document("tools", "Saws."));
        assert_eq!((index.count(None), index.count(Some("tools")), index.total_length), (1, 1, 1));
        assert!(index.search(&terms("apples")).is_empty());
        assert_eq!(index.containing.len(), 1);
    }

    #[test]
    fn hybrid_search_sees_word_forms() {
        let index = index();
        assert!(index.search(&terms("hammering")).is_empty());
        let hits = index.search_hybrid(&terms("hammering"));
        assert_eq!(hits[0].passage.document_id, "tools");
    }
}
