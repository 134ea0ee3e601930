//! From a question to an answer: retrieve passages, quote their best sentences, say where they come from and what the
//! answer cost. The same question over the same documents gives the same bytes.

use super::bm25::{Hit, Index};
use super::text;
use serde::Serialize;

/// The name under which this "model" appears.
pub(super) const MODEL: &str = "extractive-bm25";

const QUOTED_SENTENCES: usize = 3;
const NOTHING_FOUND: &str = "The documents say nothing about that.";
/// What came before helps to understand a question, but is not what was asked.
const PREVIOUS_WEIGHT: f64 = 0.5;

/// What to look for.
pub(super) struct Question<'a> {
    pub(super) text: &'a str,
    /// The question before this one, if it belongs to a conversation.
    pub(super) previous: Option<&'a str>,
    pub(super) top_k: usize,
    pub(super) hybrid: bool,
}

/// Where an answer comes from.
#[derive(Serialize)]
pub(super) struct Source {
    document_id: String,
    title: String,
    passage: String,
    score: f64,
}

/// What an answer cost, in the members that OpenAI's usage has too.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

impl Usage {
    pub(super) fn new(prompt_tokens: usize, completion_tokens: usize) -> Self {
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// An answer in the shape of `/api/v1/query`.
#[derive(Serialize)]
pub(super) struct Answer {
    pub(super) answer: String,
    pub(super) sources: Vec<Source>,
    pub(super) model: &'static str,
    pub(super) usage: Usage,
}

/// What was found about a question, before it is put into words.
pub(super) struct Findings<'a> {
    hits: Vec<Hit<'a>>,
    /// Best first.
    sentences: Vec<Sentence>,
}

struct Sentence {
    text: String,
    score: f64,
    /// Which hit it is from, and where in it: quoted sentences are put back into this order.
    place: (usize, usize),
}

/// Answers a question.
pub(super) fn answer(index: &Index, question: &Question<'_>) -> Answer {
    let findings = research(index, question);
    let answer = findings.phrase(0);
    let prompt_tokens = text::count_tokens(question.text) + findings.context_tokens();
    let usage = Usage::new(prompt_tokens, text::count_tokens(&answer));
    Answer { sources: findings.sources(), model: MODEL, usage, answer }
}

/// Retrieves the best passages for a question and ranks their sentences.
pub(super) fn research<'a>(index: &'a Index, question: &Question<'_>) -> Findings<'a> {
    let terms = weighted_terms(question);
    let mut hits = if question.hybrid { index.search_hybrid(&terms) } else { index.search(&terms) };
    hits.truncate(question.top_k);

    let best = hits.first().map_or(1.0, |hit| hit.score);
    let mut sentences: Vec<Sentence> = Vec::new();
    for (rank, hit) in hits.iter().enumerate() {
        // A sentence below `## Keys` is about keys without saying so.
        let of_heading = overlap(index, &terms, text::heading(&hit.passage.text)) / 2.0;
        for (position, text) in text::sentences(&hit.passage.text).into_iter().enumerate() {
            let score = (overlap(index, &terms, &text) + of_heading) * hit.score / best;
            if score > 0.0 && sentences.iter().all(|known| known.text != text) {
                sentences.push(Sentence { text, score, place: (rank, position) });
            }
        }
    }
    sentences.sort_by(|a, b| b.score.total_cmp(&a.score));
    Findings { hits, sentences }
}

impl Findings<'_> {
    /// Puts the best sentences into an answer. Whoever wants several answers gets others by leaving out the first few
    /// sentences.
    pub(super) fn phrase(&self, skip: usize) -> String {
        let skip = skip.min(self.sentences.len().saturating_sub(1));
        let mut quoted: Vec<&Sentence> = self.sentences.iter().skip(skip).take(QUOTED_SENTENCES).collect();
        if quoted.is_empty() {
            return NOTHING_FOUND.to_owned();
        }
        quoted.sort_by_key(|sentence| sentence.place);
        quoted.iter().map(|sentence| sentence.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// What the passages would cost in a model's prompt.
    pub(super) fn context_tokens(&self) -> usize {
        self.hits.iter().map(|hit| text::count_tokens(&hit.passage.text)).sum()
    }

    fn sources(&self) -> Vec<Source> {
        let source = |hit: &Hit<'_>| Source {
            document_id: hit.passage.document_id.clone(),
            title: hit.passage.title.clone(),
            passage: hit.passage.text.clone(),
            score: (hit.score * 10_000.0).round() / 10_000.0,
        };
        self.hits.iter().map(source).collect()
    }
}

fn weighted_terms(question: &Question<'_>) -> Vec<(String, f64)> {
    let mut terms: Vec<(String, f64)> =
        text::search_terms(question.text).into_iter().map(|term| (term, 1.0)).collect();
    for term in text::search_terms(question.previous.unwrap_or_default()) {
        if terms.iter().all(|(known, _)| *known != term) {
            terms.push((term, PREVIOUS_WEIGHT));
        }
    }
    terms
}

/// How much of the question a sentence has in it, by the weight of the words they share. Long sentences share words by
/// chance, so their length counts a little against them.
fn overlap(index: &Index, terms: &[(String, f64)], sentence: &str) -> f64 {
    let words = text::tokenize(sentence);
    let shared = terms.iter().filter(|(term, _)| words.contains(term));
    let weight: f64 = shared.map(|(term, weight)| weight * index.idf(term)).sum();
    weight / (8.0 + words.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::super::documents::Document;
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        let text = "Redis keeps the entries. It may be down.\n## Streams\nStreams are replayed. A stream is recorded.";
        index.insert(&Document { id: "store".into(), title: "Store".into(), text: text.into() });
        index
    }

    fn ask<'a>(text: &'a str, previous: Option<&'a str>) -> Question<'a> {
        Question { text, previous, top_k: 5, hybrid: false }
    }

    #[test]
    fn an_answer_quotes_what_was_asked_for_and_counts_it() {
        let answer = answer(&index(), &ask("What keeps entries?", None));
        assert_eq!(answer.answer, "Redis keeps the entries.");
        assert_eq!(answer.sources.len(), 1);
        assert_eq!(answer.usage.completion_tokens, 4);
        assert_eq!(answer.usage.prompt_tokens, 3 + 8);
    }

    #[test]
    fn the_previous_question_counts_half() {
        let terms = weighted_terms(&ask("And streams?", Some("What about Redis streams?")));
        assert_eq!(terms, [("streams".to_owned(), 1.0), ("redis".to_owned(), 0.5)]);
    }

    #[test]
    fn a_heading_speaks_for_the_sentences_below_it() {
        let mut index = index();
        let text = "## Keys\nA digest of the request.";
        index.insert(&Document { id: "keys".into(), title: "Keys".into(), text: text.into() });
        assert_eq!(answer(&index, &ask("What are keys?", None)).answer, "A digest of the request.");
    }

    #[test]
    fn nothing_found_is_said_so() {
        let answer = answer(&index(), &ask("Zebras?", None));
        assert_eq!(answer.answer, NOTHING_FOUND);
        assert!(answer.sources.is_empty());
    }

    #[test]
    fn further_answers_differ_while_there_are_sentences() {
        let index = index();
        let findings = research(&index, &ask("streams stream entries redis", None));
        assert_ne!(findings.phrase(0), findings.phrase(2));
        assert_eq!(findings.phrase(50), findings.phrase(51));
    }
}
