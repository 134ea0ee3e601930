//! The header with which a proxy of TCP names its client, versions 1 and 2 of the PROXY protocol.
//!
//! Whoever may send this header may give itself any address, so only trusted proxies may, and they must: a connection
//! without one would be taken for the proxy's own. The header is read to its last byte and no further, since what
//! follows is the client's. The crate proxy-header says what its bytes mean.

use std::{
    fmt, io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use proxy_header::{ParseConfig, ProxyHeader};
use serde_json::{Map, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{config::LogLevel, telemetry::log::events};

/// What all headers have at least: as many bytes as the signature of version 2. The shortest of version 1 has 15.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The fixed part of version 2, at whose end is the length of the rest.
const FIXED: usize = 16;

/// The longest header of version 1, by the protocol.
const MAX_V1: usize = 107;

/// The longest header of version 2. With its addresses it has 232 bytes at most; the rest are details of the proxy's.
const MAX_V2: usize = 4096;

/// How often refusals are logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The proxies whose header is believed.
#[derive(Clone)]
pub(crate) struct Proxies {
    are_trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    last_logged: Arc<Mutex<Option<Instant>>>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

impl Proxies {
    pub(crate) fn new(are_trusted: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { are_trusted: Arc::new(are_trusted), last_logged: Arc::default() }
    }

    /// Reads the header of a connection from `peer`; returns the client's address.
    ///
    /// # Errors
    /// If the peer is not trusted, or sends no such header.
    pub(super) async fn client(
        &self,
        peer: IpAddr,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<IpAddr, Refused> {
        if !(self.are_trusted)(peer) {
            return Err(Refused::Untrusted);
        }
        let header = read(stream).await.map_err(|_| Refused::NoHeader)?;
        client(&header).map(|client| client.unwrap_or(peer)).ok_or(Refused::NoHeader)
    }

    /// Logs that a connection was refused, at most once a minute: an operator would look for it in vain.
    pub(super) fn log(&self, peer: IpAddr, refused: Refused) {
        let now = Instant::now();
        let mut last = self.last_logged.lock();
        if last.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
            return;
        }
        *last = Some(now);
        let members = [("peer", json!(peer.to_string())), ("reason", json!(refused.as_str()))];
        let members: Map<_, _> = members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        events::lifecycle(LogLevel::Warning, "a connection was refused by proxy_protocol", &members);
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Untrusted,
    NoHeader,
}

impl Refused {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "the peer is not in trusted_proxies",
            Self::NoHeader => "the peer sent no PROXY header",
        }
    }
}

/// The client that a header names; within that, `None` if the proxy speaks for itself, as in a health check. `None` if
/// this is no header.
fn client(header: &[u8]) -> Option<Option<IpAddr>> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) = ProxyHeader::parse(header, config).ok()?;
    (length == header.len()).then(|| parsed.proxied_address().map(|address| address.source.ip()))
}

/// The bytes of a header.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(FIXED, 0);
        stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
        let rest = usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
        if FIXED + rest > MAX_V2 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        header.resize(FIXED + rest, 0);
        stream.read_exact(&mut header[FIXED..]).await?;
        return Ok(header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // Only its end says how long it is, so that it comes byte by byte.
    while header.last() != Some(&b'\n') {
        if header.len() == MAX_V1 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        header.push(stream.read_u8().await?);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use proxy_header::ProxiedAddress;

    use super::*;

    fn header(source: &str, version: u8) -> Vec<u8> {
        let address = |text: &str| text.parse().expect("an address");
        let target = if source.starts_with('[') { "[2001:db8::2]:80" } else { "192.0.2.2:80" };
        let header = ProxyHeader::with_address(ProxiedAddress::stream(address(source), address(target)));
        let mut bytes = Vec::new();
        let encoded = if version == 1 { header.encode_v1(&mut bytes) } else { header.encode_v2(&mut bytes) };
        encoded.expect("a header");
        bytes
    }

    /// What a trusted peer at 10.0.0.1 is taken for, and what is left of what it sent.
    async fn taken(sent: &[u8]) -> (Result<IpAddr, Refused>, Vec<u8>) {
        let proxies = Proxies::new(|peer| peer == IpAddr::from([10, 0, 0, 1]));
        let mut rest = sent;
        let client = proxies.client([10, 0, 0, 1].into(), &mut rest).await;
        (client, rest.to_vec())
    }

    #[tokio::test]
    async fn a_header_names_the_client_and_leaves_what_follows() {
        for version in [1, 2] {
            for (source, ip) in [("192.0.2.7:4711", "192.0.2.7"), ("[2001:db8::1]:4711", "2001:db8::1")] {
                let sent = [&header(source, version)[..], b"GET / HTTP/1.1\r\n"].concat();
                let (client, rest) = taken(&sent).await;
                assert_eq!(client, Ok(ip.parse().expect("an address")), "version {version}");
                assert_eq!(rest, b"GET / HTTP/1.1\r\n");
            }
        }
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        let local = [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
        for sent in [&b"PROXY UNKNOWN\r\n"[..], &local] {
            assert_eq!(taken(sent).await, (Ok([10, 0, 0, 1].into()), Vec::new()));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let too_long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let huge = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        let cut = &header("192.0.2.7:1", 2)[..20];
        for sent in [
            &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"",
            b"PROXY",
            b"PROXY TCP4 192.0.2.7\r\n",
            b"PROXY TCP4 a b 1 2\r\n",
            &too_long,
            &huge,
            cut,
        ] {
            assert_eq!(taken(sent).await.0, Err(Refused::NoHeader), "{sent:?}");
        }
    }

    #[tokio::test]
    async fn only_trusted_peers_may_name_a_client() {
        let proxies = Proxies::new(|_| false);
        let sent = header("192.0.2.7:1", 1);
        let refused = proxies.client([10, 0, 0, 1].into(), &mut &sent[..]).await;
        assert_eq!(refused, Err(Refused::Untrusted));
    }
}
