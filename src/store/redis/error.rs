//! What can go wrong with Redis, and what each failure says about the next request.

use std::{error::Error, fmt, io, path::Path, time::Duration};

use ::redis::{ErrorKind, RedisError};
use tokio::time;

/// Why an operation came to nothing. Each one is a miss to the request that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Redis is out of reach, as known from earlier calls; nothing was sent.
    Unavailable,
    /// No reply came within the deadline. A write may still be carried out later.
    Timeout,
    /// The connection, or Redis as a whole, failed during this call. A write may have been carried out.
    Lost,
    /// Redis takes no such write at present (out of memory, read-only, no permission); reads go on.
    Refused,
    /// The key holds something that is no string: not ours.
    WrongType,
    /// A reply of the wrong kind: the connection was given up.
    Protocol,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "Redis is out of reach",
            Self::Timeout => "Redis did not answer in time",
            Self::Lost => "the connection to Redis was lost",
            Self::Refused => "Redis refuses writes",
            Self::WrongType => "the key holds no string",
            Self::Protocol => "Redis sent a reply of the wrong kind",
        })
    }
}

impl Error for StoreError {}

/// Redis cannot be reached with these settings. The text never shows the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.reason)
    }
}

impl Error for OpenError {}

/// What an error reply says about the replies to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// This key only.
    Key,
    /// Writes; reads go on.
    Writes,
    /// Everything.
    All,
}

/// How far an error reply to a read or a write reaches.
pub(super) fn scope(error: &RedisError, writing: bool) -> Scope {
    match error.code() {
        Some("WRONGTYPE") => Scope::Key,
        Some(code) if writing && !concerns_all(code) => Scope::Writes,
        _ => Scope::All,
    }
}

/// The code of what a Redis says to writes, and to no reads, when it cannot save to disk.
pub(super) const CANNOT_SAVE: &str = "MISCONF";

/// Whether reads would fare no better than the write that got `code`, or are not worth it: a Redis that cannot save
/// may lose at any time what it has.
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
            | "TRYAGAIN"
            | "CROSSSLOT"
            | "BUSY"
            | "UNKILLABLE"
    )
}

/// An error as text for a log line. Never what the server says word for word: an error reply can quote the
/// command's arguments, and a parser's error the stream, so both may hold keys, values and passwords.
pub(super) fn describe(error: &RedisError) -> String {
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

/// A reply that does not fit.
pub(super) fn protocol() -> RedisError {
    (ErrorKind::UnexpectedReturnType, PROTOCOL).into()
}

/// What `reply` says within `limit`; no reply by then is an error.
pub(super) async fn within<T>(
    limit: Duration,
    reply: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    match time::timeout(limit, reply).await {
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        Ok(reply) => reply,
    }
}

/// The reason for giving up a connection whose replies are not of the expected kind.
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
        "MOVED" | "ASK" | "CROSSSLOT" => "Redis is part of a cluster, which is not supported (MOVED)",
        "CLUSTERDOWN" | "TRYAGAIN" => "the Redis cluster is down (CLUSTERDOWN)",
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
            assert_eq!(scope(&reply(code, ""), true), Scope::Writes, "{code}");
        }
        assert_eq!(scope(&reply("NOPERM", ""), false), Scope::All);
        assert_eq!(scope(&reply("NOAUTH", ""), true), Scope::All);
        assert_eq!(scope(&reply(CANNOT_SAVE, ""), true), Scope::All);
        assert_eq!(scope(&reply("WRONGTYPE", ""), false), Scope::Key);
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
