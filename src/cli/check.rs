//! `sidecache check`: what is in force, and whether the store and the upstream are there.

use std::{process::ExitCode, time::Duration};

use super::Ending;
use crate::{app::open_store, config::Loaded, store::Store, upstream::Upstream};

pub(super) async fn run(loaded: &Loaded, strict: bool) -> Ending {
    let mut ending = Ending::success(table(loaded));
    let warnings = out_of_reach(loaded).await;
    for warning in &warnings {
        let level = if strict { "error" } else { "warning" };
        ending.complaint += &format!("{level}: {warning}\n");
    }
    if strict && !warnings.is_empty() {
        ending.code = ExitCode::FAILURE;
    } else {
        ending.output += "configuration: ok\n";
    }
    ending
}

/// A line a setting, with where it came from, and a line a route.
fn table(loaded: &Loaded) -> String {
    let settings = &loaded.effective;
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let keys = width(&mut settings.iter().map(|setting| setting.key.len()));
    let values = width(&mut settings.iter().map(|setting| setting.shown.len())).min(40);
    let mut text = String::new();
    for setting in settings {
        text += &format!("{:keys$}  {:values$}  ({})\n", setting.key, setting.shown, setting.source);
    }
    text += "\nroutes, the first that covers a request decides:\n";
    for route in &loaded.config.routes {
        let cached =
            if route.cache { format!("{} s", route.ttl.as_secs_f64()) } else { "not cached".to_owned() };
        let origin = if route.builtin { "built in" } else { "file" };
        text += &format!("  {}  {}  {cached}  ({origin})\n", route.name, route.kind);
    }
    text
}

async fn out_of_reach(loaded: &Loaded) -> Vec<String> {
    let mut warnings = Vec::new();
    match open_store(&loaded.config.store).await {
        Ok(Store::Memory(_)) => {}
        Ok(Store::Redis(store)) if store.connected() => {}
        Ok(Store::Redis(store)) => {
            let reason = store.last_error().unwrap_or_else(|| "no answer".to_owned());
            warnings.push(format!(
                "store.redis is out of reach ({reason}); requests would go on to the upstream"
            ));
        }
        Err(error) => warnings.push(format!("store.redis: {error}")),
    }
    let upstream = &loaded.config.upstream;
    if !Upstream::reachable(upstream, upstream.connect_timeout.min(Duration::from_secs(5))).await {
        warnings.push(format!("upstream.url: nothing answers at {}; is the service running?", upstream.url));
    }
    warnings
}
