//! Bodies of requests that come compressed (RFC 9110, section 8.4): what they say, for the key. They go upstream as
//! they came.
//!
//! Only what every decoder reads alike is decoded: one coding, one member or frame, a right checksum, and nothing
//! behind the end. Everything else stays unread. `deflate` is not among the codings, since half of the world takes it
//! for another one (RFC 9110, section 8.4.1.2).

use std::io::Read;

use bytes::Bytes;
use http::{HeaderMap, header};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// A body may always become this large, in bytes.
const SMALL: usize = 64 * 1024;

/// A larger one may become so many times as large. Conversations come at 3 to 20 times.
const MAX_RATIO: usize = 100;

/// The largest window of a zstd frame, in bytes (RFC 9659, section 3).
const MAX_WINDOW: u64 = 8 * 1024 * 1024;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    /// Not at all.
    Plain,
    Gzip,
    /// RFC 8878.
    Zstd,
    /// In some other way, or in several.
    Unknown,
}

impl ContentCoding {
    /// What `Content-Encoding` says.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(line) = lines.next() else { return Self::Plain };
        let name = line.to_str().unwrap_or_default().trim();
        let is = |own: &str| name.eq_ignore_ascii_case(own);
        if lines.next().is_some() {
            Self::Unknown
        } else if is("gzip") || is("x-gzip") {
            Self::Gzip
        } else if is("zstd") {
            Self::Zstd
        } else {
            Self::Unknown
        }
    }

    /// What the encoded `body` says; `None` if it is plain, if it cannot be read, or if it says more than `limit` bytes.
    pub(crate) fn decode(self, body: &[u8], limit: usize) -> Option<Bytes> {
        let limit = limit.min(body.len().saturating_mul(MAX_RATIO).max(SMALL));
        let text = match self {
            Self::Plain | Self::Unknown => return None,
            Self::Gzip => ungzipped(body, limit)?,
            Self::Zstd => unzstded(body, limit)?,
        };
        Some(text.into())
    }
}

/// RFC 1952, one member.
fn ungzipped(body: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut decoder = flate2::bufread::GzDecoder::new(body);
    let text = read_up_to(&mut decoder, limit)?;
    decoder.into_inner().is_empty().then_some(text)
}

/// RFC 8878, one frame.
fn unzstded(body: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut rest = body;
    let mut frame = FrameDecoder::new();
    frame.set_max_window_size(MAX_WINDOW);
    let mut decoder = StreamingDecoder::new_with_decoder(&mut rest, frame).ok()?;
    let text = read_up_to(&mut decoder, limit)?;
    let frame = decoder.into_frame_decoder();
    let is_right =
        frame.get_checksum_from_data().is_none_or(|sum| frame.get_calculated_checksum() == Some(sum));
    (is_right && frame.is_finished() && rest.is_empty()).then_some(text)
}

/// All that `decoder` gives; `None` if that is more than `limit` bytes, or no end is seen.
fn read_up_to(decoder: &mut impl Read, limit: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut text).ok()?;
    (text.len() <= limit).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use http::HeaderValue;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const LIMIT: usize = 1024 * 1024;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    /// `compression --ultra -22 --long=27`: a frame that wants a window of 128 MiB.
    fn wants_a_large_window() -> Vec<u8> {
        let window = (27 - 10) << 3;
        let last_raw_block = [1 | 1 << 3, 0, 0, b'x'];
        [&[0x28, 0xb5, 0x2f, 0xfd, 0, window][..], &last_raw_block].concat()
    }

    fn both(text: &[u8]) -> [(ContentCoding, Vec<u8>); 2] {
        [(ContentCoding::Gzip, gzip(text)), (ContentCoding::Zstd, zstd(text))]
    }

    #[test]
    fn one_known_coding_is_known() {
        use ContentCoding::{Gzip, Plain, Unknown, Zstd};
        for (lines, expected) in [
            (&[][..], Plain),
            (&["gzip"], Gzip),
            (&[" GZip "], Gzip),
            (&["x-gzip"], Gzip),
            (&["zstd"], Zstd),
            (&["deflate"], Unknown),
            (&["br"], Unknown),
            (&["identity"], Unknown),
            (&[""], Unknown),
            (&["gzip, gzip"], Unknown),
            (&["gzip", "gzip"], Unknown),
            (&["zstd;q=1"], Unknown),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(line));
            }
            assert_eq!(ContentCoding::from_headers(&headers), expected, "{lines:?}");
        }
        assert_eq!(Plain.decode(b"{}", LIMIT), None);
        assert_eq!(Unknown.decode(&gzip(b"{}"), LIMIT), None);
    }

    #[test]
    fn what_is_large_is_not_decoded_to_its_end() {
        for (coding, bomb) in both(&vec![b' '; 16 * LIMIT]) {
            assert!(bomb.len() < LIMIT / 8, "{coding:?}: {}", bomb.len());
            assert_eq!(coding.decode(&bomb, usize::MAX), None, "{coding:?}: the ratio");
        }
        let text = vec![b' '; SMALL];
        for (coding, body) in both(&text) {
            assert_eq!(coding.decode(&body, LIMIT).as_deref(), Some(&text[..]), "{coding:?}");
            assert_eq!(coding.decode(&body, text.len()).as_deref(), Some(&text[..]), "{coding:?}");
            assert_eq!(coding.decode(&body, text.len() - 1), None, "{coding:?}");
        }
        assert_eq!(ContentCoding::Zstd.decode(&wants_a_large_window(), LIMIT), None);
    }

    #[test]
    fn what_decoders_read_in_several_ways_is_not_read() {
        for (coding, body) in both(b"{\"a\":1}") {
            let twice = [&body[..], &body].concat();
            assert_eq!(coding.decode(&twice, LIMIT), None, "{coding:?}: two in a row");
            assert_eq!(
                coding.decode(&[&body[..], b"x"].concat(), LIMIT),
                None,
                "{coding:?}: rubbish behind it"
            );
            assert_eq!(coding.decode(b"{\"a\":1}", LIMIT), None, "{coding:?}: not encoded");
            assert_eq!(coding.decode(b"", LIMIT), None, "{coding:?}: empty");
            for at in 0..body.len() {
                assert_eq!(coding.decode(&body[..at], LIMIT), None, "{coding:?}: cut at {at}");
            }
        }
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, b'x'][..], &zstd(b"{}")].concat();
        assert_eq!(ContentCoding::Zstd.decode(&skippable, LIMIT), None);
    }

    proptest! {
        #[test]
        fn a_body_says_what_was_encoded(text in proptest::collection::vec(any::<u8>(), 0..3000)) {
            for (coding, body) in both(&text) {
                let read = coding.decode(&body, LIMIT);
                prop_assert_eq!(read.as_deref(), Some(&text[..]));
            }
        }

        /// A bit that was changed never makes another text of it.
        #[test]
        fn a_damaged_body_is_not_read(text in "[a-d \n]{1,400}", at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            for (coding, mut body) in both(text.as_bytes()) {
                let at = at.index(body.len());
                body[at] ^= 1 << bit;
                let read = coding.decode(&body, LIMIT);
                prop_assert!(read.as_deref().is_none_or(|read| read == text.as_bytes()), "{:?} {}", coding, at);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let zstd = [0x28, 0xb5, 0x2f, 0xfd];
            for (coding, begin) in [(ContentCoding::Gzip, &[0x1f, 0x8b, 8][..]), (ContentCoding::Zstd, &zstd)] {
                let _ = coding.decode(&bytes, LIMIT);
                let _ = coding.decode(&[begin, &bytes].concat(), LIMIT);
            }
        }
    }
}
