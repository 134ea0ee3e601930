//! What comes before HTTP on a connection: the TLS handshake.

use std::{net::IpAddr, sync::Arc};

use tokio::time::{sleep, timeout};

use super::{Server, certificate::Certificate, stream::Stream};
use crate::{http::forwarded::Peer, telemetry::stats::Limit};

/// What a listener expects before HTTP; by default, nothing.
#[derive(Clone, Debug, Default)]
pub struct Preface {
    /// For TLS.
    pub(crate) certificate: Option<Arc<Certificate>>,
}

impl Server {
    /// Reads what comes before HTTP, in the time of a head. Whoever takes longer, or does it wrong, gets no answer.
    pub(super) async fn open(&self, stream: Stream, peer: IpAddr) -> Option<(Stream, Peer)> {
        let Preface { certificate } = &self.preface;
        let peer = Peer::new(peer);
        let Some(certificate) = certificate else { return Some((stream, peer)) };
        let opened = timeout(self.header_timeout, async {
            let stream = certificate.acceptor().accept(stream).await.ok()?;
            Some((Stream::Tls(Box::new(stream)), peer.over_tls()))
        });
        let stopped = async {
            self.stop.cancelled().await;
            sleep(self.farewell).await;
        };
        tokio::select! {
            opened = opened => opened.unwrap_or_else(|_| {
                self.stats.limited(Limit::HeaderTimeout);
                None
            }),
            () = stopped => None,
        }
    }
}
