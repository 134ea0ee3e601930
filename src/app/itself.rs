//! Whether the upstream is this sidecache itself: each request would come round, and be refused only then.

use std::{net::IpAddr, time::Duration};

use nix::ifaddrs::getifaddrs;
use tokio::{net::lookup_host, time::timeout};

use super::StartError;
use crate::config::{Config, ListenAddress, UpstreamConfig};

/// How long the start waits for the addresses of the upstream's name. Without them, it goes on.
const LOOKUP: Duration = Duration::from_secs(2);

/// Refuses an upstream that is one of `listeners`, each with the setting that names it.
///
/// # Errors
/// [`StartError::Itself`], if it is.
pub(super) async fn refuse(
    upstream: &UpstreamConfig,
    listeners: [Option<(ListenAddress, &'static str)>; 2],
) -> Result<(), StartError> {
    for (address, setting) in listeners.into_iter().flatten() {
        if is_listener(upstream, &address).await {
            return Err(StartError::Itself { upstream: upstream.url.to_string(), address, setting });
        }
    }
    Ok(())
}

/// Refuses an upstream that is a listener of `config`.
///
/// # Errors
/// [`StartError::Itself`], if it is.
pub(crate) async fn refuse_configured(config: &Config) -> Result<(), StartError> {
    let admin = config.admin.listen.clone().map(|address| (address, "admin.listen"));
    refuse(&config.upstream, [Some((config.listen.clone(), "listen")), admin]).await
}

async fn is_listener(upstream: &UpstreamConfig, listener: &ListenAddress) -> bool {
    let listener = match (listener, upstream.url.socket()) {
        (ListenAddress::Tcp(listener), None) => listener,
        (ListenAddress::Unix(listener), Some(socket)) => return listener == socket,
        _ => return false,
    };
    // Only then is a lookup worth its time.
    if listener.port() != upstream.url.port() {
        return false;
    }
    let Ok(Ok(found)) = timeout(LOOKUP, lookup_host((upstream.url.host(), upstream.url.port()))).await else {
        return false;
    };
    found.into_iter().any(|found| leads_to(found.ip(), listener.ip(), is_own))
}

/// Whether who connects to `address` reaches a listener at `listener`, with the same port.
fn leads_to(address: IpAddr, listener: IpAddr, is_own: impl Fn(IpAddr) -> bool) -> bool {
    let (address, bound) = (address.to_canonical(), listener.to_canonical());
    // A connection to it goes to this machine's loopback address.
    let goes_home = address.is_unspecified();
    if !bound.is_unspecified() {
        return address == bound
            || (goes_home && bound.is_loopback() && address.is_ipv4() == bound.is_ipv4());
    }
    // `[::]` covers IPv4, too.
    let is_covered = bound.is_ipv6() || address.is_ipv4();
    is_covered && (goes_home || address.is_loopback() || is_own(address))
}

/// Whether an interface of this machine has the address.
fn is_own(address: IpAddr) -> bool {
    let Ok(interfaces) = getifaddrs() else { return false };
    interfaces.filter_map(|interface| interface.address).any(|own| {
        let ip = own.as_sockaddr_in().map(|own| IpAddr::from(own.ip()));
        ip.or_else(|| own.as_sockaddr_in6().map(|own| own.ip().into())) == Some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_a_listener_that_covers_it() {
        let is_own = |address: IpAddr| address.to_string() == "10.1.2.3" || address.to_string() == "fd00::1";
        for (address, listener, leads) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.2", "127.0.0.1", false),
            ("10.1.2.3", "127.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "10.1.2.3", false),
            ("::", "::1", true),
            ("127.0.0.9", "0.0.0.0", true),
            ("10.1.2.3", "0.0.0.0", true),
            ("10.1.2.4", "0.0.0.0", false),
            ("::1", "0.0.0.0", false),
            ("fd00::1", "0.0.0.0", false),
            ("0.0.0.0", "0.0.0.0", true),
            ("::1", "::", true),
            ("127.0.0.1", "::", true),
            ("10.1.2.3", "::", true),
            ("fd00::1", "::", true),
            ("fd00::2", "::", false),
        ] {
            let parse = |text: &str| text.parse().expect("an address");
            assert_eq!(leads_to(parse(address), parse(listener), is_own), leads, "{address} to {listener}");
        }
    }

    #[test]
    fn this_machine_has_its_loopback_address() {
        assert!(is_own(IpAddr::from([127, 0, 0, 1])));
        assert!(!is_own(IpAddr::from([192, 0, 2, 1])));
    }
}
