//! The first lines on a terminal, for people: what is in front of what, and where to look.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write as _, stdout},
};

use crate::{
    app::App,
    cache::route::Route,
    config::{ListenAddress, Loaded},
};

/// Prints the lines where standard output is a terminal. Elsewhere it has the log alone.
pub(super) fn print(loaded: &Loaded, app: &App) {
    let mut stdout = stdout();
    if stdout.is_terminal() {
        // A terminal that is gone shows nothing, and is no reason to stop.
        let _ = stdout.write_all(text(loaded, app).as_bytes());
    }
}

fn text(loaded: &Loaded, app: &App) -> String {
    let config = &loaded.config;
    let own = app.address().as_ref().map(shown).unwrap_or_default();
    let admin = app.admin_address().as_ref().map_or_else(|| "off".to_owned(), shown);
    let shown = |key| loaded.setting(key).map(|setting| setting.shown.clone()).unwrap_or_default();
    let store = match config.store.redis {
        Some(_) => shown("store.redis"),
        None => format!("in this process, at most {}", shown("store.max_memory")),
    };
    let lines = [
        ("service", config.upstream.url.to_string()),
        ("clients", own.clone()),
        ("hit rate", format!("{own}{}", config.health_path)),
        ("admin", admin),
        ("store", store),
        ("routes", routes(&config.routes)),
        ("settings", loaded.shown_file().unwrap_or_else(|| "no file".to_owned())),
    ];
    let mut text = format!("sidecache {}\n", env!("CARGO_PKG_VERSION"));
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:8}  {value}");
    }
    text + "\n"
}

fn shown(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => format!("http://{address}"),
        ListenAddress::Unix(_) => address.to_string(),
    }
}

/// How many routes there are, by where they come from, in their order.
fn routes(routes: &[Route]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for route in routes {
        match counts.last_mut().filter(|(origin, _)| *origin == route.origin()) {
            Some((_, count)) => *count += 1,
            None => counts.push((route.origin(), 1)),
        }
    }
    let counts: Vec<_> = counts.into_iter().map(|(origin, count)| format!("{count} ({origin})")).collect();
    format!("{}; `sidecache check` lists them", counts.join(", "))
}
