//! Imports point one way: each room of `src/` imports only the rooms that are listed for it, and the pure
//! rooms use no runtime, no Redis, no log and no clock.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Whether the functions of a room depend on their arguments alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purity {
    Pure,
    Effects,
}

use Purity::{Effects, Pure};

/// The rooms from the top down: whether each is pure, and what it may import. `cli` and `app` may import
/// everything.
const ROOMS: [(&str, Purity, &[&str]); 14] = [
    (
        "admin",
        Effects,
        &[
            "proxy",
            "store",
            "request",
            "telemetry",
            "config",
            "cache",
            "dialect",
            "http",
            "json",
            "reason",
            "time",
        ],
    ),
    (
        "proxy",
        Effects,
        &[
            "store",
            "request",
            "telemetry",
            "tls",
            "config",
            "cache",
            "dialect",
            "http",
            "json",
            "reason",
            "time",
        ],
    ),
    ("store", Effects, &["telemetry", "config", "cache", "dialect", "http", "json", "reason", "time"]),
    ("server", Effects, &["request", "telemetry", "tls", "config", "http"]),
    ("telemetry", Effects, &["config", "cache", "dialect", "http", "json", "reason", "time"]),
    ("tls", Effects, &[]),
    ("config", Effects, &["cache", "dialect", "http", "json", "reason", "time"]),
    ("request", Pure, &["cache", "dialect", "http", "json", "reason", "time"]),
    ("cache", Pure, &["dialect", "http", "json", "reason", "time"]),
    ("dialect", Pure, &["http", "json", "reason", "time"]),
    ("http", Pure, &[]),
    ("json", Pure, &[]),
    ("reason", Pure, &[]),
    ("time", Effects, &[]),
];

/// The rooms at the root besides those.
const ABOVE_AND_BELOW: [&str; 4] = ["cli", "app", "lib", "main"];

/// Text that brings effects, or the time, into a file.
const EFFECTS: [&str; 6] =
    ["tokio::", "redis::", "tracing::", "Instant::now(", "SystemTime::now(", "crate::telemetry"];

/// The files of a room without their tests and comments.
fn sources(room: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.join(room)];
    let file = root.join(format!("{room}.rs"));
    if file.exists() {
        found.push(file);
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    let is_source = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let tests = ["tests.rs", "properties.rs", "testing.rs"];
        name.ends_with(".rs")
            && !tests.contains(&name)
            && !path.strip_prefix(&root).is_ok_and(|path| path.iter().any(|part| part == "tests"))
    };
    found.retain(is_source);
    assert!(!found.is_empty(), "no source of {room}");
    found.into_iter().map(|path| (path.clone(), code(&fs::read_to_string(&path).expect("a text")))).collect()
}

fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The rooms that a file names behind `crate::`, alone or as the first of a path in braces.
fn imported(code: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(tree) = rest.strip_prefix('{') else {
            rooms.insert(name(rest));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (place, c) in tree.char_indices() {
            if begins && depth == 0 {
                rooms.insert(name(&tree[place..]));
                begins = false;
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ => {}
            }
        }
    }
    rooms.remove("");
    rooms
}

#[test]
fn imports_point_one_way() {
    for (room, _, allowed) in ROOMS {
        for (path, code) in sources(room) {
            for other in imported(&code) {
                let is_allowed = other == room || allowed.contains(&&*other);
                assert!(is_allowed, "{}: {room} must not import {other}", path.display());
            }
        }
    }
}

#[test]
fn every_room_has_its_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut count = 0;
    for entry in fs::read_dir(root).expect("the source") {
        let path = entry.expect("an entry").path();
        let room = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let has_rule = ROOMS.iter().any(|(known, ..)| *known == room) || ABOVE_AND_BELOW.contains(&&*room);
        assert!(has_rule, "{room} is no room that is known here");
        count += 1;
    }
    assert!(count <= 18, "{count} rooms");
}

#[test]
fn pure_rooms_have_no_effects() {
    for (room, ..) in ROOMS.into_iter().filter(|(_, purity, _)| *purity == Pure) {
        for (path, code) in sources(room) {
            for effect in EFFECTS {
                assert!(!code.contains(effect), "{}: `{effect}` in a pure room", path.display());
            }
        }
    }
}

#[test]
fn imports_are_found() {
    let code = "use crate::{a::{b, c}, d::e, self_test};\nfn f() { crate::g::h(); }\nuse crate::i;";
    let expected = ["a", "d", "g", "i", "self_test"].map(str::to_owned);
    assert_eq!(imported(code), BTreeSet::from(expected));
}
