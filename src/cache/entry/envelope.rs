//! The envelope in which an entry leaves this process.
//!
//! It has the full key and a checksum over everything. So a value that is cut, changed, another key's or of
//! another version is a miss and never served.

use bytes::Bytes;
use http::header;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    cache::entry::{
        Entry,
        codec::{Description, EntryReader, Layout, Summary, put_bytes, put_u64},
        compression::{compress, decompress},
    },
    http::headers::media_type_of,
};

/// Begins every envelope; the last byte is the version of the layout.
const MAGIC: [u8; 4] = *b"scE\x08";
/// Begins those of the former layout, which are read as well.
const FORMER_MAGIC: [u8; 4] = *b"scE\x07";
const CHECKSUM_LEN: usize = 16;

/// XXH3 with 128 bits. It guards against accidents, not against forgery, at a tenth of a cryptographic
/// digest's cost.
fn checksum(content: &[u8]) -> [u8; CHECKSUM_LEN] {
    xxh3_128(content).to_le_bytes()
}

/// Why bytes are not the envelope of an entry under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Not written by sidecache, or by another version.
    Foreign,
    /// Cut short or changed.
    Damaged,
    /// The envelope of another key.
    OtherKey,
    /// The body is larger than any that is stored.
    TooLarge,
}

/// The layout that an envelope begins with, and what follows.
fn layout(envelope: &[u8]) -> Option<(Layout, &[u8])> {
    let latest = envelope.strip_prefix(&MAGIC).map(|rest| (Layout::Latest, rest));
    latest.or_else(|| Some((Layout::Former, envelope.strip_prefix(&FORMER_MAGIC)?)))
}

/// A reader of the head in an envelope, or in the beginning of one, under `key`.
fn head_reader<'a>(envelope: &'a Bytes, key: &str) -> Option<EntryReader<'a>> {
    let (layout, _) = layout(envelope)?;
    let mut reader = EntryReader { bytes: envelope, at: MAGIC.len() + CHECKSUM_LEN, layout };
    (reader.bytes()? == key.as_bytes()).then_some(reader)
}

impl Entry {
    /// The envelope under `key`.
    pub fn seal(&self, key: &str) -> Vec<u8> {
        let head = self.head();
        let media = self.header(&header::CONTENT_TYPE).and_then(media_type_of).unwrap_or_default();
        let compressed = compress(&media, &self.body);
        let body = compressed.as_deref().unwrap_or(&self.body);
        let mut out = Vec::with_capacity(128 + key.len() + head.len() + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; CHECKSUM_LEN]);
        put_bytes(&mut out, key.as_bytes());
        out.extend_from_slice(&head);
        // A body is compressed if it takes fewer bytes than this length.
        put_u64(&mut out, self.body.len() as u64);
        out.extend_from_slice(body);
        let checksum = checksum(&out[MAGIC.len() + CHECKSUM_LEN..]);
        out[MAGIC.len()..MAGIC.len() + CHECKSUM_LEN].copy_from_slice(&checksum);
        out
    }

    /// Opens the envelope that was found under `key`. The headers, and a body that is not compressed, share
    /// its memory.
    ///
    /// # Errors
    /// If the bytes are not an envelope of this version, are damaged, belong to another key, or have a body
    /// of more than `largest` bytes, for which nothing is allocated.
    pub fn open(envelope: &Bytes, key: &str, largest: usize) -> Result<Self, EnvelopeError> {
        let (layout, rest) = layout(envelope).ok_or(EnvelopeError::Foreign)?;
        let (stated, content) = rest.split_at_checked(CHECKSUM_LEN).ok_or(EnvelopeError::Damaged)?;
        if stated != checksum(content) {
            return Err(EnvelopeError::Damaged);
        }
        let mut reader = EntryReader { bytes: envelope, at: MAGIC.len() + CHECKSUM_LEN, layout };
        if reader.bytes().ok_or(EnvelopeError::Damaged)? != key.as_bytes() {
            return Err(EnvelopeError::OtherKey);
        }
        let entry = reader.head().ok_or(EnvelopeError::Damaged)?;
        let length = reader.u64().ok_or(EnvelopeError::Damaged)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= largest);
        let length = length.ok_or(EnvelopeError::TooLarge)?;
        let stored = reader.rest();
        let body = match stored.len() == length {
            true => stored,
            false => decompress(&stored, length).ok_or(EnvelopeError::Damaged)?.into(),
        };
        Ok(Self { body, ..entry })
    }

    /// Reads the beginning of the envelope that was found under `key`, without checking it: good enough to
    /// count or remove entries. `None` if it is not the beginning of an envelope of this version, or too
    /// short.
    pub(crate) fn summary(beginning: &Bytes, key: &str) -> Option<Summary> {
        head_reader(beginning, key)?.summary()
    }

    /// What operators see of the entry, by the beginning of its envelope. `None` also if it was written in the
    /// former layout.
    pub(crate) fn description(beginning: &Bytes, key: &str) -> Option<Description> {
        head_reader(beginning, key)?.description()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        cache::{
            entry::RequestLabel,
            invalidation::{Offset, TargetId, Version},
        },
        dialect::usage::Usage,
    };

    const KEY: &str = "sidecache:query:00ff";
    const LARGEST: usize = 1024 * 1024;

    fn open(envelope: Vec<u8>) -> Result<Entry, EnvelopeError> {
        Entry::open(&envelope.into(), KEY, LARGEST)
    }

    fn entry(body: Vec<u8>, header: &str, ttl: u64, model: Option<String>, usage: Option<Usage>) -> Entry {
        let headers = HeaderMap::from_iter([
            (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("x-some"), HeaderValue::from_str(header).expect("a value")),
        ]);
        Entry {
            stored_at: 1_738_406_400_123,
            ttl: Duration::from_millis(ttl),
            stale_while_revalidate: Duration::from_millis(5),
            stale_if_error: Duration::from_millis(6),
            began: Version { epoch: 3, offset: Offset { major: 4, minor: 5 } },
            target_ids: vec![TargetId::from_bytes([1; 16]), TargetId::from_bytes([2; 16])],
            request: RequestLabel::new("/v1/chat", "openai-chat"),
            tags: vec!["doc".to_owned(), String::new()],
            form: 7,
            with_credentials: true,
            took: Duration::from_millis(350),
            model,
            usage,
            pace: vec![0, 17],
            ..Entry::new(StatusCode::OK, headers, body.into())
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            piece in proptest::collection::vec(any::<u8>(), 0..200),
            times in 0usize..100,
            header in "[ -~]{0,20}",
            ttl in any::<u64>(),
            model in proptest::option::of("[a-z]{1,8}"),
            counts in proptest::option::of((0u64..9, any::<[Option<u64>; 2]>())),
        ) {
            let usage = counts.map(|(prompt, [cached, cache_write])| Usage {
                prompt: Some(prompt),
                cached: cached.map(|count| count / 2),
                cache_write: cache_write.map(|count| count / 2),
                completion: None,
                total: cached.map(|count| count / 3),
            });
            let entry = entry(piece.repeat(times), &header, ttl, model, usage);
            prop_assert_eq!(open(entry.seal(KEY)), Ok(entry));
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut envelope = MAGIC.to_vec();
            envelope.extend_from_slice(&checksum(&bytes));
            envelope.extend_from_slice(&bytes);
            let _ = open(envelope);
            let _ = open(bytes);
        }
    }

    #[test]
    fn the_beginning_is_enough_for_a_summary() {
        let entry = entry(b"an answer".to_vec(), "v", 1000, None, None);
        let sealed = Bytes::from(entry.seal(KEY));
        let needed = (0..sealed.len()).find(|len| Entry::summary(&sealed.slice(..*len), KEY).is_some());
        let beginning = sealed.slice(..needed.expect("the whole is enough"));
        assert!(beginning.len() < 200, "{}", beginning.len());
        let summary = Entry::summary(&beginning, KEY).expect("a summary");
        assert_eq!((summary.began, &summary.target_ids), (entry.began, &entry.target_ids));
        assert_eq!((summary.stored_at, summary.ttl), (entry.stored_at, entry.ttl));
        assert_eq!(Entry::summary(&sealed, "sidecache:query:00fe"), None);
        assert_eq!(Entry::summary(&Bytes::from_static(b"scE"), KEY), None);
    }

    #[test]
    fn what_operators_see_is_read_from_the_beginning() {
        let entry = entry(b"an answer".repeat(1000), "v", 1000, None, None);
        let sealed = Bytes::from(entry.seal(KEY));
        let needed = (0..sealed.len()).find(|len| Entry::description(&sealed.slice(..*len), KEY).is_some());
        let needed = needed.expect("the whole is enough");
        assert!(needed < 200, "{needed}");
        let Entry { request, tags, .. } = entry;
        let expected = Some(Description { request, tags });
        assert_eq!(Entry::description(&sealed.slice(..needed), KEY), expected);
        assert_eq!(Entry::description(&sealed, "sidecache:query:00fe"), None);
    }

    /// The same answer as [`entry`] makes, as it was written before entries had a label.
    fn in_former_layout(entry: &Entry) -> Vec<u8> {
        let mut content = Vec::new();
        let put_numbers = |out: &mut Vec<u8>, numbers: &[u64]| {
            numbers.iter().for_each(|number| put_u64(out, *number));
        };
        put_bytes(&mut content, KEY.as_bytes());
        put_numbers(&mut content, &[200, 3, 4, 5]);
        put_bytes(&mut content, &[[1; 16], [2; 16]].concat());
        put_numbers(&mut content, &[entry.stored_at, 1000, 5, 6, 7, 1, 350]);
        put_bytes(&mut content, b"m");
        put_numbers(&mut content, &[0; 5]);
        put_bytes(&mut content, &[0, 0, 0, 0, 17, 0, 0, 0]);
        put_u64(&mut content, entry.tags.len() as u64);
        entry.tags.iter().for_each(|tag| put_bytes(&mut content, tag.as_bytes()));
        put_numbers(&mut content, &[0, 2]);
        for text in ["content-type", "application/json", "x-some", "v"] {
            put_bytes(&mut content, text.as_bytes());
        }
        put_u64(&mut content, entry.body.len() as u64);
        content.extend_from_slice(&entry.body);
        [&FORMER_MAGIC[..], &checksum(&content), &content].concat()
    }

    #[test]
    fn the_former_layout_is_read_and_has_no_label() {
        let entry = entry(b"an answer".to_vec(), "v", 1000, Some("m".into()), None);
        let former = in_former_layout(&entry);
        let unlabelled = Entry { request: RequestLabel::default(), ..entry.clone() };
        assert_eq!(open(former.clone()), Ok(unlabelled));
        let summary = Entry::summary(&former.clone().into(), KEY).expect("a summary");
        assert_eq!((summary.began, summary.stored_at), (entry.began, entry.stored_at));
        assert_eq!(Entry::description(&former.into(), KEY), None);
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let sealed = entry(b"an answer".to_vec(), "v", 1000, Some("m".into()), None).seal(KEY);
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(open(changed).is_err(), "bit {bit} of byte {at}");
            }
            assert!(open(sealed[..at].to_vec()).is_err(), "cut at {at}");
        }
        let mut longer = sealed.clone();
        longer.push(0);
        assert!(open(longer).is_err());
        let other = Entry::open(&sealed.into(), "sidecache:query:00fe", LARGEST);
        assert_eq!(other, Err(EnvelopeError::OtherKey));
    }

    /// Replicas of two versions share a store: what one writes the other one must read as it was meant, or
    /// not at all.
    #[test]
    fn another_layout_is_another_version() {
        let usage = Usage { prompt: Some(1), cached: Some(2), total: Some(200), ..Usage::default() };
        let sealed = entry(b"an answer".to_vec(), "v", 1000, Some("m".into()), Some(usage)).seal(KEY);
        let stated = &sealed[MAGIC.len()..][..CHECKSUM_LEN];
        let stated = u128::from_le_bytes(stated.try_into().expect("16 bytes"));
        assert_eq!((MAGIC[3], stated), (8, 118_679_137_922_251_447_043_415_481_099_868_675_519));
    }

    /// The envelope of `entry`, with another length for its body.
    fn with_length(entry: &Entry, length: u64) -> Vec<u8> {
        let stored = compress("application/json", &entry.body).expect("a body that is compressed");
        let mut content = Vec::new();
        put_bytes(&mut content, KEY.as_bytes());
        content.extend(entry.head());
        put_u64(&mut content, length);
        content.extend(stored);
        [&MAGIC[..], &checksum(&content), &content].concat()
    }

    #[test]
    fn large_bodies_are_compressed_and_no_length_is_believed() {
        let entry = entry(b"again and ".repeat(10_000), "v", 1000, None, None);
        assert!(entry.seal(KEY).len() < entry.body.len() / 50);
        assert_eq!(entry.seal(KEY), with_length(&entry, 100_000));
        assert_eq!(open(entry.seal(KEY)), Ok(entry.clone()));
        for length in [0, 1, 99_999, 100_001, LARGEST as u64] {
            assert_eq!(open(with_length(&entry, length)), Err(EnvelopeError::Damaged), "{length}");
        }
        for length in [LARGEST as u64 + 1, 1 << 40, u64::MAX] {
            assert_eq!(open(with_length(&entry, length)), Err(EnvelopeError::TooLarge), "{length}");
        }
        let small = Entry::open(&entry.seal(KEY).into(), KEY, entry.body.len() - 1);
        assert_eq!(small, Err(EnvelopeError::TooLarge));
    }
}
