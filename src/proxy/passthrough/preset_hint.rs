//! One line in the log that names a preset for requests that no route covers: a newcomer in front of a known service
//! waits for a hit that never comes.

use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    config::{LogLevel, covering},
    telemetry::log::events::lifecycle,
};

/// How many requests are looked at: a service that is known shows itself soon.
const MAX_LOOKS: u32 = 1000;

/// What was looked at, and named, so far.
#[derive(Debug, Default)]
pub(crate) struct PresetHint {
    looks: AtomicU32,
    named: Mutex<Vec<&'static str>>,
}

impl PresetHint {
    /// Looks at a request that no route covers. Each preset is named once.
    pub(super) fn look(&self, method: &Method, path: &str) {
        if self.looks.load(Ordering::Relaxed) >= MAX_LOOKS {
            return;
        }
        self.looks.fetch_add(1, Ordering::Relaxed);
        let mut named = self.named.lock();
        let fitting: Vec<_> =
            covering(method, path).into_iter().filter(|(preset, _)| !named.contains(preset)).collect();
        let Some((first, pattern)) = fitting.first().copied() else { return };
        let presets: Vec<_> = fitting.into_iter().map(|(preset, _)| preset).collect();
        named.extend(&presets);
        drop(named);
        let message = format!(
            "no route covers {pattern}: is this {}? then --preset {first} does",
            presets.join(" or ")
        );
        let members = json!({ "pattern": pattern, "presets": presets });
        lifecycle(LogLevel::Warning, &message, members.as_object().unwrap_or(&serde_json::Map::new()));
    }
}
