//! A stored answer, and the envelope it is stored in.
//!
//! The envelope holds the full key and a checksum over everything, so that a value which is cut, changed,
//! somebody else's, or of another version is told from an answer, and never served (a miss).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::generations::{Mark, Place, Point};

/// Begins every envelope; the last byte is the version of the layout.
const MAGIC: [u8; 4] = *b"scE\x03";
const CHECKSUM_LEN: usize = 32;

/// The tokens an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In the question.
    pub prompt: Option<u64>,
    /// In the answer.
    pub completion: Option<u64>,
    /// In all, as the upstream says, or else the sum.
    pub total: Option<u64>,
}

impl Usage {
    /// Both together, as far as they are known.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (one, other) => one.or(other),
        };
        Self {
            prompt: sum(self.prompt, other.prompt),
            completion: sum(self.completion, other.completion),
            total: sum(self.total, other.total),
        }
    }
}

/// An answer as it came, and what is needed to serve it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without those a hit leaves out.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body.
    pub body: Bytes,
    /// When it was stored, in milliseconds since the Unix epoch.
    pub stored_at: u64,
    /// How long it is fresh from then on.
    pub ttl: Duration,
    /// How long after that it is served while it is asked for anew.
    pub stale_while_revalidate: Duration,
    /// How long after that it is served where the upstream fails.
    pub stale_if_error: Duration,
    /// The place in the order of retirements at which its fill began.
    pub began: Point,
    /// What it depends on, besides its key.
    pub marks: Vec<Mark>,
    /// Those of them that are tags, by name.
    pub tags: Vec<String>,
    /// The id of the form that the request asked for ([`crate::dialect::Form`]); only such a request gets the
    /// body as it is.
    pub form: u64,
    /// Whether the request that it answered had credentials.
    pub with_credentials: bool,
    /// How long the upstream took for it.
    pub took: Duration,
    /// The model that gave it.
    pub model: Option<String>,
    /// The tokens it took.
    pub usage: Option<Usage>,
    /// Of a stream, the milliseconds before each event.
    pub pace: Vec<u32>,
}

/// Why bytes are no envelope of an entry under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Not ours, or of another version.
    Foreign,
    /// Cut short or changed.
    Damaged,
    /// Another key's.
    OtherKey,
}

/// What stands at the beginning of every envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    status: StatusCode,
    /// As [`Entry::began`].
    pub began: Point,
    /// As [`Entry::marks`].
    pub marks: Vec<Mark>,
    /// As [`Entry::stored_at`].
    pub stored_at: u64,
    /// As [`Entry::ttl`].
    pub ttl: Duration,
}

impl Entry {
    /// An answer that took nothing and is of no use for any time yet.
    pub fn new(status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>, body: Bytes) -> Self {
        Self {
            status,
            headers,
            body,
            stored_at: 0,
            ttl: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            began: Point::default(),
            marks: Vec::new(),
            tags: Vec::new(),
            form: 0,
            with_credentials: false,
            took: Duration::ZERO,
            model: None,
            usage: None,
            pace: Vec::new(),
        }
    }

    /// The value of its header `name`.
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Its headers, to be looked up.
    pub fn header_map(&self) -> HeaderMap {
        self.headers.iter().cloned().collect()
    }

    /// How old it is at `now`, in milliseconds since the Unix epoch. A clock that was set back makes it no younger
    /// than new.
    pub fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.stored_at))
    }

    /// How long it is of use: fresh, and stale after that.
    pub fn life(&self) -> Duration {
        self.ttl.saturating_add(self.stale_while_revalidate).saturating_add(self.stale_if_error)
    }

    /// The envelope under `key`.
    pub fn seal(&self, key: &str) -> Vec<u8> {
        let head = self.head();
        let mut out = Vec::with_capacity(128 + key.len() + head.len() + self.body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; CHECKSUM_LEN]);
        put_bytes(&mut out, key.as_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.body);
        let checksum = blake3::hash(&out[MAGIC.len() + CHECKSUM_LEN..]);
        out[MAGIC.len()..MAGIC.len() + CHECKSUM_LEN].copy_from_slice(checksum.as_bytes());
        out
    }

    /// Itself in one piece of memory of its own: neither its body nor a header keeps the buffer that it was read into.
    pub fn pack(&self) -> Packed {
        let head = self.head();
        // To the byte: what is kept long has no room to spare.
        let mut out = Vec::with_capacity(head.len() + self.body.len());
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.body);
        Packed(out.into())
    }

    /// All that is written before the body.
    fn head(&self) -> Vec<u8> {
        let out = &mut Vec::with_capacity(512);
        put_u64(out, u64::from(self.status.as_u16()));
        for number in [self.began.order, self.began.place.major, self.began.place.minor] {
            put_u64(out, number);
        }
        let marks: Vec<u8> = self.marks.iter().flat_map(|mark| mark.to_bytes()).collect();
        put_bytes(out, &marks);
        put_u64(out, self.stored_at);
        for duration in [self.ttl, self.stale_while_revalidate, self.stale_if_error] {
            put_u64(out, millis(duration));
        }
        put_u64(out, self.form);
        put_u64(out, u64::from(self.with_credentials));
        put_u64(out, millis(self.took));
        put_bytes(out, self.model.as_deref().unwrap_or_default().as_bytes());
        let usage = self.usage.unwrap_or_default();
        for tokens in [usage.prompt, usage.completion, usage.total] {
            // A count is stored one higher; zero is an unknown one.
            put_u64(out, tokens.map_or(0, |tokens| tokens.saturating_add(1)));
        }
        let pace: Vec<u8> = self.pace.iter().flat_map(|gap| gap.to_le_bytes()).collect();
        put_bytes(out, &pace);
        put_u64(out, self.tags.len() as u64);
        for tag in &self.tags {
            put_bytes(out, tag.as_bytes());
        }
        put_u64(out, self.headers.len() as u64);
        for (name, value) in &self.headers {
            put_bytes(out, name.as_str().as_bytes());
            put_bytes(out, value.as_bytes());
        }
        std::mem::take(out)
    }

    /// Opens the envelope that was found under `key`; the body shares the envelope's memory.
    ///
    /// # Errors
    /// Where the bytes are no envelope of this version, are damaged, or belong to another key.
    pub fn open(envelope: &Bytes, key: &str) -> Result<Self, EnvelopeError> {
        let rest = envelope.strip_prefix(&MAGIC).ok_or(EnvelopeError::Foreign)?;
        let (checksum, content) = rest.split_at_checked(CHECKSUM_LEN).ok_or(EnvelopeError::Damaged)?;
        if blake3::hash(content)
            != <[u8; CHECKSUM_LEN]>::try_from(checksum).map_err(|_| EnvelopeError::Damaged)?
        {
            return Err(EnvelopeError::Damaged);
        }
        let mut reader = Reader { envelope, at: MAGIC.len() + CHECKSUM_LEN };
        if reader.bytes().ok_or(EnvelopeError::Damaged)? != key.as_bytes() {
            return Err(EnvelopeError::OtherKey);
        }
        reader.entry().ok_or(EnvelopeError::Damaged)
    }

    /// What the beginning of the envelope that was found under `key` tells. It is not checked, and so good for
    /// counting and removing alone; `None` where it is no beginning of an envelope of this version, or too short.
    pub fn summary(beginning: &Bytes, key: &str) -> Option<Summary> {
        beginning.strip_prefix(&MAGIC)?;
        let mut reader = Reader { envelope: beginning, at: MAGIC.len() + CHECKSUM_LEN };
        (reader.bytes()? == key.as_bytes()).then(|| reader.summary())?
    }
}

/// An entry in one piece of memory, as this process keeps it.
#[derive(Clone, Debug)]
pub struct Packed(Bytes);

impl Packed {
    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "none is")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The entry; its body and its headers share this memory. `None` for no entry that this process packed.
    pub fn unpack(&self) -> Option<Entry> {
        Reader { envelope: &self.0, at: 0 }.entry()
    }

    /// What is needed to count or to remove it.
    pub fn summary(&self) -> Option<Summary> {
        Reader { envelope: &self.0, at: 0 }.summary()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a number in seven bits a byte, the lowest first (LEB128): most are small.
fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    envelope: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Option<Bytes> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.envelope.len())?;
        let taken = self.envelope.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = *self.envelope.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let len = usize::try_from(self.u64()?).ok()?;
        self.take(len)
    }

    fn summary(&mut self) -> Option<Summary> {
        let status = StatusCode::from_u16(u16::try_from(self.u64()?).ok()?).ok()?;
        let [order, major, minor] = [self.u64()?, self.u64()?, self.u64()?];
        let marks = self.bytes()?;
        let (marks, rest) = marks.as_chunks::<16>();
        let marks = rest.is_empty().then(|| marks.iter().copied().map(Mark::from_bytes).collect())?;
        let (stored_at, ttl) = (self.u64()?, Duration::from_millis(self.u64()?));
        let began = Point { order, place: Place { major, minor } };
        Some(Summary { status, began, marks, stored_at, ttl })
    }

    fn entry(&mut self) -> Option<Entry> {
        let Summary { status, began, marks, stored_at, ttl } = self.summary()?;
        let [stale_while_revalidate, stale_if_error] = [self.u64()?, self.u64()?].map(Duration::from_millis);
        let form = self.u64()?;
        let with_credentials = self.u64()? != 0;
        let took = Duration::from_millis(self.u64()?);
        let model = String::from_utf8(self.bytes()?.to_vec()).ok()?;
        let [prompt, completion, total] =
            [self.u64()?, self.u64()?, self.u64()?].map(|stored| stored.checked_sub(1));
        let usage = Usage { prompt, completion, total };
        let pace = self.bytes()?;
        let (gaps, rest) = pace.as_chunks::<4>();
        let pace = rest.is_empty().then(|| gaps.iter().map(|gap| u32::from_le_bytes(*gap)).collect())?;
        let count = self.u64()?;
        let mut tags = Vec::new();
        for _ in 0..count {
            tags.push(String::from_utf8(self.bytes()?.to_vec()).ok()?);
        }
        let count = self.u64()?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = HeaderName::from_bytes(&self.bytes()?).ok()?;
            headers.push((name, HeaderValue::from_maybe_shared(self.bytes()?).ok()?));
        }
        Some(Entry {
            status,
            headers,
            body: self.envelope.slice(self.at..),
            stored_at,
            ttl,
            stale_while_revalidate,
            stale_if_error,
            began,
            marks,
            tags,
            form,
            with_credentials,
            took,
            model: (!model.is_empty()).then_some(model),
            usage: (usage != Usage::default()).then_some(usage),
            pace,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "sidecache:query:00ff";

    fn entry(body: Vec<u8>, header: &str, ttl: u64, model: Option<String>, usage: Option<Usage>) -> Entry {
        let headers = vec![
            (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("x-some"), HeaderValue::from_str(header).expect("a value")),
        ];
        Entry {
            stored_at: 1_738_406_400_123,
            ttl: Duration::from_millis(ttl),
            stale_while_revalidate: Duration::from_millis(5),
            stale_if_error: Duration::from_millis(6),
            began: Point { order: 3, place: Place { major: 4, minor: 5 } },
            marks: vec![Mark::from_bytes([1; 16]), Mark::from_bytes([2; 16])],
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
            body in proptest::collection::vec(any::<u8>(), 0..200),
            header in "[ -~]{0,20}",
            ttl in any::<u64>(),
            model in proptest::option::of("[a-z]{1,8}"),
            counts in proptest::option::of((0u64..9, proptest::option::of(0u64..9))),
        ) {
            let usage = counts.map(|(prompt, total)| Usage { prompt: Some(prompt), completion: None, total });
            let entry = entry(body, &header, ttl, model, usage);
            prop_assert_eq!(Entry::open(&entry.seal(KEY).into(), KEY), Ok(entry));
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut envelope = MAGIC.to_vec();
            envelope.extend_from_slice(blake3::hash(&bytes).as_bytes());
            envelope.extend_from_slice(&bytes);
            let _ = Entry::open(&envelope.into(), KEY);
            let _ = Entry::open(&bytes.into(), KEY);
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
        assert_eq!((summary.began, &summary.marks), (entry.began, &entry.marks));
        assert_eq!((summary.stored_at, summary.ttl), (entry.stored_at, entry.ttl));
        assert_eq!(Entry::summary(&sealed, "sidecache:query:00fe"), None);
        assert_eq!(Entry::summary(&Bytes::from_static(b"scE"), KEY), None);
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let sealed = entry(b"an answer".to_vec(), "v", 1000, Some("m".into()), None).seal(KEY);
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(Entry::open(&changed.into(), KEY).is_err(), "bit {bit} of byte {at}");
            }
            assert!(Entry::open(&Bytes::copy_from_slice(&sealed[..at]), KEY).is_err(), "cut at {at}");
        }
        let mut longer = sealed.clone();
        longer.push(0);
        assert!(Entry::open(&longer.into(), KEY).is_err());
        assert_eq!(Entry::open(&sealed.into(), "sidecache:query:00fe"), Err(EnvelopeError::OtherKey));
    }
}
