//! Ids as hexadecimal digits, in plain steps: every request needs some, and the formatter takes longer.

use serde::{Serialize, Serializer};

/// The bytes of an id, shown as lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0; 2 * size_of::<u128>()];
        let digits = &mut digits[..2 * N];
        write_hex(&self.0, digits);
        serializer.serialize_str(str::from_utf8(digits).unwrap_or_default())
    }
}

/// Writes two lower-case digits for each byte.
pub(crate) fn write_hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(digits.as_chunks_mut().0) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]];
    }
}

/// The number that lower-case hexadecimal digits stand for.
pub(crate) fn read_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}
