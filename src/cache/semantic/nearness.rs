//! How near the neighbours of a question are, and how far they agree.

use super::{answer::Sameness, index::Nearest, ledger::Nearness};

impl Nearest {
    /// How near the neighbours are; `None` if there are none. Neighbours that only a judge could compare do not agree.
    pub(crate) fn nearness(&self) -> Option<Nearness> {
        let (nearest, others) = self.neighbours.split_first()?;
        let differs = |answer| nearest.answer.compare(answer) != Sameness::Same;
        let disagreement = others.iter().find(|other| differs(&other.answer)).map(|other| other.similarity);
        Some(Nearness { similarity: nearest.similarity, disagreement: disagreement.unwrap_or(0.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::semantic::{answer::AnswerSketch, index::Neighbour};

    /// Neighbours with these similarities and answers.
    fn nearness(neighbours: &[(f32, &str)]) -> Option<(f32, f32)> {
        let neighbour = |(similarity, answer): &(f32, &str)| Neighbour {
            key: "query:0".into(),
            similarity: *similarity,
            answer: AnswerSketch::new(answer, None),
        };
        let neighbours = neighbours.iter().map(neighbour).collect();
        let near = Nearest { neighbours, refused: None }.nearness()?;
        Some((near.similarity, near.disagreement))
    }

    #[test]
    fn the_nearest_other_answer_disagrees() {
        assert_eq!(nearness(&[]), None);
        assert_eq!(nearness(&[(0.9, "a")]), Some((0.9, 0.0)));
        assert_eq!(nearness(&[(0.9, "a"), (0.8, "a"), (0.7, "a")]), Some((0.9, 0.0)));
        assert_eq!(nearness(&[(0.9, "a"), (0.8, "b"), (0.7, "c")]), Some((0.9, 0.8)));
        assert_eq!(nearness(&[(0.9, "a"), (0.8, "a"), (0.7, "c")]), Some((0.9, 0.7)));
        assert_eq!(nearness(&[(0.9, "a"), (0.9, "b")]), Some((0.9, 0.9)));
    }
}
