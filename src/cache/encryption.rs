//! Encryption of what goes to a store that others can read (`store.encryption_key`): values are sealed, and
//! the names of keys show nothing about the request.
//!
//! Two keys are derived from the one setting. The first seals values (XChaCha20-Poly1305, each with a random
//! nonce and with its key's name as associated data). The second keys the hash that names a key, so that
//! nobody else can compute the name from a request.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use blake3::Hash;
use bytes::Bytes;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Payload},
};

/// Begins every sealed value; the last byte is the version of the layout. The value's length follows, then
/// its parts, each with its nonce.
const MAGIC: [u8; 4] = *b"scX\x01";
const HEAD_LEN: usize = MAGIC.len() + 8;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// Where the first parts of a value end: the beginning of a value can be opened without the rest. In bytes.
pub(crate) const PART_ENDS: [usize; 2] = [256, 32 * 1024];

/// How many bytes of a sealed value hold the first `length` bytes of its value, for a `length` at which a
/// part ends.
pub(crate) const fn sealed_length(length: usize) -> usize {
    let parts = 1 + (length > PART_ENDS[0]) as usize + (length > PART_ENDS[1]) as usize;
    HEAD_LEN + parts * (NONCE_LEN + TAG_LEN) + length
}

fn part_lengths(length: usize) -> impl Iterator<Item = usize> {
    let ends = [PART_ENDS[0].min(length), PART_ENDS[1].min(length), length];
    [ends[0], ends[1] - ends[0], ends[2] - ends[1]]
        .into_iter()
        .enumerate()
        .filter(|(at, part)| *at == 0 || *part > 0)
        .map(|(_, part)| part)
}

/// Binds a part to its name, to the value's length and to its position: it opens nowhere else.
fn associated_data(name: &str, length: usize, part: usize) -> Vec<u8> {
    [&(length as u64).to_le_bytes()[..], &[part as u8], name.as_bytes()].concat()
}

// The contexts for BLAKE3's key derivation.
const FOR_VALUES: &str = "sidecache 2026-11 store values";
const FOR_NAMES: &str = "sidecache 2026-11 store names";

/// The operator's key of 256 bits. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EncryptionKey([u8; 32]);

impl EncryptionKey {
    /// Reads 64 hexadecimal digits or base64; `None` for any other text or length.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let key = match Hash::from_hex(text) {
            Ok(key) => *key.as_bytes(),
            Err(_) => BASE64_STANDARD.decode(text).ok()?.try_into().ok()?,
        };
        Some(Self(key))
    }

    /// The key in hexadecimal digits, to compare it with another.
    pub(crate) fn expose(&self) -> String {
        Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Seals and names with the current encryption key, and opens what was sealed with the former one.
pub struct Encryption {
    current: DerivedKeys,
    former: Option<DerivedKeys>,
}

struct DerivedKeys {
    values: XChaCha20Poly1305,
    names: [u8; 32],
}

impl DerivedKeys {
    fn new(key: &EncryptionKey) -> Self {
        let values = blake3::derive_key(FOR_VALUES, &key.0);
        Self { values: XChaCha20Poly1305::new(&values.into()), names: blake3::derive_key(FOR_NAMES, &key.0) }
    }
}

impl Encryption {
    pub(crate) fn new(current: &EncryptionKey, former: Option<&EncryptionKey>) -> Self {
        Self { current: DerivedKeys::new(current), former: former.map(DerivedKeys::new) }
    }

    /// The digest that replaces `digest` in a key.
    pub(crate) fn name(&self, digest: &Hash) -> Hash {
        blake3::keyed_hash(&self.current.names, digest.as_bytes())
    }

    /// The digest that replaced it under the former encryption key, if there is one.
    pub(crate) fn former_name(&self, digest: &Hash) -> Option<Hash> {
        self.former.as_ref().map(|former| blake3::keyed_hash(&former.names, digest.as_bytes()))
    }

    /// Seals `value`, to be stored under `name`; `None` if the system gives no random numbers.
    pub(crate) fn seal(&self, name: &str, value: &[u8]) -> Option<Bytes> {
        let mut sealed = Vec::with_capacity(sealed_length(value.len()));
        sealed.extend_from_slice(&MAGIC);
        sealed.extend_from_slice(&(value.len() as u64).to_le_bytes());
        let mut rest = value;
        for (part, length) in part_lengths(value.len()).enumerate() {
            let msg;
            (msg, rest) = rest.split_at(length);
            let nonce = XNonce::try_generate().ok()?;
            let payload = Payload { msg, aad: &associated_data(name, value.len(), part) };
            sealed.extend_from_slice(&nonce);
            sealed.extend_from_slice(&self.current.values.encrypt(&nonce, payload).ok()?);
        }
        Some(sealed.into())
    }

    /// The value that was sealed for `name`; `None` if `bytes` are anything else.
    pub(crate) fn open(&self, name: &str, bytes: &[u8]) -> Option<Bytes> {
        let (length, value) = self.open_parts(name, bytes)?;
        (value.len() == length && bytes.len() == sealed_length(length)).then(|| value.into())
    }

    /// The beginning of a sealed value: all parts that are whole in `bytes`, which are its first ones.
    pub(crate) fn open_beginning(&self, name: &str, bytes: &[u8]) -> Option<Bytes> {
        self.open_parts(name, bytes).map(|(_, beginning)| beginning.into())
    }

    /// The length of the whole value, and all parts that are whole in `bytes`.
    fn open_parts(&self, name: &str, bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
        let (length, mut rest) = bytes.strip_prefix(&MAGIC)?.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let mut value = Vec::with_capacity(bytes.len());
        for (part, part_length) in part_lengths(length).enumerate() {
            let Some((sealed, after)) = rest.split_at_checked(part_length.checked_add(NONCE_LEN + TAG_LEN)?)
            else {
                break;
            };
            let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
            let aad = associated_data(name, length, part);
            let open = |pair: &DerivedKeys| {
                pair.values.decrypt(&(*nonce).into(), Payload { msg: sealed, aad: &aad }).ok()
            };
            value.extend_from_slice(&open(&self.current).or_else(|| open(self.former.as_ref()?))?);
            rest = after;
        }
        Some((length, value))
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryption")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> EncryptionKey {
        EncryptionKey([byte; 32])
    }

    #[test]
    fn keys_are_digits_or_base64() {
        let digits = "0123456789abcdef0123456789abcdef0123456789ABCDEF0123456789abcdef";
        let same = "ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8=";
        let key = EncryptionKey::parse(digits).expect("a key");
        assert_eq!(EncryptionKey::parse(same).as_ref(), Some(&key));
        assert_eq!(key.expose(), digits.to_ascii_lowercase());
        assert_eq!(format!("{key:?}"), "***");
        for bad in ["", "secret", &digits[1..], &same[4..], "ASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4mrze8"] {
            assert_eq!(EncryptionKey::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_same_value_under_the_same_name_opens() {
        let encryption = Encryption::new(&key(1), None);
        let sealed = encryption.seal("ns:query:00", b"an answer").expect("sealed");
        assert!(!sealed.windows(2).any(|window| window == b"an"));
        assert_eq!(encryption.open("ns:query:00", &sealed).as_deref(), Some(&b"an answer"[..]));
        assert_eq!(encryption.open("ns:query:01", &sealed), None);
        assert_ne!(
            encryption.seal("ns:query:00", b"an answer"),
            Some(sealed.clone()),
            "each has its own nonce"
        );
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert_eq!(encryption.open("ns:query:00", &changed), None, "byte {at}");
            assert_eq!(encryption.open("ns:query:00", &sealed[..at]), None, "cut at {at}");
        }
        assert_eq!(Encryption::new(&key(2), None).open("ns:query:00", &sealed), None);
        assert_eq!(
            encryption.open("ns:query:00", b"an answer"),
            None,
            "nothing is taken that was not sealed"
        );
    }

    #[test]
    fn a_beginning_opens_without_the_rest() {
        let encryption = Encryption::new(&key(1), None);
        for length in [0, 1, 255, 256, 257, 32 * 1024, 32 * 1024 + 1, 100_000] {
            let value: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let sealed = encryption.seal("n", &value).expect("sealed");
            assert_eq!(sealed.len(), sealed_length(length));
            assert_eq!(encryption.open("n", &sealed).as_deref(), Some(&value[..]), "{length}");
            for beginning in PART_ENDS.map(|end| end.min(length)) {
                let part = &sealed[..sealed_length(beginning)];
                assert_eq!(
                    encryption.open_beginning("n", part).as_deref(),
                    Some(&value[..beginning]),
                    "{length}"
                );
                assert_eq!(encryption.open("n", part).is_some(), beginning == length);
                assert_eq!(encryption.open_beginning("m", part), None);
            }
            let longer = [&sealed[..], b"x"].concat();
            assert_eq!(encryption.open("n", &longer), None);
        }
    }

    #[test]
    fn the_former_key_opens_and_does_not_seal() {
        let old = Encryption::new(&key(1), None);
        let new = Encryption::new(&key(2), Some(&key(1)));
        let sealed = old.seal("n", b"v").expect("sealed");
        assert_eq!(new.open("n", &sealed).as_deref(), Some(&b"v"[..]));
        assert_eq!(old.open("n", &new.seal("n", b"v").expect("sealed")), None);
        let digest = blake3::hash(b"a question");
        assert_eq!(new.former_name(&digest), Some(old.name(&digest)));
        assert_ne!(new.name(&digest), old.name(&digest));
        assert!(old.name(&digest) != digest && old.former_name(&digest).is_none());
    }
}
