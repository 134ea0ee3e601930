//! The vector of a text, of length one, in fixed point: similarities are the same on every machine.

/// A vector of length one. Each component has 16 bits, in units of 1/32,767.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vector(Box<[i16]>);

impl Vector {
    /// `None` if a component is no number, or all are zero.
    pub(crate) fn new(_components: &[f32]) -> Option<Self> {
        unimplemented!()
    }

    /// The cosine similarity, between -1 and 1; 0 for vectors of different dimensions.
    pub(crate) fn similarity(&self, _other: &Self) -> f32 {
        unimplemented!()
    }

    pub(crate) const fn dimension(&self) -> usize {
        self.0.len()
    }

    /// Little-endian, two bytes a component.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        unimplemented!()
    }

    /// `None` if these are not the bytes of a vector.
    pub(crate) fn from_bytes(_bytes: &[u8]) -> Option<Self> {
        unimplemented!()
    }
}
