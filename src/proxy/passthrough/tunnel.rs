//! Upgraded connections (WebSocket and the like): bytes both ways, until either side ends.

use http::{HeaderMap, HeaderValue, Response, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::task::TaskTracker;

use crate::{
    proxy::{
        response::{self, body::ResponseBody},
        upstream::body::UpstreamBody,
    },
    request::connection::ConnectionSlot,
};

/// Asks the upstream to switch to `protocol`, as the client did.
pub(crate) fn request_upgrade(headers: &mut HeaderMap, protocol: &str) {
    if let Ok(protocol) = HeaderValue::from_str(protocol) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// The response that switches the client's connection. From then on a task, one of `tasks`, copies bytes
/// between the client and the upstream. An open tunnel occupies its connection's `slot`, but is no upstream
/// request any more: tunnels that are quiet for long must not keep requests from being sent.
pub(crate) fn open(
    mut response: Response<UpstreamBody>,
    client: OnUpgrade,
    slot: Option<ConnectionSlot>,
    tasks: &TaskTracker,
) -> Response<ResponseBody> {
    let upstream = hyper::upgrade::on(&mut response);
    let protocol = response.headers().get(header::UPGRADE).cloned();
    tasks.spawn(async move {
        let _slot = slot;
        // An upgrade that fails closes both connections, which tells both sides.
        if let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) {
            let _ =
                tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await;
        }
    });
    response::strip_upstream_headers(response.headers_mut());
    if let Some(protocol) = protocol {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(header::UPGRADE, protocol);
    }
    response.map(|_| ResponseBody::empty())
}
