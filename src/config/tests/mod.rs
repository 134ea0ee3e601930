//! Tests of the whole loader. [`load`] is pure, so that each test is a table of texts and results.

mod errors;
mod files;
mod gather;
mod given_routes;
mod jwks;
mod pages;
mod prices;
mod routes;
mod semantic;
mod sources;
mod values;

use super::*;

/// A file that holds `text` and nothing else.
fn file(text: &str) -> Inputs {
    Inputs { file: Some(("s.toml".into(), text.to_owned())), ..Inputs::default() }
}

/// A file whose first line is the upstream.
fn with_upstream(text: &str) -> Inputs {
    file(&format!("upstream.url = \"http://127.0.0.1:8000\"\n{text}"))
}

/// What [`with_upstream`] makes of a text without faults.
fn loaded(text: &str) -> Loaded {
    load(&with_upstream(text)).unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

fn config(text: &str) -> Config {
    loaded(text).config
}

/// What is wrong with the inputs.
fn faults(inputs: &Inputs) -> String {
    match load(inputs) {
        Ok(_) => "nothing".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

/// How a setting is shown, and where it came from.
fn shown(loaded: &Loaded, key: &str) -> (String, String) {
    let own = loaded.effective.iter().find(|own| own.key == key).unwrap_or_else(|| panic!("{key}"));
    (own.shown.clone(), own.source.to_string())
}
