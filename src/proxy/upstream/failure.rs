//! Why the upstream gave no proper answer, in a closed list: clients and operators get it as `details.kind`.

use crate::proxy::error::{ErrorKind, ProxyError};

/// What went wrong with the upstream. `docs/OPERATING.md` lists the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Its name has no address.
    Dns,
    /// Nothing accepts a connection at its address.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// It closed the connection before it had answered.
    Closed,
    /// What it sent is not HTTP.
    Http,
    /// Nobody can be sure where its answer ends.
    Framing,
    /// It switched protocols without being asked.
    Upgrade,
    /// It broke off in the answer.
    Cut,
    /// Its answer is larger than what can be put together from it.
    TooLarge,
}

impl FailureKind {
    #[cfg(test)]
    const ALL: [Self; 9] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Closed,
        Self::Http,
        Self::Framing,
        Self::Upgrade,
        Self::Cut,
        Self::TooLarge,
    ];

    /// The name in errors and in the log. It never changes.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Closed => "closed",
            Self::Http => "http",
            Self::Framing => "framing",
            Self::Upgrade => "upgrade",
            Self::Cut => "cut",
            Self::TooLarge => "too-large",
        }
    }

    const fn error(self) -> ErrorKind {
        match self {
            Self::Dns | Self::Connect | Self::Tls => ErrorKind::UpstreamConnection,
            _ => ErrorKind::UpstreamProtocol,
        }
    }
}

/// The error for a failure of the upstream.
#[track_caller]
pub(crate) fn failed(kind: FailureKind, message: impl Into<String>) -> ProxyError {
    ProxyError::new(kind.error(), message).with_detail("kind", kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_documented_once() {
        let page = include_str!("../../../docs/OPERATING.md");
        let table = page.split("### Kinds of failure").nth(1).and_then(|rest| rest.split("\n#").next());
        let table = table.expect("the table");
        for kind in FailureKind::ALL {
            let row = format!("| `{}` |", kind.as_str());
            assert_eq!(table.matches(&row).count(), 1, "{kind:?}");
        }
        // The first one is the table's head.
        let rows = table.lines().filter(|line| line.starts_with("| `")).skip(1).count();
        assert_eq!(rows, FailureKind::ALL.len());
    }
}
