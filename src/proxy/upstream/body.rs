//! The body of an upstream's response, and what it occupies.

use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::pool::PooledConnection;
use crate::{
    http::guarded::{BodyGuard, Guarded},
    proxy::body::Timed,
};

/// The body of an upstream's response.
pub(crate) type UpstreamBody = Guarded<Timed<Incoming>, UpstreamGuard>;

/// What an upstream's response occupies until its body was read to the end: the connection that it comes
/// over, and one of the places that bound the requests under way.
#[derive(Debug)]
pub(crate) struct UpstreamGuard {
    connection: Option<PooledConnection>,
    permit: Option<OwnedSemaphorePermit>,
}

impl UpstreamGuard {
    /// Without a `connection` for a response that switched protocols: its connection serves no other request.
    pub(crate) const fn new(connection: Option<PooledConnection>, permit: OwnedSemaphorePermit) -> Self {
        Self { connection, permit: Some(permit) }
    }

    /// Lets the next request begin: the answer has come whole, though more of the body may come.
    pub(crate) fn release_permit(&mut self) {
        self.permit = None;
    }
}

impl BodyGuard for UpstreamGuard {
    fn completed(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.release();
        }
        // Last: the request that gets the place finds the connection.
        self.permit = None;
    }

    fn failed(&mut self) {
        self.connection = None;
        self.permit = None;
    }
}
