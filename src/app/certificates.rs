//! The certificates that are shown: those of the listeners, and those for the upstream and for Redis. The files of all but
//! the last are looked at again and again, and operators hear of what is found, and of the end of each.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::lifecycle;
use crate::{
    config::{Config, ListenerUse, LogLevel},
    proxy::{Proxy, state::Live},
    server::Certificate,
    telemetry::stats::{CertificateUse, Stats},
    time::rfc3339,
    tls::{self, FileError},
};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long before a certificate's end its operators are warned, once a day.
const WARNING_TIME: Duration = Duration::from_secs(14 * DAY.as_secs());

/// The certificates of all listeners that speak TLS, and the one for Redis.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    all: Vec<Arc<Certificate>>,
    redis: Option<Shown>,
    stats: Arc<Stats>,
}

/// A certificate that is shown.
#[derive(Clone, Debug)]
struct Shown {
    to: CertificateUse,
    file: PathBuf,
    expires: Option<SystemTime>,
}

impl Certificates {
    pub(super) fn open(config: &Config, stats: Arc<Stats>) -> Result<Self, FileError> {
        let files = [config.tls.clone(), config.admin.tls.clone()];
        let all = files.into_iter().flatten().map(|files| Certificate::open(files).map(Arc::new));
        let certificates = Self { all: all.collect::<Result<_, _>>()?, redis: for_redis(config), stats };
        certificates.measure(&certificates.shown(None));
        Ok(certificates)
    }

    pub(super) fn of(&self, listener: ListenerUse) -> Option<Arc<Certificate>> {
        self.all.iter().find(|certificate| certificate.files().listener == listener).cloned()
    }

    /// Reads what has changed. A file that is of no use changes nothing.
    pub(super) fn refresh(&self, live: &Live) {
        for certificate in &self.all {
            let refreshed = certificate.refresh();
            tell(certificate.files().listener.into(), refreshed, certificate.expires());
        }
        let refreshed = live.upstream.refresh_tls();
        tell(CertificateUse::Upstream, refreshed, live.upstream.certificate_expires());
        self.measure(&self.shown(Some(live)));
    }

    /// What is shown now; to the upstream, as `live` has it.
    fn shown(&self, live: Option<&Live>) -> Vec<Shown> {
        let listeners = self.all.iter().map(|certificate| Shown {
            to: certificate.files().listener.into(),
            file: certificate.files().cert.clone(),
            expires: certificate.expires(),
        });
        let upstream = live.and_then(for_upstream);
        listeners.chain(upstream).chain(self.redis.clone()).collect()
    }

    fn measure(&self, shown: &[Shown]) {
        for to in CertificateUse::ALL {
            let expires = shown.iter().find(|shown| shown.to == *to).and_then(|shown| shown.expires);
            self.stats.certificate_expires(*to, expires);
        }
    }

    /// Looks at the files until this is dropped.
    pub(super) async fn watch(self, proxy: &Proxy) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut warned = [None; CertificateUse::ALL.len()];
        loop {
            ticks.tick().await;
            let live = proxy.live.load_full();
            self.refresh(&live);
            for shown in self.shown(Some(&live)) {
                warn(&shown, &mut warned[shown.to as usize]);
            }
        }
    }
}

/// What the upstream is shown.
fn for_upstream(live: &Live) -> Option<Shown> {
    let (cert, _) = live.config.upstream.tls.client.as_ref()?;
    let expires = live.upstream.certificate_expires();
    Some(Shown { to: CertificateUse::Upstream, file: cert.clone(), expires })
}

/// What Redis is shown: the file as it is at the start. Whether it is of use is found out when the store is opened.
fn for_redis(config: &Config) -> Option<Shown> {
    let (cert, _) = config.store.access.tls.client.as_ref()?;
    let expires = |path: &Path| tls::expiry(&tls::certificates("store.redis_cert", path).ok()?);
    Some(Shown { to: CertificateUse::Redis, expires: expires(cert), file: cert.clone() })
}

/// Warns of a certificate that ends soon, if that is due; `warned` is when that was last done.
fn warn(shown: &Shown, warned: &mut Option<SystemTime>) {
    let (Some(expires), now) = (shown.expires, SystemTime::now()) else { return };
    if !is_due(expires, *warned, now) {
        return;
    }
    *warned = Some(now);
    let members = json!({
        "use": shown.to.as_str(),
        "file": shown.file.display().to_string(),
        "expires": rfc3339(expires),
    });
    lifecycle(LogLevel::Warning, "a certificate ends soon, or has ended", members);
}

/// Tells operators what came of looking at the files of a certificate, which now ends at `expires`.
fn tell<E: Display>(to: CertificateUse, refreshed: Result<bool, E>, expires: Option<SystemTime>) {
    match refreshed {
        Ok(false) => {}
        Ok(true) => {
            let mut members = json!({"use": to.as_str()});
            if let Some(expires) = expires {
                members["expires"] = rfc3339(expires).into();
            }
            lifecycle(LogLevel::Info, "a new certificate is used", members);
        }
        Err(error) => {
            let members = json!({"use": to.as_str(), "error": error.to_string()});
            lifecycle(LogLevel::Error, "a new certificate is of no use: the old one stays", members);
        }
    }
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
