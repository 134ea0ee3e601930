//! The parts of a scope that say who a caller is: claims of a token, an access key, headers.

use std::{fmt, str::FromStr};

use http::{HeaderName, header};

use super::aws;
use crate::json::{Json, canonical::write_part, pointer::Pointer};

/// A `scope` that names claims or an access key: whose entries a request may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityScope {
    /// At least one of these is no header.
    parts: Vec<ScopePart>,
    /// The hash of their texts.
    digest: blake3::Hash,
}

/// One part of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ScopePart {
    /// `jwt:CLAIM`: a claim of the bearer token.
    Claim(Claim),
    /// `aws:access-key`: the access key of AWS Signature Version 4.
    AccessKey,
    /// `header:NAME`, or the bare name: the lines of a header.
    Header(HeaderName),
}

/// Where a claim is: a member of the token's payload, or deeper inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The member with just this name, whatever signs it has: `https://example.com/tenant` is one.
    Member(String),
    /// A way through objects (RFC 6901), as in `/realm_access/tenant`.
    Pointer(Pointer),
}

impl IdentityScope {
    /// `None` if all parts are headers.
    pub(crate) fn new(parts: Vec<ScopePart>) -> Option<Self> {
        let names_identity = |part: &ScopePart| !matches!(part, ScopePart::Header(_));
        let mut texts = Vec::new();
        for part in &parts {
            write_part(part.to_string().as_bytes(), &mut texts);
        }
        parts.iter().any(names_identity).then(|| Self { parts, digest: blake3::hash(&texts) })
    }

    /// The hash of its parts.
    pub(crate) const fn digest(&self) -> &blake3::Hash {
        &self.digest
    }

    /// The claims, all of which a token must have; none if tokens do not count.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.parts.iter().filter_map(|part| match part {
            ScopePart::Claim(claim) => Some(claim),
            _ => None,
        })
    }

    pub(crate) fn has_claims(&self) -> bool {
        self.claims().next().is_some()
    }

    pub(crate) fn has_access_key(&self) -> bool {
        self.parts.contains(&ScopePart::AccessKey)
    }

    /// Whether this header is a part of the scope itself.
    pub(crate) fn names(&self, name: &HeaderName) -> bool {
        self.parts.iter().any(|part| matches!(part, ScopePart::Header(own) if own == name))
    }

    /// Whether a claim or an access key may be in the key in place of this header.
    pub(crate) fn replaces(&self, name: &HeaderName) -> bool {
        (self.has_claims() && *name == header::AUTHORIZATION)
            || (self.has_access_key() && aws::replaces(name))
    }

    /// Each part as it is written.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.parts.iter().map(ScopePart::to_string).collect()
    }
}

impl FromStr for ScopePart {
    type Err = String;

    /// The error says what a part looks like.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("jwt", claim)) => claim.parse().map(Self::Claim),
            Some(("aws", "access-key")) => Ok(Self::AccessKey),
            Some(("header", name)) => parse_header(name),
            Some(("aws", other)) => Err(format!("`aws:{other}` is no part of a scope; write {FORMS}")),
            Some((kind, _)) => Err(format!("`{kind}:` begins no part of a scope; write {FORMS}")),
            None => parse_header(text),
        }
    }
}

/// How the parts of a scope are written.
const FORMS: &str = "\"jwt:CLAIM\", \"header:NAME\" or \"aws:access-key\"";

fn parse_header(name: &str) -> Result<ScopePart, String> {
    name.parse().map(ScopePart::Header).map_err(|_| format!("{name:?} is no header name"))
}

impl fmt::Display for ScopePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(claim) => write!(f, "jwt:{}", claim.as_str()),
            Self::AccessKey => f.write_str("aws:access-key"),
            Self::Header(name) => f.write_str(name.as_str()),
        }
    }
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(
                "`jwt:` names no claim; write \"jwt:sub\", or \"jwt:/a/b\" for a nested one".to_owned()
            );
        }
        if !text.starts_with('/') {
            return Ok(Self::Member(text.to_owned()));
        }
        match text.parse::<Pointer>()? {
            pointer if pointer.is_of_names() => Ok(Self::Pointer(pointer)),
            _ => Err(format!(
                "`jwt:{text}` has `*`, and a claim is one value; name each member on the way to it"
            )),
        }
    }
}

impl Claim {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Member(name) => name,
            Self::Pointer(pointer) => pointer.as_str(),
        }
    }

    /// The claim's value in a payload.
    pub(crate) fn find<'j, 't>(&self, payload: &'j Json<'t>) -> Option<&'j Json<'t>> {
        match self {
            Self::Member(name) => payload.get(name),
            Self::Pointer(pointer) => pointer.member(payload),
        }
    }
}
