//! `sidecache check`: what is in force, and whether the store and the upstream are there.

use std::{process::ExitCode, time::Duration};

use super::Ending;
use crate::{
    app::open_store,
    config::{ConfigError, Errors, Loaded},
    proxy::upstream::Upstream,
    store::{OpenError, Store},
};

pub(super) async fn run(loaded: &Loaded, strict: bool) -> Ending {
    let store = match open_store(&loaded.config.store).await {
        Ok(store) => store,
        Err(OpenError { setting, reason }) => {
            let source = loaded.source(setting);
            return Ending::misconfigured(&Errors(vec![ConfigError::new(source, setting, &reason)]));
        }
    };
    let mut ending = Ending::success(table(loaded));
    let warnings = [without_effect(loaded), out_of_reach(loaded, &store).await].concat();
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

/// What an operator may rely on, and is not there.
fn without_effect(loaded: &Loaded) -> Vec<String> {
    let store = &loaded.config.store;
    let is_plain = store.redis.is_none() && store.encryption_key.is_some();
    let warning =
        "store.encryption_key has no effect without store.redis: what is kept in this process is not sealed";
    is_plain.then(|| warning.to_owned()).into_iter().collect()
}

async fn out_of_reach(loaded: &Loaded, store: &Store) -> Vec<String> {
    let mut warnings = Vec::new();
    match store {
        Store::Memory(_) => {}
        Store::Redis(store) if store.client().connected() => {}
        Store::Redis(store) => {
            let reason = store.client().last_error().unwrap_or_else(|| "no answer".to_owned());
            warnings.push(format!(
                "store.redis is out of reach ({reason}); requests would go on to the upstream"
            ));
        }
    }
    let upstream = &loaded.config.upstream;
    if !Upstream::reachable(upstream, upstream.connect_timeout.min(Duration::from_secs(5))).await {
        warnings.push(format!("upstream.url: nothing answers at {}; is the service running?", upstream.url));
    }
    warnings
}
