//! A text with some of its parts replaced. Every other byte is the caller's own: numbers, white space and
//! escapes stay as they were, which a text that was read and written again could not promise.

use std::ops::Range;

/// Copies a text, with other bytes in place of some of its parts.
#[derive(Debug)]
pub(crate) struct Splicer<'t> {
    text: &'t [u8],
    /// How much of the text was copied or replaced.
    read: usize,
    out: Vec<u8>,
}

impl<'t> Splicer<'t> {
    /// For a result that is about as long as `text`.
    pub(crate) fn new(text: &'t [u8]) -> Self {
        Self::with_capacity(text, text.len())
    }

    /// For a result of `capacity` bytes.
    pub(crate) fn with_capacity(text: &'t [u8], capacity: usize) -> Self {
        Self { text, read: 0, out: Vec::with_capacity(capacity) }
    }

    /// Puts `bytes` in place of the part at `range`, which begins behind all earlier ones.
    pub(crate) fn replace(&mut self, range: Range<usize>, bytes: &[u8]) {
        self.out.extend_from_slice(&self.text[self.read..range.start]);
        self.out.extend_from_slice(bytes);
        self.read = range.end;
    }

    /// How much of the result there is so far, in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.out.len()
    }

    /// Adds to what the last replacement put there.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Copies the rest of the text.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(&self.text[self.read..]);
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_replaced_parts_is_unchanged() {
        let mut splicer = Splicer::new(b"{\"a\": 1.50, \"b\":2}");
        splicer.replace(0..0, b" ");
        splicer.replace(6..10, b"nu");
        splicer.add(b"ll");
        splicer.replace(10..16, b"");
        assert_eq!(splicer.finish(), b" {\"a\": null2}");
        assert_eq!(Splicer::new(b"as it was").finish(), b"as it was");
    }
}
