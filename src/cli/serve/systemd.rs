//! What systemd hands over, and what it is told: sockets, and the state of the service (`Type=notify-reload`).
//!
//! Elsewhere, neither is in the environment, and nothing happens.

use std::{env, io, time::Duration};

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::{app::Inherited, server::Listener};

/// The name of the admin listener's socket (`FileDescriptorName=`). The other one is for clients.
const ADMIN: &str = "admin";

/// Takes the sockets that were handed over. They must be taken before other threads look at the environment.
///
/// # Errors
/// A text for the operator, if there are others than a listener for clients and one named `admin`.
pub(super) fn sockets() -> Result<Inherited, String> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<_> = names.split(':').collect();
    let mut sockets = ListenFd::from_env();
    let mut inherited = Inherited::default();
    for index in 0..sockets.len() {
        let is_admin = names.get(index) == Some(&ADMIN);
        let place = if is_admin { &mut inherited.admin } else { &mut inherited.listener };
        if place.is_some() {
            return Err(format!(
                "{} sockets were handed over (LISTEN_FDS): give one for clients, and one that is named `{ADMIN}`",
                sockets.len()
            ));
        }
        let listener = listener(&mut sockets, index);
        *place =
            Some(listener.map_err(|error| format!("a socket that was handed over is of no use: {error}"))?);
    }
    Ok(inherited)
}

fn listener(sockets: &mut ListenFd, index: usize) -> io::Result<Listener> {
    if let Ok(Some(socket)) = sockets.take_unix_listener(index) {
        return Listener::inherited_unix(socket);
    }
    match sockets.take_tcp_listener(index)? {
        Some(socket) => Listener::inherited_tcp(socket),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// What the service does.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// It serves, or has reloaded.
    Ready,
    Reloading,
    Stopping,
}

/// Tells systemd. A service that nobody watches goes on all the same.
pub(super) fn tell(state: State) {
    let _ = match state {
        State::Ready => sd_notify::notify(&[NotifyState::Ready]),
        State::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
            Err(error) => Err(error),
        },
        State::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
}

/// Where systemd restarts a service that is silent (`WatchdogSec=`): tells it, twice in that time, that this one runs.
pub(super) fn keep_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
        loop {
            ticks.tick().await;
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    });
}
