//! The files under `config/`: they load, hold every setting, and agree with the table.

use super::*;
use crate::config::settings::{PRICE_KEYS, ROUTE_KEYS, SETTINGS};

const FULL: &str = include_str!("../../../config/sidecache.toml");
const MINIMAL: &str = include_str!("../../../config/minimal.toml");

/// A `#` before a key or a table's header takes a line back; before a space it begins a remark.
fn uncommented(text: &str) -> String {
    let active = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let lines = text.lines().map(|line| line.strip_prefix('#').filter(|rest| active(rest)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn both_load_as_they_are() {
    let wanted = loaded("");
    for text in [FULL, MINIMAL] {
        let loaded = load(&file(text)).unwrap_or_else(|errors| panic!("{errors}"));
        for (own, default) in loaded.effective.iter().zip(&wanted.effective) {
            assert_eq!((own.key, &own.shown), (default.key, &default.shown));
        }
        assert_eq!(loaded.config.routes.len(), wanted.config.routes.len());
        assert_eq!(loaded.config.prices, wanted.config.prices);
    }
}

#[test]
fn every_line_that_is_commented_out_is_the_default_or_an_example() {
    // Files for TLS to the upstream need such a URL.
    let url = "upstream.url = \"https://127.0.0.1:8000\"";
    let text = uncommented(FULL)
        .replace("\"http://127.0.0.1:8000\"", "\"https://127.0.0.1:8000\"")
        // Keys come from one place.
        .replace("file = \"/etc/sidecache/jwks.json\"", "")
        // So do vectors.
        .replace("model_dir = \"/models/all-MiniLM-L6-v2\"", "")
        // With Redis there is no state file.
        .replace("state = \"/var/lib/sidecache/semantic.state\"", "");
    let [loaded, wanted] =
        [&text, url].map(|text| load(&file(text)).unwrap_or_else(|errors| panic!("{errors}")));
    let settings = SETTINGS.iter().zip(loaded.effective.iter().zip(&wanted.effective));
    let left_out = ["jwks.file", "semantic.model_dir", "semantic.state"];
    for (setting, (own, default)) in settings.filter(|(setting, _)| !left_out.contains(&setting.key)) {
        assert!(matches!(own.source, Source::File { .. }), "{} is not in the file", setting.key);
        let example = setting.default.is_none() && own.shown != "none";
        assert!(example || own.shown == default.shown, "{}: {} is not the default", setting.key, own.shown);
    }
    assert_eq!(loaded.config.routes[0].name, "support-chat");
    assert_eq!(
        loaded.config.prices.iter().map(|price| price.model.as_str()).collect::<Vec<_>>(),
        ["gpt-4o*"]
    );
}

#[test]
fn the_full_file_says_what_the_table_says_in_its_order() {
    let text = uncommented(FULL);
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    let mut find = |key: &str, about: &str, names: &[&str]| {
        let found = lines[at..].iter().position(|line| line.starts_with(&format!("{key} = ")));
        at += found.unwrap_or_else(|| panic!("{key} is missing or out of order"));
        let remark = lines[at - 1];
        assert!(remark.contains(about), "{key}: {remark}");
        assert!(names.iter().all(|name| remark.contains(name)), "{key}: {remark} without {names:?}");
        at += 1;
        remark.to_owned()
    };
    for setting in &SETTINGS {
        let names: Vec<_> = [setting.flag, setting.env].into_iter().flatten().collect();
        let remark = find(setting.name(), setting.about, &names);
        assert_eq!(remark.ends_with("Restart."), !setting.reload, "{}: {remark}", setting.key);
    }
    for key in ROUTE_KEYS.iter().chain(&PRICE_KEYS) {
        find(key.key, key.about, &[]);
    }
}

#[test]
fn names_in_the_table_are_unique() {
    let unique = |names: Vec<&str>| {
        let count = names.len();
        let set: std::collections::BTreeSet<_> = names.into_iter().collect();
        assert_eq!(set.len(), count, "{set:?}");
    };
    unique(SETTINGS.iter().map(|setting| setting.key).collect());
    unique(SETTINGS.iter().filter_map(|setting| setting.env).collect());
    unique(SETTINGS.iter().filter_map(|setting| setting.flag).collect());
    unique(ROUTE_KEYS.iter().map(|route| route.key).collect());
    unique(PRICE_KEYS.iter().map(|price| price.key).collect());
}
