//! Sets of truncated hashes, and digests of several texts.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// So many bits of a hash are kept: enough to tell the words of two questions apart, too few to tell which of all words one was.
const BITS: u32 = 14;

/// The truncated hash of a text.
pub(super) fn hash16(text: &str) -> u16 {
    u16::try_from(xxh3_64(text.as_bytes()) >> (u64::BITS - BITS)).unwrap_or(0)
}

/// The truncated hash of two texts that belong together, of which there are many.
pub(super) fn hash16_of_pair(text: &str) -> u16 {
    u16::try_from(xxh3_64(text.as_bytes()) >> (u64::BITS - u16::BITS)).unwrap_or(0)
}

/// The digest of some texts, whatever their order; 0 for none.
pub(super) fn digest<'t>(texts: impl Iterator<Item = &'t str>) -> u32 {
    let mut texts: Vec<_> = texts.collect();
    texts.sort_unstable();
    digest_in_order(texts.into_iter())
}

/// The digest of some texts in their order; 0 for none.
pub(super) fn digest_in_order<'t>(texts: impl Iterator<Item = &'t str>) -> u32 {
    let mut hasher = Xxh3::new();
    let mut is_empty = true;
    for text in texts {
        is_empty = false;
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let digest = u32::try_from(hasher.digest() >> 32).unwrap_or(1);
    if is_empty { 0 } else { digest.max(1) }
}

/// A set of small numbers, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HashSet16(Box<[u16]>);

impl FromIterator<u16> for HashSet16 {
    fn from_iter<I: IntoIterator<Item = u16>>(numbers: I) -> Self {
        let mut numbers: Vec<_> = numbers.into_iter().collect();
        numbers.sort_unstable();
        numbers.dedup();
        Self(numbers.into())
    }
}

impl HashSet16 {
    pub(super) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn contains(&self, number: u16) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.iter().all(|number| other.contains(number))
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.iter().any(|number| other.contains(number))
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn count_in(&self, other: &Self) -> usize {
        self.iter().filter(|number| other.contains(*number)).count()
    }

    /// Whether both have something, and not the same.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        !self.0.is_empty() && !other.0.is_empty() && self != other
    }

    /// Whether it has something that is in `all`, but not in `some`.
    pub(super) fn has_beside(&self, all: &Self, some: &Self) -> bool {
        self.iter().any(|number| all.contains(number) && !some.contains(number))
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let count = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        for number in self.iter().take(usize::from(count)) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Takes a set off the beginning of `bytes`; `None` if there is none.
    pub(super) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk()?;
        let (numbers, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*count)) * 2)?;
        *bytes = rest;
        let numbers: Vec<_> =
            numbers.as_chunks().0.iter().map(|number| u16::from_le_bytes(*number)).collect();
        numbers.is_sorted_by(|one, next| one < next).then(|| Self(numbers.into()))
    }
}
