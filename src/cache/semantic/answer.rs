//! Whether two answers say the same.
//!
//! In this order: equal texts are the same; other numbers or names, or a "no" in one of them alone, make them different;
//! vectors that are very near make them the same. All else only a judge can say.

mod facts;

use self::facts::facts;
use super::vector::Vector;

/// Answers whose vectors are at least as near as this say the same, if their facts do. High: vectors of answers that say the
/// opposite in almost the same words are nearer to each other than those of two answers that say the same in other words.
const SAME_FROM: f32 = 0.95;

/// What is kept of an answer to compare it with others. Its text is not kept.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerSketch {
    /// The digest of its text.
    pub text: [u8; 16],
    /// The digest of the numbers and names in it.
    pub facts: [u8; 16],
    /// `None` if the text was not embedded.
    pub vector: Option<Vector>,
}

/// How two answers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    Same,
    Different,
    /// Only a judge can say. Without a judge, this counts as different.
    Unsure,
}

impl AnswerSketch {
    pub fn new(text: &str, vector: Option<Vector>) -> Self {
        Self { text: text_digest(text), facts: digest(facts(text)), vector }
    }

    /// Whether it is of this text.
    pub(crate) fn is_of(&self, text: &str) -> bool {
        self.text == text_digest(text)
    }

    pub fn compare(&self, other: &Self) -> Sameness {
        if self.text == other.text {
            return Sameness::Same;
        }
        if self.facts != other.facts {
            return Sameness::Different;
        }
        match (&self.vector, &other.vector) {
            // Whoever gives two texts the very same vector tells nothing apart.
            (Some(own), Some(others)) if own == others => Sameness::Unsure,
            (Some(own), Some(others)) if own.similarity(others) >= SAME_FROM => Sameness::Same,
            _ => Sameness::Unsure,
        }
    }
}

/// White space does not count.
fn text_digest(text: &str) -> [u8; 16] {
    digest(text.split_whitespace())
}

fn digest<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for word in words {
        hasher.update(word.as_ref().as_bytes()).update(b" ");
    }
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(one: &str, other: &str, vectors: Option<([f32; 2], [f32; 2])>) -> Sameness {
        let vector = |components: [f32; 2]| Vector::new(&components).expect("a vector");
        let one = AnswerSketch::new(one, vectors.map(|(one, _)| vector(one)));
        let other = AnswerSketch::new(other, vectors.map(|(_, other)| vector(other)));
        let compared = one.compare(&other);
        assert_eq!(compared, other.compare(&one), "{one:?} {other:?}");
        compared
    }

    const NEAR: ([f32; 2], [f32; 2]) = ([1.0, 0.1], [1.0, 0.2]);
    const APART: ([f32; 2], [f32; 2]) = ([1.0, 0.0], [1.0, 0.5]);

    #[test]
    fn the_first_that_tells_decides() {
        let paris = "The capital is Paris.";
        for vectors in [None, Some(NEAR), Some(APART)] {
            assert_eq!(compared(paris, " The  capital\nis Paris. ", vectors), Sameness::Same);
            assert_eq!(compared(paris, "The capital is London.", vectors), Sameness::Different);
            assert_eq!(compared("It takes 3 days.", "It takes 30 days.", vectors), Sameness::Different);
        }
        let other = "Its capital is called Paris.";
        assert_eq!(compared(paris, other, Some(NEAR)), Sameness::Same);
        assert_eq!(compared(paris, other, Some(APART)), Sameness::Unsure);
        assert_eq!(compared(paris, other, None), Sameness::Unsure);
        let constant = Some((NEAR.0, NEAR.0));
        assert_eq!(compared(paris, other, constant), Sameness::Unsure, "the embedder tells nothing apart");
    }

    #[test]
    fn vectors_of_different_dimensions_do_not_tell() {
        let one = AnswerSketch::new("a b", Vector::new(&[1.0, 0.0]));
        let other = AnswerSketch::new("b a", Vector::new(&[1.0, 0.0, 0.0]));
        assert_eq!(one.compare(&other), Sameness::Unsure);
    }

    #[test]
    fn it_knows_its_text() {
        let sketch = AnswerSketch::new("Yes, you can.", None);
        assert!(sketch.is_of("Yes,  you can.\n") && !sketch.is_of("Yes, you can"));
    }
}
