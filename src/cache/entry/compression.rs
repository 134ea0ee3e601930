//! Compression of bodies on their way to Redis: LZ4 in its block format, if that saves enough.

use lz4_flex::block;

/// A shorter body saves too little for the time that compression takes. In bytes.
const MIN_BYTES: usize = 4 * 1024;

/// Compression must save at least one in so many bytes.
const MIN_SAVED: usize = 4;

/// The compressed `body`; `None` if it is better stored as it is.
pub(crate) fn compress(media: &str, body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < MIN_BYTES || is_compressed(media) {
        return None;
    }
    let compressed = block::compress(body);
    (compressed.len() <= body.len() - body.len() / MIN_SAVED).then_some(compressed)
}

/// The body of `length` bytes that [`compress`] was given; `None` if these are other bytes. Allocates
/// `length` bytes.
pub(crate) fn decompress(compressed: &[u8], length: usize) -> Option<Vec<u8>> {
    block::decompress(compressed, length).ok().filter(|body| body.len() == length)
}

/// Whether the formats of this media type are compressed already.
fn is_compressed(media: &str) -> bool {
    let (top, sub) = media.split_once('/').unwrap_or((media, ""));
    match top {
        "image" => !matches!(sub, "svg+xml" | "bmp"),
        "audio" | "video" => true,
        "font" => sub.starts_with("woff"),
        "application" => matches!(sub, "gzip" | "x-gzip" | "zip" | "zstd" | "pdf" | "x-7z-compressed"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: &str = "application/json";

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..20),
            order in proptest::collection::vec(any::<usize>(), 0..200),
        ) {
            let piece = |at: &usize| pieces.get(at % pieces.len().max(1)).cloned().unwrap_or_default();
            let body: Vec<u8> = order.iter().flat_map(piece).collect();
            if let Some(compressed) = compress(JSON, &body) {
                prop_assert!(compressed.len() < body.len());
                prop_assert_eq!(decompress(&compressed, body.len() - 1), None);
                prop_assert_eq!(decompress(&compressed, body.len() + 1), None);
                prop_assert_eq!(decompress(&compressed, body.len()), Some(body));
            }
        }

        #[test]
        fn no_input_panics_or_grows(bytes in proptest::collection::vec(any::<u8>(), 0..300), length in 0usize..5000) {
            let body = decompress(&bytes, length);
            prop_assert!(body.is_none_or(|body| body.len() == length));
        }
    }

    #[test]
    fn only_where_it_pays() {
        let text = b"all work and no play ".repeat(MIN_BYTES);
        assert!(compress(JSON, &text).is_some_and(|compressed| compressed.len() < text.len() / 100));
        assert!(compress("image/svg+xml", &text[..MIN_BYTES]).is_some());
        assert_eq!(compress(JSON, &text[..MIN_BYTES - 1]), None, "too short");
        for media in ["image/png", "video/mp4", "application/zip", "font/woff2"] {
            assert_eq!(compress(media, &text), None, "{media}");
        }
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(2 * MIN_BYTES).collect();
        assert_eq!(compress(JSON, &noise), None, "nothing is saved");
    }
}
