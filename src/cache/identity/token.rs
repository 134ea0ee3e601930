//! Reads the token of a request: a JWS in its compact form (RFC 7515, section 7.1) with claims (RFC 7519).
//!
//! Strict, since a service may read a token in another way: what two readers could read differently has no claims here.
//! Whether anybody vouches for the claims is another question.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header};

use super::{fallback::Fallback, scope::IdentityScope};
use crate::json::{Json, canonical::write_part};

/// Longer tokens are not read. In bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// What a token says, as far as a scope asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The hash of the issuer and of the claims of the scope.
    pub(crate) identity: blake3::Hash,
    /// From when on the token counts (`nbf`), in Unix seconds.
    pub(crate) begins: Option<u64>,
    /// When it ends (`exp`), in Unix seconds: from then on it does not count.
    pub(crate) ends: Option<u64>,
}

impl Claims {
    /// Whether the token counts at `now`, with clocks that are `leeway` seconds apart (RFC 7519, sections 4.1.4 and 4.1.5).
    pub(crate) fn hold_at(&self, now: u64, leeway: u64) -> bool {
        self.begins.is_none_or(|begins| begins <= now.saturating_add(leeway))
            && self.ends.is_none_or(|ends| now < ends.saturating_add(leeway))
    }
}

/// The bearer token of a request (RFC 6750, section 2.1).
///
/// # Errors
/// If there is no `Authorization`, or more than one, or it has no token in the form of a JWS.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Fallback> {
    let authorization = only_authorization(headers)?;
    let (scheme, token) = authorization.split_once(' ').ok_or(Fallback::NotBearer)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Fallback::NotBearer);
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let has_parts = token.split('.').count() == 3 && token.split('.').all(|part| !part.is_empty());
    if has_parts && token.len() <= MAX_TOKEN && token.bytes().all(is_plain) {
        Ok(token)
    } else {
        Err(Fallback::NoJwt)
    }
}

/// The one line of `Authorization`.
///
/// # Errors
/// If there is none, or more than one, or it is no text.
pub(super) fn only_authorization(headers: &HeaderMap) -> Result<&str, Fallback> {
    let mut lines = headers.get_all(header::AUTHORIZATION).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => Err(Fallback::NoToken),
        (Some(line), None) => line.to_str().map_err(|_| Fallback::NoJwt),
        (Some(_), Some(_)) => Err(Fallback::Several),
    }
}

/// Reads the claims of `token` that `scope` names.
///
/// # Errors
/// If the token cannot be read in one way alone, is not signed, or lacks a claim.
pub(crate) fn read(token: &str, scope: &IdentityScope) -> Result<Claims, Fallback> {
    let mut parts = token.split('.');
    let mut decoded =
        || URL_SAFE_NO_PAD.decode(parts.next().unwrap_or_default()).map_err(|_| Fallback::NoJwt);
    let (head, payload) = (decoded()?, decoded()?);
    decoded()?;
    check_head(&Json::parse(&head).map_err(|_| Fallback::NoJwt)?)?;
    let payload = Json::parse(&payload).map_err(|_| Fallback::NoJwt)?;
    if !payload.is_object() {
        return Err(Fallback::NoJwt);
    }
    let mut found = Vec::with_capacity(256);
    write_part(b"jwt", &mut found);
    match payload.get("iss") {
        None => found.push(b'0'),
        Some(Json::String(issuer)) => {
            found.push(b'1');
            write_part(issuer.as_bytes(), &mut found);
        }
        Some(_) => return Err(Fallback::NoJwt),
    }
    for claim in scope.claims() {
        write_part(claim.as_str().as_bytes(), &mut found);
        write_value(claim.find(&payload).ok_or(Fallback::NoClaim)?, &mut found)?;
    }
    Ok(Claims {
        identity: blake3::hash(&found),
        begins: date(&payload, "nbf", f64::ceil)?,
        ends: date(&payload, "exp", f64::floor)?,
    })
}

/// A header that says nothing of a key is enough: where keys are found (`jku`, `x5u`, `jwk`, `x5c`) is never the token's
/// business.
fn check_head(head: &Json<'_>) -> Result<(), Fallback> {
    let algorithm = head.get("alg").and_then(Json::as_str).ok_or(Fallback::NoJwt)?;
    if algorithm.is_empty() || algorithm.eq_ignore_ascii_case("none") {
        return Err(Fallback::Unsigned);
    }
    // Who does not understand all that it names must refuse the token (RFC 7515, section 4.1.11).
    if head.get("crit").is_some() { Err(Fallback::NoJwt) } else { Ok(()) }
}

/// Writes a claim's type and value. A number counts as it is written.
fn write_value(value: &Json<'_>, out: &mut Vec<u8>) -> Result<(), Fallback> {
    let (kind, text) = match value {
        Json::String(text) if !text.is_empty() => (b's', &**text),
        Json::Number(text) => (b'n', *text),
        Json::Bool(true) => (b'b', "true"),
        Json::Bool(false) => (b'b', "false"),
        _ => return Err(Fallback::NoScalar),
    };
    out.push(kind);
    write_part(text.as_bytes(), out);
    Ok(())
}

/// A `NumericDate` (RFC 7519, section 2), in whole Unix seconds.
fn date(payload: &Json<'_>, name: &str, round: fn(f64) -> f64) -> Result<Option<u64>, Fallback> {
    let number: f64 = match payload.get(name) {
        None => return Ok(None),
        Some(Json::Number(text)) => text.parse().map_err(|_| Fallback::NoJwt)?,
        Some(_) => return Err(Fallback::NoJwt),
    };
    let is_date = number.is_finite() && number >= 0.0;
    // A float that is too large becomes the largest number.
    if is_date { Ok(Some(round(number) as u64)) } else { Err(Fallback::NoJwt) }
}
