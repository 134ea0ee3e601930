//! The closed lists that counters are told apart by.

use crate::{
    cache::{route::kind::Kind, status::CacheStatus},
    config::ListenerUse,
};

/// A label's value where there is none.
pub(crate) const NONE: &str = "none";

/// How many kinds there are, with a place for requests that no route covers.
pub(crate) const KINDS: usize = Kind::ALL.len() + 1;

/// The place of a kind among [`KINDS`].
pub(crate) const fn kind_place(kind: Option<Kind>) -> usize {
    match kind {
        Some(kind) => kind as usize,
        None => KINDS - 1,
    }
}

/// The kinds as labels, in the order of their places.
pub(crate) fn kinds() -> impl Iterator<Item = (usize, &'static str)> {
    Kind::ALL.into_iter().map(Kind::as_str).chain([NONE]).enumerate()
}

/// The words of `X-Cache` as labels, in the order of [`CacheStatus`], and one for responses without it.
pub(crate) const CACHES: [&str; CacheStatus::ALL.len() + 1] =
    ["hit", "miss", "partial", "stale", "similar", "coalesced", "bypass", "pass", NONE];

/// The place of a word among [`CACHES`].
pub(crate) const fn cache_place(status: Option<CacheStatus>) -> usize {
    match status {
        Some(status) => status as usize,
        None => CACHES.len() - 1,
    }
}

/// The classes of status codes.
pub(crate) const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The place of a status code among [`STATUSES`].
pub(crate) fn status_place(status: u16) -> usize {
    usize::from(status / 100).clamp(1, STATUSES.len()) - 1
}

/// Makes an enum whose variants are the values of a label.
macro_rules! label {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident => $text:literal,)* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

label! {
    /// What a lookup found.
    LookupResult {
        /// A fresh answer.
        Hit => "hit",
        /// Nothing that answers the request.
        Miss => "miss",
        /// A stale answer, which was served.
        Stale => "stale",
        /// A fresh answer in the other form, which was converted.
        Form => "form",
        /// Nothing under its own key, but an answer to a question in other words, which was served.
        Similar => "similar",
        /// The store could not be asked.
        Error => "error",
    }
}

impl LookupResult {
    /// Whether the store answered the request.
    pub(crate) const fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Form | Self::Similar)
    }
}

label! {
    /// How a call of the upstream ended.
    UpstreamOutcome {
        Ok => "ok",
        Error => "error",
        Timeout => "timeout",
        /// The answer broke off.
        Cut => "cut",
    }
}

label! {
    /// What the store was asked for.
    StoreCall {
        Get => "get",
        Put => "put",
        Lease => "lease",
        Invalidate => "invalidate",
    }
}

label! {
    /// How a call of the store ended.
    StoreOutcome {
        Ok => "ok",
        Error => "error",
        Timeout => "timeout",
        /// The store takes no writes at present.
        Refused => "refused",
    }
}

label! {
    /// Why something was invalidated.
    InvalidationCause {
        /// A request changed something at the service.
        Change => "change",
        /// A turn changed its conversation.
        Turn => "turn",
        /// A service was done with an earlier change.
        Settled => "settled",
        /// An operator's call.
        Purge => "purge",
    }
}

label! {
    /// What an operator's purge named.
    PurgeCause {
        Key => "key",
        Kind => "kind",
        Tag => "tag",
        Pattern => "pattern",
        All => "all",
    }
}

label! {
    /// How a text came by its vector, or why it has none.
    EmbeddingOutcome {
        /// The model was asked.
        Ok => "ok",
        /// The store had it.
        Stored => "stored",
        TimedOut => "timeout",
        Failed => "error",
        /// What came is no vector.
        Odd => "odd",
        /// Too many texts waited.
        Busy => "busy",
    }
}

label! {
    /// How the audit of a hit by meaning ended.
    AuditOutcome {
        Labelled => "labelled",
        /// The service failed, or its answer cannot be compared.
        Failed => "failed",
    }
}

label! {
    /// Who is at the other end of a connection.
    Side {
        Client => "client",
        /// At the admin listener.
        Operator => "operator",
        Upstream => "upstream",
    }
}

label! {
    /// To whom a certificate is shown.
    CertificateUse {
        Clients => "clients",
        /// Those who call the admin listener.
        Admin => "admin",
        Upstream => "upstream",
        Redis => "redis",
    }
}

impl From<ListenerUse> for CertificateUse {
    fn from(listener: ListenerUse) -> Self {
        match listener {
            ListenerUse::Clients => Self::Clients,
            ListenerUse::Admin => Self::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_label() {
        for status in CacheStatus::ALL {
            assert_eq!(CACHES[cache_place(Some(status))], status.as_str().to_lowercase());
        }
        assert_eq!(CACHES[cache_place(None)], NONE);
        for kind in Kind::ALL {
            assert_eq!(kinds().nth(kind_place(Some(kind))), Some((kind as usize, kind.as_str())));
        }
        assert_eq!(kinds().last(), Some((kind_place(None), NONE)));
        for (status, label) in
            [(0, "1xx"), (101, "1xx"), (200, "2xx"), (304, "3xx"), (499, "4xx"), (599, "5xx"), (999, "5xx")]
        {
            assert_eq!(STATUSES[status_place(status)], label, "{status}");
        }
    }
}
