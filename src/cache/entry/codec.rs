//! An entry as bytes: a head, then the body.
//!
//! The in-process store has each entry so, in one piece of memory. An entry leaves the process in an
//! [envelope](crate::cache::entry::envelope) around the same bytes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    cache::{
        entry::{Entry, request_label::RequestLabel},
        invalidation::{Offset, TargetId, Version},
    },
    dialect::{Slot, SlotFill, usage::Usage},
    time::millis,
};

/// Which layout a head has. What this process writes has the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Without the request's label; the tags come later.
    Former,
    Latest,
}

/// How many headers get room before they are read. The stored count is not trusted with an allocation.
const USUAL_HEADERS: usize = 8;

/// An entry in one piece of memory.
#[derive(Clone, Debug)]
pub(crate) struct PackedEntry(Arc<[u8]>);

impl PackedEntry {
    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The entry, whose body and headers share this memory; `None` if the bytes are not a packed entry.
    pub(crate) fn unpack(&self) -> Option<Entry> {
        let bytes = self.bytes();
        let mut reader = EntryReader { bytes: &bytes, at: 0, layout: Layout::Latest };
        let entry = reader.head()?;
        Some(Entry { body: reader.rest(), ..entry })
    }

    pub(crate) fn summary(&self) -> Option<Summary> {
        EntryReader { bytes: &self.bytes(), at: 0, layout: Layout::Latest }.summary()
    }

    pub(crate) fn description(&self) -> Option<Description> {
        EntryReader { bytes: &self.bytes(), at: 0, layout: Layout::Latest }.description()
    }

    /// With an owner of their own, so that each unpacked entry counts its references at a place of its own.
    fn bytes(&self) -> Bytes {
        Bytes::from_owner(Arc::clone(&self.0))
    }
}

/// The first fields of a written entry: enough to count or remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    status: StatusCode,
    /// As [`Entry::began`].
    pub(crate) began: Version,
    /// As [`Entry::target_ids`].
    pub(crate) target_ids: Vec<TargetId>,
    /// As [`Entry::stored_at`].
    pub(crate) stored_at: u64,
    /// As [`Entry::ttl`].
    pub(crate) ttl: Duration,
}

/// What follows them: what operators see of an entry besides its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// As [`Entry::request`].
    pub(crate) request: RequestLabel,
    /// As [`Entry::tags`].
    pub(crate) tags: Vec<String>,
}

impl Entry {
    /// Copies the entry into one piece of memory, so that no body or header keeps the buffer that it was read
    /// into.
    pub(crate) fn pack(&self) -> PackedEntry {
        let head = self.head();
        // Exactly as long as it must be: it stays for long.
        let mut out = Vec::with_capacity(head.len() + self.body.len());
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.body);
        PackedEntry(out.into())
    }

    /// Everything before the body.
    pub(crate) fn head(&self) -> Vec<u8> {
        let out = &mut Vec::with_capacity(512);
        put_u64(out, u64::from(self.status.as_u16()));
        for number in [self.began.epoch, self.began.offset.major, self.began.offset.minor] {
            put_u64(out, number);
        }
        let target_ids: Vec<u8> = self.target_ids.iter().flat_map(|target_id| target_id.to_bytes()).collect();
        put_bytes(out, &target_ids);
        put_u64(out, self.stored_at);
        put_u64(out, millis(self.ttl));
        put_bytes(out, self.request.as_bytes());
        put_u64(out, self.tags.len() as u64);
        for tag in &self.tags {
            put_bytes(out, tag.as_bytes());
        }
        for duration in [self.stale_while_revalidate, self.stale_if_error] {
            put_u64(out, millis(duration));
        }
        put_u64(out, self.form);
        put_u64(out, u64::from(self.with_credentials));
        put_u64(out, millis(self.took));
        put_bytes(out, self.model.as_deref().unwrap_or_default().as_bytes());
        let usage = self.usage.unwrap_or_default();
        for tokens in [usage.prompt, usage.cached, usage.cache_write, usage.completion, usage.total] {
            // A count is stored one higher; zero is an unknown one.
            put_u64(out, tokens.map_or(0, |tokens| tokens.saturating_add(1)));
        }
        let pace: Vec<u8> = self.pace.iter().flat_map(|gap| gap.to_le_bytes()).collect();
        put_bytes(out, &pace);
        put_u64(out, self.slots.len() as u64);
        for Slot { at, fill } in &self.slots {
            put_u64(out, *at as u64);
            // A name has at least one letter.
            let (name, number) = match fill {
                SlotFill::Own(name) => (name.as_str(), 0),
                SlotFill::New(number) => ("", *number),
            };
            put_bytes(out, name.as_bytes());
            put_u64(out, number);
        }
        put_u64(out, self.headers.len() as u64);
        for (name, value) in &self.headers {
            put_bytes(out, name.as_str().as_bytes());
            put_bytes(out, value.as_bytes());
        }
        std::mem::take(out)
    }
}

/// Writes a number in seven bits a byte, the lowest first (LEB128): most are small.
pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what [`Entry::head`], [`put_u64`] and [`put_bytes`] wrote, from an offset on.
pub(crate) struct EntryReader<'a> {
    pub(crate) bytes: &'a Bytes,
    pub(crate) at: usize,
    pub(crate) layout: Layout,
}

impl EntryReader<'_> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        // Most numbers take one byte.
        if let Some(byte) = self.bytes.get(self.at).filter(|byte| **byte < 0x80) {
            self.at += 1;
            return Some(u64::from(*byte));
        }
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn bytes(&mut self) -> Option<&[u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        self.take(len)
    }

    /// Like [`EntryReader::bytes`], without a copy.
    fn shared(&mut self) -> Option<Bytes> {
        let len = self.bytes()?.len();
        Some(self.bytes.slice(self.at - len..self.at))
    }

    pub(crate) fn summary(&mut self) -> Option<Summary> {
        let status = StatusCode::from_u16(u16::try_from(self.u64()?).ok()?).ok()?;
        let [epoch, major, minor] = [self.u64()?, self.u64()?, self.u64()?];
        let target_ids = self.bytes()?;
        let (target_ids, rest) = target_ids.as_chunks::<16>();
        let target_ids =
            rest.is_empty().then(|| target_ids.iter().copied().map(TargetId::from_bytes).collect())?;
        let stored_at = self.u64()?;
        let ttl = Duration::from_millis(self.u64()?);
        let began = Version { epoch, offset: Offset { major, minor } };
        Some(Summary { status, began, target_ids, stored_at, ttl })
    }

    /// `None` for a former layout, which has no description at its beginning.
    pub(crate) fn description(&mut self) -> Option<Description> {
        self.summary().filter(|_| self.layout == Layout::Latest)?;
        let request = RequestLabel::from_bytes(self.shared()?).copied();
        Some(Description { request, tags: self.tags()? })
    }

    /// The entry without its body.
    pub(crate) fn head(&mut self) -> Option<Entry> {
        let Summary { status, began, target_ids, stored_at, ttl } = self.summary()?;
        let is_latest = self.layout == Layout::Latest;
        let request =
            if is_latest { RequestLabel::from_bytes(self.shared()?) } else { RequestLabel::default() };
        let mut tags = if is_latest { self.tags()? } else { Vec::new() };
        let [stale_while_revalidate, stale_if_error] = [self.u64()?, self.u64()?].map(Duration::from_millis);
        let form = self.u64()?;
        let with_credentials = self.u64()? != 0;
        let took = Duration::from_millis(self.u64()?);
        let model = String::from_utf8(self.bytes()?.to_vec()).ok()?;
        let usage = self.usage()?;
        let pace = self.bytes()?;
        let (gaps, rest) = pace.as_chunks::<4>();
        let pace = rest.is_empty().then(|| gaps.iter().map(|gap| u32::from_le_bytes(*gap)).collect())?;
        if !is_latest {
            tags = self.tags()?;
        }
        let slots = self.slots()?;
        let count = self.u64()?;
        let mut headers = HeaderMap::with_capacity(USUAL_HEADERS);
        for _ in 0..count {
            let name = HeaderName::from_bytes(self.bytes()?).ok()?;
            headers.try_append(name, HeaderValue::from_maybe_shared(self.shared()?).ok()?).ok()?;
        }
        Some(Entry {
            stored_at,
            ttl,
            stale_while_revalidate,
            stale_if_error,
            began,
            target_ids,
            request,
            tags,
            form,
            with_credentials,
            took,
            model: (!model.is_empty()).then_some(model),
            usage: (usage != Usage::default()).then_some(usage),
            pace,
            slots,
            ..Entry::new(status, headers, Bytes::new())
        })
    }

    fn tags(&mut self) -> Option<Vec<String>> {
        let count = self.u64()?;
        let mut tags = Vec::new();
        for _ in 0..count {
            tags.push(String::from_utf8(self.bytes()?.to_vec()).ok()?);
        }
        Some(tags)
    }

    fn usage(&mut self) -> Option<Usage> {
        let mut count = || Some(self.u64()?.checked_sub(1));
        Some(Usage {
            prompt: count()?,
            cached: count()?,
            cache_write: count()?,
            completion: count()?,
            total: count()?,
        })
    }

    fn slots(&mut self) -> Option<Vec<Slot>> {
        let count = self.u64()?;
        let mut slots = Vec::new();
        for _ in 0..count {
            let at = usize::try_from(self.u64()?).ok()?;
            let name = String::from_utf8(self.bytes()?.to_vec()).ok()?;
            let number = self.u64()?;
            let fill = if name.is_empty() { SlotFill::New(number) } else { SlotFill::Own(name) };
            slots.push(Slot { at, fill });
        }
        Some(slots)
    }

    /// All bytes that were not read yet.
    pub(crate) fn rest(&self) -> Bytes {
        self.bytes.slice(self.at..)
    }
}
