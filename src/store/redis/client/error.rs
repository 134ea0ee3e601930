//! What can go wrong with Redis, and what each failure says about the next request.

use std::{io, path::Path, time::Duration};

use ::redis::{ErrorKind, RedisError};
use thiserror::Error;
use tokio::time;

/// Why an operation failed. To the request that asked, each of these is a miss.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// Redis is out of reach, as earlier calls found; nothing was sent.
    #[error("Redis is out of reach")]
    Unavailable,
    /// No reply came within the deadline. A write may still be carried out later.
    #[error("Redis did not answer in time")]
    Timeout,
    /// The connection, or Redis as a whole, failed during this call. A write may have been carried out.
    #[error("the connection to Redis was lost")]
    Lost,
    /// Redis takes no such write at present (out of memory, read-only, no permission); reads go on.
    #[error("Redis refuses writes")]
    Refused,
    /// The key holds no string, so it is not one of sidecache's.
    #[error("the key holds no string")]
    WrongType,
    /// Another server of the cluster has the key, and it could not be found out which.
    #[error("the key has moved to another server")]
    Moved,
    /// The key's slot is on its way to another server of the cluster, which could not be asked.
    #[error("the key is on its way to another server")]
    Moving,
    /// A reply of the wrong kind: the connection was given up.
    #[error("Redis sent a reply of the wrong kind")]
    Protocol,
}

/// Why Redis cannot be reached with these settings. The text never shows the URL, which may hold a password.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{setting}: {reason}")]
pub struct OpenError {
    /// The setting that is at fault.
    pub setting: &'static str,
    /// What is wrong with it, and what to write instead.
    pub reason: String,
}

impl OpenError {
    pub(super) fn url(error: &RedisError) -> Self {
        let expected = "expected redis://, rediss:// or unix://, as in redis://:PASSWORD@HOST:6379/0";
        Self { setting: "store.redis", reason: format!("no Redis URL: {error} ({expected})") }
    }

    pub(super) fn settings(reason: String) -> Self {
        Self { setting: "store.redis", reason }
    }

    pub(super) fn file(setting: &'static str, path: &Path, error: &std::io::Error) -> Self {
        let expected = "name a file in PEM that this user may read";
        Self { setting, reason: format!("{} cannot be read: {error} ({expected})", path.display()) }
    }

    pub(super) fn tls(error: &RedisError) -> Self {
        let expected = "store.redis_ca, store.redis_cert and store.redis_key are files in PEM";
        Self {
            setting: "store.redis",
            reason: format!("no TLS connection can be made: {error} ({expected})"),
        }
    }
}

/// What an error reply says about the replies to come: which of them fare no better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affected {
    /// This key only.
    Key,
    /// Writes; reads go on.
    Writes,
    Everything,
}

/// What an error reply to a read or a write affects.
pub(super) fn affected_by(error: &RedisError, is_write: bool) -> Affected {
    match error.code() {
        // The slot is on its way to another server, and some of its keys are there.
        Some("WRONGTYPE" | "TRYAGAIN") => Affected::Key,
        Some(code) if is_write && !concerns_all(code) => Affected::Writes,
        _ => Affected::Everything,
    }
}

/// The code of the error that Redis returns to writes, and not to reads, while it cannot save to disk.
pub(super) const CANNOT_SAVE: &str = "MISCONF";

/// Whether reads would fare no better than the write that got `code`, or are not worth sending: a Redis that
/// cannot save may lose at any time what it has.
fn concerns_all(code: &str) -> bool {
    matches!(
        code,
        CANNOT_SAVE
            | "LOADING"
            | "NOAUTH"
            | "WRONGPASS"
            | "MASTERDOWN"
            | "MOVED"
            | "ASK"
            | "CLUSTERDOWN"
            | "CROSSSLOT"
            | "BUSY"
            | "UNKILLABLE"
    )
}

/// An error as text for a log line. Never what the server says word for word: an error reply can quote the
/// command's arguments, and a parser's error the stream, so both may hold keys, values and passwords.
pub(crate) fn describe(error: &RedisError) -> String {
    if let Some(code) = error.code() {
        return match known(code, error.detail().unwrap_or_default()) {
            Some(text) => text.to_owned(),
            None => format!("Redis replies with an error ({})", sane(code)),
        };
    }
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => "no answer in time".to_owned(),
        ErrorKind::Io if error.to_string() == "broken pipe" => "the connection was closed".to_owned(),
        ErrorKind::Io | ErrorKind::Client | ErrorKind::InvalidClientConfig => error.to_string(),
        ErrorKind::AuthenticationFailed => "Redis refuses the user name or password".to_owned(),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => PROTOCOL.to_owned(),
        _ => error.category().to_owned(),
    }
}

/// A reply of the wrong kind.
pub(crate) fn protocol() -> RedisError {
    (ErrorKind::UnexpectedReturnType, PROTOCOL).into()
}

/// Waits for `reply` within `limit`; no reply by then is an error.
pub(crate) async fn within<T>(
    limit: Duration,
    reply: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    match time::timeout(limit, reply).await {
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        Ok(reply) => reply,
    }
}

/// Why a connection was given up: its replies are not of the expected kind.
pub(super) const PROTOCOL: &str = "a reply that does not fit its request";

fn known(code: &str, detail: &str) -> Option<&'static str> {
    Some(match code {
        "LOADING" => "Redis is loading its data (LOADING)",
        "NOAUTH" => "Redis wants a password (NOAUTH)",
        "WRONGPASS" => "Redis refuses the user name or password (WRONGPASS)",
        "NOPERM" => "the user lacks the permission (NOPERM)",
        "OOM" => "Redis is full (OOM)",
        "READONLY" => "Redis is a read-only replica (READONLY)",
        CANNOT_SAVE => "Redis cannot save to disk and takes no writes (MISCONF)",
        "NOREPLICAS" => "Redis has too few replicas to take writes (NOREPLICAS)",
        "MASTERDOWN" => "Redis is a replica that lost its master (MASTERDOWN)",
        "MOVED" | "ASK" | "CROSSSLOT" => {
            "Redis is part of a cluster: write redis+cluster://HOST:PORT (MOVED)"
        }
        "CLUSTERDOWN" => "the Redis cluster is down (CLUSTERDOWN)",
        "BUSY" => "Redis is busy with a script (BUSY)",
        "ERR" if detail.starts_with("max number of clients") => "Redis has too many clients",
        "ERR" if detail.contains("DB index") => "Redis has no database of that number",
        _ => return None,
    })
}

/// A peer that is no Redis may send anything as the code.
fn sane(code: &str) -> &str {
    if code.len() <= 20 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
        code
    } else {
        "unknown"
    }
}

#[cfg(test)]
mod tests {
    use ::redis::make_extension_error;

    use super::*;

    fn reply(code: &str, detail: &str) -> RedisError {
        make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    #[test]
    fn refused_writes_leave_reads_alone() {
        for code in ["OOM", "READONLY", "NOREPLICAS", "NOPERM"] {
            assert_eq!(affected_by(&reply(code, ""), true), Affected::Writes, "{code}");
        }
        assert_eq!(affected_by(&reply("NOPERM", ""), false), Affected::Everything);
        assert_eq!(affected_by(&reply("NOAUTH", ""), true), Affected::Everything);
        assert_eq!(affected_by(&reply(CANNOT_SAVE, ""), true), Affected::Everything);
        assert_eq!(affected_by(&reply("WRONGTYPE", ""), false), Affected::Key);
    }

    #[test]
    fn text_shows_nothing_of_the_servers() {
        let quoted = reply("ERR", "unknown command `GET`, with args beginning with: `a secret`");
        assert_eq!(describe(&quoted), "Redis replies with an error (ERR)");
        let strange = reply("my secret is", "x");
        assert_eq!(describe(&strange), "Redis replies with an error (unknown)");
        assert_eq!(describe(&reply("NOAUTH", "Authentication required.")), "Redis wants a password (NOAUTH)");
    }
}
