//! Why the claims of a caller do not count.

use std::fmt;

/// Why a request is scoped by its whole credentials, although the scope names claims or an access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// It has no `Authorization`.
    NoToken,
    /// It has several: nobody knows which one the service believes.
    Several,
    /// Its `Authorization` has another scheme.
    NotBearer,
    /// Its token is no JWS that can be read in one way alone.
    NoJwt,
    /// Its token says itself that nobody signed it.
    Unsigned,
    /// Its token lacks a claim of the scope.
    NoClaim,
    /// A claim of the scope is a list, an object, `null`, or empty.
    NoScalar,
    /// Its token has ended, or has not begun.
    Outdated,
    /// Its token's signature does not hold by the keys of `[jwks]`, or its issuer or audience is another one.
    Unverified,
    /// It is signed by AWS Signature Version 4 without a session token that is signed, too.
    NoSession,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoToken => "there is no Authorization",
            Self::Several => "there is more than one Authorization",
            Self::NotBearer => "the Authorization is of another scheme",
            Self::NoJwt => "the token is no JWT that can be read",
            Self::Unsigned => "the token is not signed (alg: none)",
            Self::NoClaim => "the token lacks a claim of the scope",
            Self::NoScalar => "a claim of the scope is no text, number, true or false",
            Self::Outdated => "the token has ended, or has not begun",
            Self::Unverified => "the token does not hold by the keys of [jwks]",
            Self::NoSession => "there is no signed X-Amz-Security-Token",
        })
    }
}
