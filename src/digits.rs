//! Numbers as digits, in plain steps: they are in every response and every line of the log, where the formatter would
//! take more time than all the rest.

/// Fills `out` with the last decimal digits of `number`, zeros before them.
pub fn decimal(mut number: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Fills `out` with `bytes` as hexadecimal digits, two each.
pub fn hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]];
    }
}

/// Digits as text.
pub fn text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_their_places() {
        for (number, expected) in [(0, "000"), (7, "007"), (999, "999"), (1234, "234")] {
            let mut out = [0; 3];
            decimal(number, &mut out);
            assert_eq!(text(&out), expected, "{number}");
        }
        let mut out = [0; 8];
        hex(&[0x00, 0x1f, 0xa0, 0xff], &mut out);
        assert_eq!(text(&out), "001fa0ff");
    }
}
