//! The layout of `semantic.state`: what one process leaves to the next.
//!
//! A file is a head, frames and a checksum over everything. With an encryption key each frame is sealed under the file's
//! random number and the frame's own, and the last one counts them: none can be changed, moved, left out or taken from
//! another file. A file is read as a whole or not at all.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::{event::SemanticEvent, index::Record};
use crate::{
    cache::{
        encryption::Encryption,
        entry::{
            Entry,
            codec::{EntryReader, Layout, put_bytes, put_u64},
        },
    },
    json::canonical::write_part,
};

/// Begins every file; the last byte is the version of the layout.
const MAGIC: [u8; 4] = *b"scS\x01";

const CHECKSUM_LEN: usize = 16;

/// The kinds of frames.
const HEAD: u8 = 1;
const EVENT: u8 = 2;
const STORED: u8 = 3;
const END: u8 = 4;

/// Entries come back if the file was written at most so long ago: a restart takes less. In the meantime another process may
/// have run without the file, and what was invalidated there is not known here. In milliseconds.
const MAX_GAP: u64 = 15 * 60 * 1000;

/// What the keys and the vectors in a file belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateHead {
    /// The digest of namespace and epoch.
    pub(crate) scope: [u8; 16],
    /// What tells the embedder from another one.
    pub(crate) embedder: String,
    /// In milliseconds since the Unix epoch.
    pub(crate) written_at: u64,
}

/// What a file says.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) head: StateHead,
    /// Labels, separated pairs and steps back.
    pub(crate) events: Vec<SemanticEvent>,
    pub(crate) stored: Vec<StoredRecord>,
}

/// A record, and the envelope of its entry under its key.
#[derive(Debug)]
pub(crate) struct StoredRecord {
    pub(crate) record: Record,
    pub(crate) envelope: Bytes,
}

/// Why a file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StateError {
    #[error("it is no state of this version")]
    Foreign,
    #[error("it is damaged")]
    Damaged,
    #[error("it is sealed with another key, or not sealed at all")]
    OtherKey,
}

/// The scope of keys in `namespace` and `epoch`.
pub(crate) fn scope(namespace: &str, epoch: Option<&str>) -> [u8; 16] {
    let mut parts = Vec::with_capacity(64);
    write_part(namespace.as_bytes(), &mut parts);
    if let Some(epoch) = epoch {
        write_part(epoch.as_bytes(), &mut parts);
    }
    let mut scope = [0; 16];
    scope.copy_from_slice(&blake3::hash(&parts).as_bytes()[..16]);
    scope
}

/// How long an entry may still be used that comes from a file which was written at `written_at`; `None` if it has expired, or
/// if the clock does not tell. Times are in milliseconds since the Unix epoch.
pub(crate) fn rest_of_life(entry: &Entry, written_at: u64, now: u64) -> Option<Duration> {
    let is_set_back = now < written_at || written_at < entry.stored_at;
    if is_set_back || now - written_at > MAX_GAP {
        return None;
    }
    let rest = entry.life().saturating_sub(entry.age(now));
    (!rest.is_zero()).then_some(rest)
}

/// The name that a frame is sealed under.
fn name(id: [u8; 16], frame: u64) -> String {
    format!("semantic.state:{:032x}:{frame}", u128::from_le_bytes(id))
}

/// Writes a file, frame by frame.
pub(crate) struct StateWriter<'a, W> {
    out: W,
    encryption: Option<&'a Encryption>,
    /// Tells this file from others.
    id: [u8; 16],
    checksum: Xxh3Default,
    frames: u64,
    written: u64,
}

impl<'a, W: Write> StateWriter<'a, W> {
    /// Begins a file; `id` is random.
    ///
    /// # Errors
    /// Those of `out`; if the system gives no random numbers.
    pub(crate) fn begin(
        out: W,
        id: [u8; 16],
        encryption: Option<&'a Encryption>,
        head: &StateHead,
    ) -> io::Result<Self> {
        let mut writer = Self { out, encryption, id, checksum: Xxh3Default::new(), frames: 0, written: 0 };
        writer.write(&MAGIC)?;
        writer.write(&[u8::from(encryption.is_some())])?;
        writer.write(&id)?;
        let mut frame = vec![HEAD];
        frame.extend_from_slice(&head.scope);
        put_bytes(&mut frame, head.embedder.as_bytes());
        put_u64(&mut frame, head.written_at);
        writer.frame(&frame)?;
        Ok(writer)
    }

    /// # Errors
    /// As [`Self::begin`].
    pub(crate) fn event(&mut self, event: &SemanticEvent) -> io::Result<()> {
        let mut frame = vec![EVENT];
        frame.extend_from_slice(&event.encode());
        self.frame(&frame)
    }

    /// # Errors
    /// As [`Self::begin`].
    pub(crate) fn stored(&mut self, record: Record, envelope: &[u8]) -> io::Result<()> {
        let event = SemanticEvent::Added(record).encode();
        let mut frame = Vec::with_capacity(8 + event.len() + envelope.len());
        frame.push(STORED);
        put_bytes(&mut frame, &event);
        frame.extend_from_slice(envelope);
        self.frame(&frame)
    }

    /// How many bytes were written.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Ends the file.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let mut frame = vec![END];
        put_u64(&mut frame, self.frames);
        self.frame(&frame)?;
        let checksum = self.checksum.digest128().to_le_bytes();
        self.out.write_all(&checksum)?;
        Ok(self.out)
    }

    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let sealed = match self.encryption {
            Some(encryption) => {
                let sealed = encryption.seal(&name(self.id, self.frames), frame);
                Some(sealed.ok_or_else(|| io::Error::other("the system gives no random numbers"))?)
            }
            None => None,
        };
        let frame = sealed.as_deref().unwrap_or(frame);
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        self.write(&length.to_le_bytes())?;
        self.write(frame)?;
        self.frames += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

impl State {
    /// Reads a whole file.
    ///
    /// # Errors
    /// If it is not a file of this version and key, or not as it was written.
    pub(crate) fn read(file: &Bytes, encryption: Option<&Encryption>) -> Result<Self, StateError> {
        let begin = file.strip_prefix(&MAGIC).ok_or(StateError::Foreign)?;
        let content = file.len().checked_sub(CHECKSUM_LEN).filter(|end| *end >= MAGIC.len());
        let (content, checksum) = file.split_at(content.ok_or(StateError::Damaged)?);
        if xxh3_128(content).to_le_bytes() != checksum {
            return Err(StateError::Damaged);
        }
        let (sealed, rest) = begin.split_first().ok_or(StateError::Damaged)?;
        let (id, _) = rest.split_first_chunk::<16>().ok_or(StateError::Damaged)?;
        if (*sealed == 1) != encryption.is_some() {
            return Err(StateError::OtherKey);
        }
        let at = MAGIC.len() + 1 + id.len();
        let frames = Frames { file: file.slice(..content.len()), at, id: *id, encryption, number: 0 };
        frames.read()
    }
}

/// The frames of a file that were not read yet.
struct Frames<'a> {
    /// Without its checksum.
    file: Bytes,
    at: usize,
    id: [u8; 16],
    encryption: Option<&'a Encryption>,
    /// Of the next frame.
    number: u64,
}

impl Frames<'_> {
    fn read(mut self) -> Result<State, StateError> {
        let first = self.next()?;
        let head = head(&first).ok_or(StateError::Damaged)?;
        let mut state = State { head, events: Vec::new(), stored: Vec::new() };
        loop {
            let before = self.number;
            let frame = self.next()?;
            match frame.first() {
                Some(&EVENT) => state.events.push(event(&frame).ok_or(StateError::Damaged)?),
                Some(&STORED) => state.stored.push(stored(&frame).ok_or(StateError::Damaged)?),
                Some(&END) if self.at == self.file.len() && end(&frame) == Some(before) => return Ok(state),
                _ => return Err(StateError::Damaged),
            }
        }
    }

    fn next(&mut self) -> Result<Bytes, StateError> {
        let length = self.file.get(self.at..).and_then(<[u8]>::first_chunk::<4>);
        let length = u32::from_le_bytes(*length.ok_or(StateError::Damaged)?) as usize;
        let begin = self.at + 4;
        let end = begin.checked_add(length).filter(|end| *end <= self.file.len());
        let frame = self.file.slice(begin..end.ok_or(StateError::Damaged)?);
        let number = self.number;
        self.at = begin + length;
        self.number += 1;
        match self.encryption {
            None => Ok(frame),
            Some(encryption) => encryption.open(&name(self.id, number), &frame).ok_or(StateError::OtherKey),
        }
    }
}

/// A reader of what follows the first byte.
fn fields(frame: &Bytes) -> EntryReader<'_> {
    EntryReader { bytes: frame, at: 1, layout: Layout::Latest }
}

fn head(frame: &Bytes) -> Option<StateHead> {
    let mut fields = (frame.first() == Some(&HEAD)).then(|| fields(frame))?;
    let scope = fields.take(16)?.try_into().ok()?;
    let embedder = std::str::from_utf8(fields.bytes()?).ok()?.to_owned();
    let written_at = fields.u64()?;
    fields.rest().is_empty().then_some(StateHead { scope, embedder, written_at })
}

fn event(frame: &Bytes) -> Option<SemanticEvent> {
    let event = SemanticEvent::decode(frame.get(1..)?)?;
    // A record comes with its entry.
    (!matches!(event, SemanticEvent::Added(_))).then_some(event)
}

fn stored(frame: &Bytes) -> Option<StoredRecord> {
    let mut fields = fields(frame);
    let SemanticEvent::Added(record) = SemanticEvent::decode(fields.bytes()?)? else { return None };
    Some(StoredRecord { record, envelope: fields.rest() })
}

fn end(frame: &Bytes) -> Option<u64> {
    let mut fields = fields(frame);
    let frames = fields.u64()?;
    fields.rest().is_empty().then_some(frames)
}

#[cfg(test)]
mod tests;
