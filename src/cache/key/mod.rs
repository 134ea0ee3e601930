//! The key of a request: two requests with the same key share an answer.
//!
//! `docs/CACHING.md` says what goes into a key, what does not, and why.

mod digest;
mod input;
pub(crate) mod namespace;

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Serialize, Serializer};

pub use self::digest::{Body, BodyDigest, Request, digest, is_keyed};
pub(crate) use self::digest::{
    each_keyed_header, parameter_counts, query_credentials, tells_apart, write_normal_form,
};
pub(crate) use self::digest::{
    head_digest, headers_in_key, identified, target_in_key, whole_digest, with_credentials,
};
pub(crate) use self::input::InputDigests;
use crate::{
    cache::{encryption::Encryption, key::namespace::Namespace, route::kind::Kind},
    json::canonical::write_part,
};

/// The length of a key with a namespace of usual length, in bytes.
const NAME_LEN: usize = 96;

/// `NAMESPACE:KIND:HEX`
#[derive(Clone, Debug)]
pub struct Key {
    namespace: Namespace,
    kind: Kind,
    digest: blake3::Hash,
    /// The digest under the former encryption key.
    former: Option<blake3::Hash>,
}

impl Key {
    /// The key of an entry of this kind; `digest` is [`digest()`] of its request.
    pub fn new(namespace: Namespace, kind: Kind, digest: blake3::Hash) -> Self {
        Self { namespace, kind, digest, former: None }
    }

    /// The same key in an epoch. This is a step of its own: without an epoch, keys are as they were before there
    /// were any, and what is remembered of a head or a body knows none.
    pub(crate) fn in_epoch(self, epoch: &str) -> Self {
        let mut parts = Vec::with_capacity(64);
        write_part(b"epoch", &mut parts);
        write_part(epoch.as_bytes(), &mut parts);
        self.derived(|digest| blake3::keyed_hash(digest.as_bytes(), &parts))
    }

    /// The same key with a digest that only the encryption key's owner can compute.
    pub(crate) fn with_hidden_name(self, encryption: &Encryption) -> Self {
        Self { digest: encryption.name(&self.digest), former: encryption.former_name(&self.digest), ..self }
    }

    /// The key under the former encryption key, if there is one.
    pub(crate) fn former(&self) -> Option<Self> {
        Some(Self { digest: self.former?, former: None, ..self.clone() })
    }

    /// The key of the same kind with a digest that `derive` makes of this one's.
    pub(crate) fn derived(&self, derive: impl Fn(&blake3::Hash) -> blake3::Hash) -> Self {
        Self { digest: derive(&self.digest), former: self.former.as_ref().map(derive), ..self.clone() }
    }

    /// The key of the answer in the form with the id `form`, if that is stored beside the answer in another
    /// form. Both keys have the same first half, so what invalidates this key, or names it by its beginning,
    /// concerns both.
    #[must_use]
    pub(crate) fn beside(&self, form: u64) -> Self {
        self.derived(|digest| {
            let mut beside = *digest.as_bytes();
            let own = blake3::keyed_hash(digest.as_bytes(), &form.to_le_bytes());
            let half = beside.len() / 2;
            beside[half..].copy_from_slice(&own.as_bytes()[half..]);
            blake3::Hash::from_bytes(beside)
        })
    }

    /// One key for several entries; for one entry, its own.
    pub(crate) fn joint(keys: &[Self]) -> Option<Self> {
        let (first, rest) = keys.split_first()?;
        if rest.is_empty() {
            return Some(first.clone());
        }
        let mut digests = b"together".to_vec();
        keys.iter().for_each(|key| digests.extend_from_slice(key.digest()));
        Some(Self { digest: blake3::hash(&digests), former: None, ..first.clone() })
    }

    /// Reads a key of `namespace`, written with or without it; `None` if `text` is not a key.
    pub(crate) fn parse(namespace: Namespace, text: &str) -> Option<Self> {
        let local = |text: &str| {
            let (kind, digest) = text.split_once(':')?;
            Some(Self::new(namespace, Kind::from_name(kind)?, blake3::Hash::from_hex(digest).ok()?))
        };
        let whole = text.strip_prefix(&*namespace).and_then(|rest| rest.strip_prefix(':'));
        whole.and_then(local).or_else(|| local(text))
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The key without its namespace.
    pub fn local(&self) -> String {
        format!("{}:{}", self.kind, self.digest.to_hex())
    }

    /// The key of the variant that `selector` selects.
    pub(crate) fn variant(&self, selector: &[u8]) -> Self {
        self.derived(|digest| {
            let mut parts = Vec::with_capacity(64 + selector.len());
            write_part(digest.as_bytes(), &mut parts);
            write_part(selector, &mut parts);
            blake3::hash(&parts)
        })
    }

    /// The whole key as text.
    pub fn name(&self) -> String {
        let mut name = String::with_capacity(NAME_LEN);
        // Writing to a String cannot fail.
        let _ = self.write(&mut name);
        name
    }

    /// Writes the key. Every response has it, so this avoids the formatting machinery.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let digest = self.digest.to_hex();
        let mut parts = [&*self.namespace, ":", self.kind.as_str(), ":", &digest].into_iter();
        parts.try_for_each(|part| out.write_str(part))
    }

    /// The key in this process's tables.
    pub(crate) const fn id(&self) -> KeyId {
        KeyId(*self.digest())
    }

    /// The last part of the key.
    pub const fn digest(&self) -> &[u8; 32] {
        self.digest.as_bytes()
    }
}

/// A key's digest, for tables in this process, which hash it with its first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyId([u8; 32]);

impl From<[u8; 32]> for KeyId {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl Hash for KeyId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, ..] = self.0.as_chunks::<8>().0 else { return };
        state.write_u64(u64::from_le_bytes(*first));
    }
}

/// The digest under the former encryption key does not count.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (&self.namespace, self.kind, self.digest) == (&other.namespace, other.kind, other.digest)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.namespace, self.kind, self.digest).hash(state);
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::encryption::EncryptionKey;

    #[test]
    fn several_keys_have_one_joint_key() {
        let key = |name: &[u8]| Key::new("ns".into(), Kind::Embedding, blake3::hash(name));
        let a = key(b"a");
        let b = key(b"b");
        let together = |keys: &[&Key]| Key::joint(&keys.iter().copied().cloned().collect::<Vec<_>>());
        assert_eq!(together(&[]), None);
        assert_eq!(together(&[&a]), Some(a.clone()));
        assert_ne!(together(&[&a, &b]), together(&[&b, &a]));
        assert_ne!(together(&[&a, &b]), Some(a));
    }

    #[test]
    fn what_is_made_of_a_key_was_made_of_its_former_one_formerly() {
        let [new, old] = ["1", "2"].map(|digit| EncryptionKey::parse(&digit.repeat(64)).expect("a key"));
        let key = Key::new("ns".into(), Kind::Document, blake3::hash(b"a"));
        let now = key.clone().with_hidden_name(&Encryption::new(&new, Some(&old)));
        let formerly = key.with_hidden_name(&Encryption::new(&old, None));
        assert_eq!(now.former(), Some(formerly.clone()));
        assert_eq!(now.variant(b"x").former(), Some(formerly.variant(b"x")));
        assert_eq!(now.beside(1).former(), Some(formerly.beside(1)));
    }

    #[test]
    fn forms_that_are_kept_beside_each_other_have_keys_that_begin_alike() {
        let key = Key::new("ns".into(), Kind::Query, blake3::hash(b"a"));
        let other = Key::new("ns".into(), Kind::Query, blake3::hash(b"b"));
        let keys = [key.clone(), key.beside(0), key.beside(1), other.beside(0)];
        for (place, one) in keys.iter().enumerate() {
            assert!(keys[place + 1..].iter().all(|other| one != other));
        }
        assert_eq!(key.local()[.."query:".len() + 32], key.beside(1).local()[.."query:".len() + 32]);
    }

    #[test]
    fn a_key_is_written_as_the_contract_says() {
        let key = Key::new("ns".into(), Kind::Query, blake3::hash(b"a question"));
        let text = key.name();
        let hex = text.strip_prefix("ns:query:").expect("namespace and kind");
        assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
    }
}
