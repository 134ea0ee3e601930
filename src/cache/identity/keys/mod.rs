//! The keys that tokens are signed with: a JSON Web Key Set (RFC 7517, section 5), and whether a token holds by it.
//!
//! The signature, the issuer and the audience are judged by the crate `jsonwebtoken`, whose own crypto is left out: ring does
//! that, as for TLS. The times are judged at each request, by the caller of this module, since what is found here is
//! remembered. Each key fixes the algorithms that it may be used with, and none of them is symmetric: a public key is never
//! taken for a secret.

mod ring_provider;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::de::IgnoredAny;
use serde_json::Value;

/// A larger set is refused, in bytes.
pub(crate) const MAX_SET: usize = 1024 * 1024;

/// Keys beyond these are left out.
const MAX_KEYS: usize = 100;

/// For a token that names no key, no more keys than these are tried.
const MAX_TRIED: usize = 8;

/// The shortest RSA modulus that counts, in bytes (RFC 7518, section 3.3).
const MIN_MODULUS: usize = 256;

/// What tokens must say to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Who may have issued them; at least one.
    pub(crate) issuers: Vec<String>,
    /// One of those that they must be for; if there are none, they must not name any.
    pub(crate) audiences: Vec<String>,
    /// How far clocks may be apart, in seconds.
    pub(crate) leeway: u64,
}

/// Whether a token holds, but for its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Fails,
    /// It names a key that is not in the set.
    UnknownKey,
}

/// Keys.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    number: u64,
    until: u64,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// What it may be used with.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a set, which is the `number`th one and holds until `until`, in Unix seconds. Keys that are of no use here are
    /// left out: secrets, those for encryption, and those of unknown kinds.
    ///
    /// # Errors
    /// If the text is no set, or has no key of use.
    pub(crate) fn parse(text: &[u8], number: u64, until: u64) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(text).map_err(|error| format!("is no JSON ({error})"))?;
        let Some(all) = set.get("keys").and_then(Value::as_array) else {
            return Err("is no JWKS: it has no list \"keys\"".to_owned());
        };
        let keys: Vec<_> = all.iter().filter_map(Key::read).take(MAX_KEYS).collect();
        if keys.is_empty() {
            let of = all.len();
            return Err(format!(
                "has no key of use ({of} in all): it needs RSA of 2048 bits or more, P-256, P-384 or Ed25519, for signatures"
            ));
        }
        ring_provider::install();
        Ok(Self { keys, number, until })
    }

    /// How many keys it has.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Which set it is. Two sets never have the same number.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether it still counts.
    pub(crate) const fn hold_at(&self, now: u64) -> bool {
        now < self.until
    }

    /// Whether one of the keys has signed `token`, which is for an audience and of an issuer of `rules`.
    pub(crate) fn verify(&self, token: &str, rules: &Rules) -> Verdict {
        let Ok(header) = decode_header(token) else { return Verdict::Fails };
        let named: Vec<_> = match &header.kid {
            Some(id) => self.keys.iter().filter(|key| key.id.as_ref() == Some(id)).collect(),
            None => self.keys.iter().collect(),
        };
        if named.is_empty() {
            return Verdict::UnknownKey;
        }
        let fitting: Vec<_> = named.into_iter().filter(|key| key.algorithms.contains(&header.alg)).collect();
        if fitting.len() > MAX_TRIED {
            return Verdict::Fails;
        }
        let validation = validation(header.alg, rules);
        let holds = |key: &Key| decode::<IgnoredAny>(token, &key.key, &validation).is_ok();
        if fitting.into_iter().any(holds) { Verdict::Holds } else { Verdict::Fails }
    }
}

fn validation(algorithm: Algorithm, rules: &Rules) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_issuer(&rules.issuers);
    if rules.audiences.is_empty() {
        // A token that names an audience is refused then.
        validation.set_required_spec_claims(&["iss"]);
    } else {
        validation.set_audience(&rules.audiences);
        validation.set_required_spec_claims(&["iss", "aud"]);
    }
    validation
}

impl Key {
    /// `None` if it is of no use here.
    fn read(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let is_for_signatures = key.get("use").is_none_or(|purpose| purpose == "sig");
        let may_verify = match key.get("key_ops") {
            None => true,
            Some(operations) => operations.as_array()?.iter().any(|operation| operation == "verify"),
        };
        if !is_for_signatures || !may_verify {
            return None;
        }
        let (fitting, decoding) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (&RSA[..], rsa(text("n")?, text("e")?)?),
            ("EC", Some("P-256")) => (&[Algorithm::ES256][..], elliptic(text("x")?, text("y")?, 32)?),
            ("EC", Some("P-384")) => (&[Algorithm::ES384][..], elliptic(text("x")?, text("y")?, 48)?),
            ("OKP", Some("Ed25519")) => {
                (&[Algorithm::EdDSA][..], DecodingKey::from_ed_components(text("x")?).ok()?)
            }
            _ => return None,
        };
        let algorithms: Vec<_> = match text("alg") {
            None => fitting.to_vec(),
            Some(only) => fitting.iter().copied().filter(|own| own_name(*own) == only).collect(),
        };
        let id = text("kid").map(str::to_owned);
        (!algorithms.is_empty()).then_some(Self { id, algorithms, key: decoding })
    }
}

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The name of an algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1).
fn own_name(algorithm: Algorithm) -> String {
    format!("{algorithm:?}")
}

fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    // Some write a zero in front, which ring refuses.
    let number = |text: &str| {
        let bytes = decode_base64(text)?;
        let start = bytes.iter().position(|byte| *byte != 0)?;
        Some(bytes[start..].to_vec())
    };
    let (modulus, exponent) = (number(modulus)?, number(exponent)?);
    (modulus.len() >= MIN_MODULUS).then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// A point of a curve whose coordinates have `len` bytes (RFC 7518, section 6.2.1.2).
fn elliptic(x: &str, y: &str, len: usize) -> Option<DecodingKey> {
    let is_coordinate = |text: &str| decode_base64(text).is_some_and(|bytes| bytes.len() == len);
    if is_coordinate(x) && is_coordinate(y) { DecodingKey::from_ec_components(x, y).ok() } else { None }
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
