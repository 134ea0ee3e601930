//! Who sent a request, and what the upstream learns of that: `X-Forwarded-For` and the headers like it.
//!
//! Only trusted peers are believed. What others say of a request's way is replaced, in the spelling of CGI
//! too, where a `_` in a name is a `-`.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use crate::http::headers;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(crate) address: IpAddr,
    /// The address as `X-Forwarded-For` has it.
    hop: HeaderValue,
    /// Whether its requests come over TLS.
    is_tls: bool,
}

impl Peer {
    /// The peer at this address.
    pub fn new(address: IpAddr) -> Self {
        let hop = HeaderValue::try_from(address.to_canonical().to_string());
        // Digits, dots and colons are a header's value.
        Self { address, hop: hop.unwrap_or(HeaderValue::from_static("unknown")), is_tls: false }
    }

    /// The same peer, over TLS.
    pub(crate) fn over_tls(self) -> Self {
        Self { is_tls: true, ..self }
    }
}

pub(crate) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

/// The address of the client: that of the peer, or the last one in `X-Forwarded-For` that no trusted peer
/// has.
pub(crate) fn client_ip(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    if !is_trusted(trusted, peer) {
        return peer;
    }
    let hops: Vec<IpAddr> = headers::list(headers, &FOR).map_while(|hop| hop.parse().ok()).collect();
    hops.iter().rev().find(|hop| !is_trusted(trusted, **hop)).or(hops.first()).copied().unwrap_or(peer)
}

/// Whether a header describes a request's way, to some service: to CGI, a `_` in a name is a `-`.
fn describes_way(name: &HeaderName) -> bool {
    const PREFIX: &str = "x-forwarded-";
    let bytes = name.as_str().bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    let is = |other: &HeaderName| bytes.clone().eq(other.as_str().bytes());
    bytes.clone().take(PREFIX.len()).eq(PREFIX.bytes()) || is(&header::FORWARDED) || is(&REAL_IP)
}

/// Rewrites what a request says of its way here. What a peer says that is not trusted is replaced.
///
/// Without `tell_host`, the upstream does not learn the client's `Host`: on a cacheable route it could change
/// an answer that others get.
pub fn rewrite(headers: &mut HeaderMap, peer: &Peer, trusted: &[IpNet], tell_host: bool) {
    let trusted = is_trusted(trusted, peer.address);
    if !trusted {
        let said: Vec<HeaderName> = headers.keys().filter(|name| describes_way(name)).cloned().collect();
        for name in said {
            headers.remove(name);
        }
    }
    headers::append_item(headers, FOR, peer.hop.clone());
    if !headers.contains_key(PROTO) {
        let proto = if peer.is_tls { "https" } else { "http" };
        headers.insert(PROTO, HeaderValue::from_static(proto));
    }
    if !tell_host {
        headers.remove(HOST);
    } else if !headers.contains_key(HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn net(text: &str) -> Vec<IpNet> {
        vec![text.parse().expect("a network")]
    }

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    #[test]
    fn a_stranger_says_nothing() {
        let said = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-port", "1"),
            ("x_forwarded_host", "other"),
            ("x_real_ip", "1.1.1.1"),
            ("forwarded", "for=x"),
            ("host", "h"),
        ];
        let mut headers = map(&said);
        rewrite(&mut headers, &Peer::new(PEER), &[], true);
        let expected = [
            ("host", "h"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "h"),
        ];
        assert_eq!(headers, map(&expected));
        assert_eq!(client_ip(PEER, &[], &map(&said)), PEER);
    }

    #[test]
    fn a_trusted_peer_is_believed() {
        let said = [
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.3"),
            ("x-forwarded-proto", "https"),
            ("host", "h"),
        ];
        let mut headers = map(&said);
        rewrite(&mut headers, &Peer::new(PEER), &net("10.0.0.0/8"), false);
        let hops: Vec<_> = headers::list(&headers, &FOR).collect();
        assert_eq!(hops, ["1.1.1.1", "2.2.2.2", "10.0.0.3", "10.0.0.9"]);
        assert_eq!(headers.get(PROTO), Some(&HeaderValue::from_static("https")));
        assert!(!headers.contains_key(HOST));
        assert_eq!(
            client_ip(PEER, &net("10.0.0.0/8"), &map(&said)),
            "2.2.2.2".parse::<IpAddr>().expect("an address")
        );
    }
}
