//! The access key of a request that is signed by AWS Signature Version 4
//! (docs.aws.amazon.com, "Create a signed AWS API request").
//!
//! Only AWS can check a signature: the key that it is made with is not in the request. What is in it, and nowhere else, is
//! the session token of temporary credentials. So an access key counts only together with a session token that the
//! signature covers.

use http::{HeaderMap, HeaderName};

use super::{fallback::Fallback, token::only_authorization};
use crate::json::canonical::write_part;

const SECURITY_TOKEN: &str = "x-amz-security-token";

/// The headers that are not in a key beside an access key: the signature, and what is new in each request.
const REPLACED: [&str; 6] = [
    "authorization",
    SECURITY_TOKEN,
    "x-amz-date",
    "x-amz-content-sha256",
    "amz-sdk-invocation-id",
    "amz-sdk-request",
];

/// Whether an access key stands for this header.
pub(super) fn replaces(name: &HeaderName) -> bool {
    REPLACED.contains(&name.as_str())
}

/// Whether the request has such a signature at all.
pub(super) fn is_signed(headers: &HeaderMap) -> bool {
    only_authorization(headers).is_ok_and(|line| line.starts_with("AWS4-"))
}

/// The hash of the access key, of the region and the service that it is used for, and of the session token.
///
/// # Errors
/// If one of them is missing, or there twice.
pub(super) fn identity(headers: &HeaderMap) -> Result<blake3::Hash, Fallback> {
    let line = only_authorization(headers)?;
    let fields = line.strip_prefix("AWS4-HMAC-SHA256 ").ok_or(Fallback::NotBearer)?;
    let credential = field(fields, "Credential=").ok_or(Fallback::NoSession)?;
    let signed = field(fields, "SignedHeaders=").ok_or(Fallback::NoSession)?;
    field(fields, "Signature=").ok_or(Fallback::NoSession)?;
    let [key, _date, region, service, "aws4_request"] = credential.split('/').collect::<Vec<_>>()[..] else {
        return Err(Fallback::NoSession);
    };
    let mut tokens = headers.get_all(SECURITY_TOKEN).into_iter();
    let (Some(token), None) = (tokens.next(), tokens.next()) else { return Err(Fallback::NoSession) };
    let covers_token = signed.split(';').any(|name| name == SECURITY_TOKEN);
    if !covers_token || token.is_empty() || [key, region, service].contains(&"") {
        return Err(Fallback::NoSession);
    }
    let mut found = Vec::with_capacity(token.len() + 128);
    for part in [&b"aws"[..], key.as_bytes(), region.as_bytes(), service.as_bytes(), token.as_bytes()] {
        write_part(part, &mut found);
    }
    Ok(blake3::hash(&found))
}

/// The value of a field, of which there must be one.
fn field<'f>(fields: &'f str, name: &str) -> Option<&'f str> {
    let mut found = fields.split(',').filter_map(|field| field.trim().strip_prefix(name));
    found.next().filter(|value| !value.is_empty() && found.next().is_none())
}
