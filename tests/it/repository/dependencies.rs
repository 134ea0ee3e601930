//! What the dependencies are and where they come from, by the rules of `deny.toml`: on every machine, also
//! where cargo-deny is not installed.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

/// Where crates may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The packages of this repository.
const OWN: [&str; 3] = ["sidecache", "sidecache-bench", "sidecache-examples"];

/// All packages of a build on Linux; the build of this test has fetched them.
fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--format-version", "1"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let received = cargo.output().expect("cargo runs");
    assert!(received.status.success(), "{}", String::from_utf8_lossy(&received.stderr));
    let received: Value = serde_json::from_slice(&received.stdout).expect("JSON");
    received["packages"].as_array().expect("packages").clone()
}

/// The licences that `deny.toml` allows.
fn allowed() -> BTreeSet<String> {
    let rules = include_str!("../../../deny.toml");
    let (_, list) = rules.split_once("allow = [").expect("a list");
    let (list, _) = list.split_once(']').expect("its end");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be met by what is allowed: `OR` chooses, `AND` asks for both and binds more
/// tightly.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let (met, rest) = either(&words, allowed);
    assert!(rest.is_empty(), "{expression}: {rest:?} is left");
    met
}

fn either<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = both(words, allowed);
    while let ["OR", more @ ..] = rest {
        let (other, after) = both(more, allowed);
        (met, rest) = (met || other, after);
    }
    (met, rest)
}

fn both<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = one(words, allowed);
    while let ["AND", more @ ..] = rest {
        let (other, after) = one(more, allowed);
        (met, rest) = (met && other, after);
    }
    (met, rest)
}

fn one<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => {
            let (met, rest) = either(inner, allowed);
            let [")", rest @ ..] = rest else { panic!("no end in {words:?}") };
            (met, rest)
        }
        [licence, "WITH", exception, rest @ ..] => {
            (allowed.contains(&format!("{licence} WITH {exception}")), rest)
        }
        [licence, rest @ ..] => (allowed.contains(*licence), rest),
        [] => panic!("an expression ends too soon"),
    }
}

#[test]
fn license_expressions_are_parsed() {
    let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned));
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0 AND MIT OR ISC", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(is_met(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_dependency_is_from_the_registry_under_an_allowed_licence() {
    let (packages, allowed) = (packages(), allowed());
    assert!(packages.len() > 100, "{} packages", packages.len());
    for package in packages {
        let name = format!("{} {}", package["name"], package["version"]);
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} names no licence"));
        assert!(is_met(licence, &allowed), "{name}: {licence}");
        // The project itself has no source.
        assert!(
            package["source"].is_null() || package["source"] == REGISTRY,
            "{name}: {}",
            package["source"]
        );
        let is_own = package["name"].as_str().is_some_and(|name| OWN.contains(&name));
        assert!(!package["source"].is_null() || is_own, "{name} is of a folder");
    }
}
