//! What tells one embedder from another: its name, its dimension, and what it makes of a fixed text.
//!
//! The vector of that text is projected on 32 directions, and each projection is rounded to a byte. Endpoints compute on
//! several machines and round differently, so the same text may get a vector that is a little off each time, and no rounding
//! is so coarse that it never shows. So identities are compared by their distance, and not as texts.

use std::fmt;

use crate::cache::semantic::vector::Vector;

/// The text that tells embedders apart. Another text here makes all embedders other ones.
pub(super) const PROBE: &str =
    "How do I change the delivery address of an order that has not been shipped yet?";

/// A text that has nothing in common with [`PROBE`].
pub(super) const CONTRAST: &str = "The orchestra rehearsed a slow waltz while rain fell on the harbour.";

/// The vectors of two such texts are less similar than this. Models whose similarities are all high give them 0.75.
const MOST_SIMILAR_CONTRAST: f32 = 0.9;

/// Whether an embedder with these vectors for [`PROBE`] and [`CONTRAST`] tells texts apart. A model that was not trained, or a server
/// that gives every text nearly the same vector, would find all questions near, and all answers the same.
pub(super) fn tells_apart(probe: &Vector, contrast: &Vector) -> bool {
    probe.similarity(contrast) < MOST_SIMILAR_CONTRAST
}

/// The projections of a vector.
const DIRECTIONS: usize = 32;

/// The steps of a projection of length one. The projections of a vector of length one have a mean square of one.
const STEPS: f32 = 32.0;

/// The largest distance between two vectors of one embedder for one text, where vectors have length one: a cosine similarity of
/// 0.9987. Endpoints of one model stay above 0.9999.
const TOLERANCE: f32 = 0.05;

/// Which embedder it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    model: String,
    dimension: usize,
    projections: [i8; DIRECTIONS],
}

impl Identity {
    pub(super) fn new(model: &str, probe: &Vector) -> Self {
        Self { model: model.to_owned(), dimension: probe.dimension(), projections: project(probe) }
    }

    pub(super) const fn dimension(&self) -> usize {
        self.dimension
    }

    /// Whether vectors of `other` are comparable with those of this one.
    pub(super) fn is_near(&self, other: &Self) -> bool {
        let squares = self.projections.iter().zip(&other.projections).map(|(a, b)| {
            let difference = (f32::from(*a) - f32::from(*b)) / STEPS;
            difference * difference
        });
        let distance = (squares.sum::<f32>() / DIRECTIONS as f32).sqrt();
        self.model == other.model && self.dimension == other.dimension && distance <= TOLERANCE
    }

    /// Reads what [`Self::to_string`] has written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(3, '/');
        let (projections, dimension, model) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes: [u8; DIRECTIONS] = *blake3::Hash::from_hex(projections).ok()?.as_bytes();
        let identity = Self {
            model: model.to_owned(),
            dimension: dimension.parse().ok()?,
            projections: bytes.map(u8::cast_signed),
        };
        (identity.to_string() == text).then_some(identity)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, dimension, projections } = self;
        let projections = blake3::Hash::from_bytes(projections.map(i8::cast_unsigned)).to_hex();
        write!(f, "{model}/{dimension}/{projections}")
    }
}

/// The sums of all components, with a sign each that is drawn once and for all.
fn project(vector: &Vector) -> [i8; DIRECTIONS] {
    const UNIT: f32 = 32_767.0;
    let bytes = vector.to_bytes();
    let components =
        bytes.as_chunks::<2>().0.iter().map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / UNIT);
    let mut signs = vec![[0_u8; DIRECTIONS / 8]; vector.dimension()];
    blake3::Hasher::new()
        .update(b"sidecache: signs of projections")
        .finalize_xof()
        .fill(signs.as_flattened_mut());
    let mut sums = [0_f32; DIRECTIONS];
    for (component, signs) in components.zip(&signs) {
        let signs = u32::from_le_bytes(*signs);
        for (direction, sum) in sums.iter_mut().enumerate() {
            *sum += if signs >> direction & 1 == 1 { component } else { -component };
        }
    }
    // Beyond the range of a byte, the cast stays at its end.
    sums.map(|sum| (sum * STEPS).round() as i8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(dimension: usize, seed: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        let normal = |random: &mut fastrand::Rng| (0..12).map(|_| random.f32()).sum::<f32>() - 6.0;
        let components: Vec<f32> = (0..dimension).map(|_| normal(&mut random)).collect();
        let length = components.iter().map(|own| own * own).sum::<f32>().sqrt();
        components.iter().map(|own| own / length).collect()
    }

    /// `base`, moved by `distance` in a random direction.
    fn moved(base: &[f32], distance: f32, seed: u64) -> Vec<f32> {
        let noise = vector(base.len(), seed);
        base.iter().zip(&noise).map(|(own, noise)| own + noise * distance).collect()
    }

    fn identity(components: &[f32]) -> Identity {
        Identity::new("a/model", &Vector::new(components).expect("a vector"))
    }

    proptest! {
        /// 0.014 is a cosine similarity of 0.9999.
        #[test]
        fn noise_makes_no_other_embedder(dimension in 8..1600_usize, seed: u64, distance in 0_f32..0.014) {
            let base = vector(dimension, seed);
            let other = moved(&base, distance, seed ^ 1);
            prop_assert!(identity(&base).is_near(&identity(&other)));
        }

        /// 0.2 is a cosine similarity of 0.98, where certified thresholds would be off.
        #[test]
        fn another_vector_makes_another_embedder(dimension in 32..1600_usize, seed: u64, distance in 0.2_f32..10.0) {
            let base = vector(dimension, seed);
            let other = moved(&base, distance, seed ^ 1);
            prop_assert!(!identity(&base).is_near(&identity(&other)));
        }

        #[test]
        fn what_is_written_is_read_again(dimension in 8..600_usize, seed: u64) {
            let identity = identity(&vector(dimension, seed));
            prop_assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
        }

        #[test]
        fn no_text_panics(text in ".{0,90}") {
            let _ = Identity::parse(&text);
        }
    }

    #[test]
    fn name_and_dimension_count() {
        let components = vector(384, 7);
        let own = identity(&components);
        let renamed = Identity { model: "a/mode".to_owned(), ..own.clone() };
        assert!(own.is_near(&own) && !own.is_near(&renamed));
        assert!(!own.is_near(&identity(&components[1..])));
        for text in [
            "",
            "a",
            "a/b",
            "a/384/00",
            &own.to_string().to_uppercase(),
            &own.to_string().replace("384", "+384"),
        ] {
            assert_eq!(Identity::parse(text), None, "{text}");
        }
    }
}
