//! The certificates of the listeners, and those for the upstream: their files are looked at again and again, and
//! operators hear of what they find.

use std::{
    fmt::Display,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::lifecycle;
use crate::{
    config::{Config, ListenerUse, LogLevel},
    proxy::{Proxy, state::Live},
    server::Certificate,
    telemetry::stats::Stats,
    time::rfc3339,
    tls::FileError,
};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long before a certificate's end its operators are warned, once a day.
const WARNING_TIME: Duration = Duration::from_secs(14 * DAY.as_secs());

/// The certificates of all listeners that speak TLS.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    all: Vec<Arc<Certificate>>,
    stats: Arc<Stats>,
}

impl Certificates {
    pub(super) fn open(config: &Config, stats: Arc<Stats>) -> Result<Self, FileError> {
        let files = [config.tls.clone(), config.admin.tls.clone()];
        let all = files.into_iter().flatten().map(|files| Certificate::open(files).map(Arc::new));
        let certificates = Self { all: all.collect::<Result<_, _>>()?, stats };
        certificates.measure();
        Ok(certificates)
    }

    pub(super) fn of(&self, listener: ListenerUse) -> Option<Arc<Certificate>> {
        self.all.iter().find(|certificate| certificate.files().listener == listener).cloned()
    }

    /// Reads what has changed. A file that is of no use changes nothing.
    pub(super) fn refresh(&self) {
        for certificate in &self.all {
            let refreshed = certificate.refresh();
            let expires = certificate.expires().map(rfc3339);
            tell(certificate.files().listener.as_str(), refreshed, json!({"expires": expires}));
        }
        self.measure();
    }

    fn measure(&self) {
        for certificate in &self.all {
            self.stats.certificate_expires(certificate.files().listener, certificate.expires());
        }
    }

    /// Looks at the files until this is dropped.
    pub(super) async fn watch(self, proxy: &Proxy) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut warned = [None; ListenerUse::ALL.len()];
        loop {
            ticks.tick().await;
            self.refresh();
            refresh_upstream(&proxy.live.load());
            for (certificate, warned) in self.all.iter().zip(&mut warned) {
                self.warn(certificate, warned);
            }
        }
    }

    fn warn(&self, certificate: &Certificate, warned: &mut Option<SystemTime>) {
        let (Some(expires), now) = (certificate.expires(), SystemTime::now()) else { return };
        if !is_due(expires, *warned, now) {
            return;
        }
        *warned = Some(now);
        let files = certificate.files();
        let members = json!({
            "use": files.listener.as_str(),
            "file": files.cert.display().to_string(),
            "expires": rfc3339(expires),
        });
        lifecycle(LogLevel::Warning, "a certificate ends soon, or has ended", members);
    }
}

/// Tells operators what came of looking at the files for `whom`; `members` say more of new ones.
fn tell<E: Display>(whom: &str, refreshed: Result<bool, E>, mut members: Value) {
    members["use"] = whom.into();
    match refreshed {
        Ok(false) => {}
        Ok(true) => lifecycle(LogLevel::Info, "a new certificate is used", members),
        Err(error) => {
            let members = json!({"use": whom, "error": error.to_string()});
            lifecycle(LogLevel::Error, "a new certificate is of no use: the old one stays", members);
        }
    }
}

/// Reads the files for the upstream that have changed.
fn refresh_upstream(live: &Live) {
    tell("upstream", live.upstream.refresh_tls(), json!({}));
}

/// Whether to warn of an end at `expires`, if that was last done at `warned`.
fn is_due(expires: SystemTime, warned: Option<SystemTime>, now: SystemTime) -> bool {
    let is_near = expires.duration_since(now).map_or(true, |left| left < WARNING_TIME);
    let is_news = warned.is_none_or(|at| now.duration_since(at).is_ok_and(|since| since >= DAY));
    is_near && is_news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_two_weeks_before_and_then_once_a_day() {
        let now = SystemTime::UNIX_EPOCH + 1000 * DAY;
        for (days_left, warned_days_ago, due) in [
            (15, None, false),
            (13, None, true),
            (13, Some(0), false),
            (12, Some(1), true),
            (-1, None, true),
            (-1, Some(0), false),
        ] {
            let days = |days: i32| DAY * days.unsigned_abs();
            let expires = if days_left < 0 { now - days(days_left) } else { now + days(days_left) };
            let warned = warned_days_ago.map(|ago: i32| now - days(ago));
            assert_eq!(is_due(expires, warned, now), due, "{days_left} {warned_days_ago:?}");
        }
    }
}
