//! What replicas tell each other, and what a restart reads.
//!
//! On the wire an event is a version, a kind and its fields. There are vectors, digests, keys and names of routes in it, and
//! no text of a question or of an answer. Events come from other versions of sidecache, from files and from a Redis that
//! others can write to, so what is read is taken only if it is, to the byte, what this version writes.

use bytes::Bytes;

use super::{
    answer::AnswerSketch,
    guards::Signature,
    index::Record,
    ledger::{Label, LabelSource, Nearness},
    question::{CallerId, Partition},
    vector::Vector,
};
use crate::cache::{
    entry::codec::{EntryReader, Layout, put_bytes, put_u64},
    route::kind::Kind,
};

/// The version of the layout, the first byte.
const VERSION: u8 = 1;

/// The longest event, in bytes: a record whose two vectors have 8,000 dimensions each.
pub(crate) const MAX_LEN: usize = 40_000;

/// The most callers of a record.
const MAX_CALLERS: u64 = 2;

/// Something that happened to the index or to the labels.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "most events that wait are records")]
pub(crate) enum SemanticEvent {
    Added(Record),
    AskedBy {
        key: Box<str>,
        caller: CallerId,
    },
    Labelled {
        route: Box<str>,
        label: Label,
    },
    /// Somebody reported that `original` is no answer to `asked`.
    Separated {
        asked: Box<str>,
        original: Box<str>,
    },
    /// The route stepped back: labels before this do not count.
    SteppedBack {
        route: Box<str>,
        at: u64,
    },
    /// Vectors of another embedder are worthless.
    Embedder {
        identity: Box<str>,
    },
}

/// The kinds of events. A number is never given to another kind.
const ADDED: u8 = 1;
const ASKED_BY: u8 = 2;
const LABELLED: u8 = 3;
const SEPARATED: u8 = 4;
const STEPPED_BACK: u8 = 5;
const EMBEDDER: u8 = 6;

impl SemanticEvent {
    /// The event as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer(vec![VERSION, self.kind()]);
        match self {
            Self::Added(record) => writer.record(record),
            Self::AskedBy { key, caller } => {
                writer.text(key);
                writer.0.extend_from_slice(&caller.0.to_le_bytes());
            }
            Self::Labelled { route, label } => {
                writer.text(route);
                writer.label(label);
            }
            Self::Separated { asked, original } => {
                writer.text(asked);
                writer.text(original);
            }
            Self::SteppedBack { route, at } => {
                writer.text(route);
                put_u64(&mut writer.0, *at);
            }
            Self::Embedder { identity } => writer.text(identity),
        }
        writer.0
    }

    /// The event that was written as `bytes`; `None` if they are anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let [VERSION, kind, fields @ ..] = bytes else { return None };
        if bytes.len() > MAX_LEN {
            return None;
        }
        let fields = Bytes::copy_from_slice(fields);
        let mut reader = Reader(EntryReader { bytes: &fields, at: 0, layout: Layout::Latest });
        let event = reader.event(*kind)?;
        // A number can be written in more than one way, and a vector may be one that is never made.
        (event.encode() == bytes).then_some(event)
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Added(_) => ADDED,
            Self::AskedBy { .. } => ASKED_BY,
            Self::Labelled { .. } => LABELLED,
            Self::Separated { .. } => SEPARATED,
            Self::SteppedBack { .. } => STEPPED_BACK,
            Self::Embedder { .. } => EMBEDDER,
        }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, text: &str) {
        put_bytes(&mut self.0, text.as_bytes());
    }

    fn record(&mut self, record: &Record) {
        let Record { key, partition, vector, signature, answer, expires_at, callers } = record;
        self.text(key);
        self.0.extend_from_slice(&partition.0);
        put_bytes(&mut self.0, &vector.to_bytes());
        put_bytes(&mut self.0, &signature.to_bytes());
        self.answer(answer);
        put_u64(&mut self.0, *expires_at);
        put_u64(&mut self.0, callers.len() as u64);
        for CallerId(caller) in callers {
            self.0.extend_from_slice(&caller.to_le_bytes());
        }
    }

    fn answer(&mut self, AnswerSketch { text, facts, vector }: &AnswerSketch) {
        self.0.extend_from_slice(text);
        self.0.extend_from_slice(facts);
        // No vector is empty.
        put_bytes(&mut self.0, &vector.as_ref().map(Vector::to_bytes).unwrap_or_default());
    }

    fn label(&mut self, label: &Label) {
        let Label { at, partition, near: Nearness { similarity, disagreement }, same, source } = label;
        put_u64(&mut self.0, *at);
        self.0.extend_from_slice(&partition.0);
        self.0.extend_from_slice(&similarity.to_le_bytes());
        self.0.extend_from_slice(&disagreement.to_le_bytes());
        let source = match source {
            LabelSource::Shadow => 0,
            LabelSource::Audit => 1,
            LabelSource::Report => 2,
        };
        self.0.extend_from_slice(&[u8::from(*same), source]);
    }
}

struct Reader<'a>(EntryReader<'a>);

impl Reader<'_> {
    fn event(&mut self, kind: u8) -> Option<SemanticEvent> {
        Some(match kind {
            ADDED => SemanticEvent::Added(self.record()?),
            ASKED_BY => SemanticEvent::AskedBy { key: self.key()?, caller: self.caller()? },
            LABELLED => SemanticEvent::Labelled { route: self.text()?, label: self.label()? },
            SEPARATED => SemanticEvent::Separated { asked: self.key()?, original: self.key()? },
            STEPPED_BACK => SemanticEvent::SteppedBack { route: self.text()?, at: self.0.u64()? },
            EMBEDDER => SemanticEvent::Embedder { identity: self.text()? },
            _ => return None,
        })
    }

    fn text(&mut self) -> Option<Box<str>> {
        std::str::from_utf8(self.0.bytes()?).ok().map(Box::from)
    }

    /// A key without its namespace: it names an entry, and nothing else can be in its place.
    fn key(&mut self) -> Option<Box<str>> {
        let key = self.text()?;
        let (kind, digest) = key.split_once(':')?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_key = Kind::from_name(kind).is_some() && digest.len() == 64 && digest.bytes().all(is_digit);
        is_key.then_some(key)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let read = self.0.take(N)?;
        read.try_into().ok()
    }

    fn caller(&mut self) -> Option<CallerId> {
        self.array().map(u64::from_le_bytes).map(CallerId)
    }

    fn record(&mut self) -> Option<Record> {
        Some(Record {
            key: self.key()?,
            partition: Partition(self.array()?),
            vector: Vector::from_bytes(self.0.bytes()?)?,
            signature: Signature::from_bytes(self.0.bytes()?)?,
            answer: self.answer()?,
            expires_at: self.0.u64()?,
            callers: self.callers()?,
        })
    }

    fn answer(&mut self) -> Option<AnswerSketch> {
        let text = self.array()?;
        let facts = self.array()?;
        let vector = match self.0.bytes()? {
            [] => None,
            bytes => Some(Vector::from_bytes(bytes)?),
        };
        Some(AnswerSketch { text, facts, vector })
    }

    fn callers(&mut self) -> Option<Vec<CallerId>> {
        let count = self.0.u64().filter(|count| *count <= MAX_CALLERS)?;
        (0..count).map(|_| self.caller()).collect()
    }

    fn label(&mut self) -> Option<Label> {
        let at = self.0.u64()?;
        let partition = Partition(self.array()?);
        let near = Nearness { similarity: self.similarity()?, disagreement: self.similarity()? };
        let [same, source] = self.array()?;
        let source = match source {
            0 => LabelSource::Shadow,
            1 => LabelSource::Audit,
            2 => LabelSource::Report,
            _ => return None,
        };
        Some(Label { at, partition, near, same: same == 1, source })
    }

    fn similarity(&mut self) -> Option<f32> {
        // Rounding may take it a little over one.
        let similarity = self.array().map(f32::from_le_bytes)?;
        (-1.01..=1.01).contains(&similarity).then_some(similarity)
    }
}

#[cfg(test)]
mod tests;
