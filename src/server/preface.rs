//! What comes before HTTP on a connection: a proxy's header, then the TLS handshake.

use std::{io, net::IpAddr, sync::Arc};

use tokio::time::{sleep, timeout};

use super::{Server, certificate::Certificate, proxy_protocol::Proxies, stream::Stream};
use crate::{http::forwarded::Peer, telemetry::stats::Limit};

/// What a listener expects before HTTP; by default, nothing.
#[derive(Clone, Debug, Default)]
pub struct Preface {
    /// Those who name their clients.
    pub(crate) proxies: Option<Proxies>,
    /// For TLS.
    pub(crate) certificate: Option<Arc<Certificate>>,
}

impl Preface {
    async fn read(&self, mut stream: Stream, peer: IpAddr) -> io::Result<(Stream, Peer)> {
        let mut client = peer;
        if let Some(proxies) = &self.proxies {
            client = proxies.client(peer, &mut stream).await.map_err(|refused| {
                proxies.log(peer, refused);
                io::ErrorKind::PermissionDenied
            })?;
        }
        let client = Peer::new(client);
        match &self.certificate {
            None => Ok((stream, client)),
            Some(certificate) => {
                let stream = certificate.acceptor().accept(stream).await?;
                Ok((Stream::Tls(Box::new(stream)), client.over_tls()))
            }
        }
    }
}

impl Server {
    /// Reads what comes before HTTP, in the time of a head. Whoever takes longer, or does it wrong, gets no answer.
    pub(super) async fn open(&self, stream: Stream, peer: IpAddr) -> Option<(Stream, Peer)> {
        let preface = &self.preface;
        if preface.proxies.is_none() && preface.certificate.is_none() {
            return Some((stream, Peer::new(peer)));
        }
        let stopped = async {
            self.stop.cancelled().await;
            sleep(self.farewell).await;
        };
        tokio::select! {
            opened = timeout(self.header_timeout, preface.read(stream, peer)) => match opened {
                Ok(opened) => opened.ok(),
                Err(_) => {
                    self.stats.limited(Limit::HeaderTimeout);
                    None
                }
            },
            () = stopped => None,
        }
    }
}
