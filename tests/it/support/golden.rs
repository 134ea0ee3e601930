//! Golden files: expected texts, in which the values that vary from run to run are replaced.

use std::path::Path;

use serde_json::Value;

/// Compares `received` with a golden file line by line; with `UPDATE_GOLDEN` set, writes the file instead.
#[track_caller]
pub(crate) fn assert_golden(file: &str, received: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, received).expect("a file");
    }
    let golden = std::fs::read_to_string(&path).expect("a golden file; UPDATE_GOLDEN=1 writes it");
    let (golden, received): (Vec<_>, Vec<_>) = (golden.lines().collect(), received.lines().collect());
    for (index, (golden, received)) in golden.iter().zip(&received).enumerate() {
        assert_eq!(golden, received, "{file}:{}; UPDATE_GOLDEN=1 takes it over", index + 1);
    }
    assert_eq!(golden.len(), received.len(), "{file} has another number of lines");
}

/// `value` with every value that varies replaced by its name.
pub(crate) fn stable(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), stable_member(name, value))).collect()
        }
        Value::Array(items) => items.iter().map(stable).collect(),
        Value::String(text) => stable_text(text).into(),
        other => other.clone(),
    }
}

fn stable_member(name: &str, value: &Value) -> Value {
    match name {
        "timestamp" | "version" | "memory_used" if value.is_string() => format!("<{name}>").into(),
        "duration_ms" | "uptime_seconds" | "seconds_saved" if value.is_f64() => format!("<{name}>").into(),
        "age" | "ttl" if value.is_u64() => format!("<{name}>").into(),
        _ => stable(value),
    }
}

/// Digests, ports and times in a text.
fn stable_text(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        if let Some((before, digest)) = word.rsplit_once(':') {
            if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return format!("{before}:<digest>");
            }
            if before.ends_with("127.0.0.1") {
                return format!("{before}:<port>");
            }
        }
        if word.parse::<f64>().is_ok() && text.ends_with(" ms") { "<n>".to_owned() } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}
