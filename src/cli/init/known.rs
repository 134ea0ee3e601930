//! Which preset a service is for, by the paths that it has. Pure.

use crate::config::preset_paths;

/// A preset is recognised by at least so many paths, and by this share of those that it caches.
const LEAST: usize = 2;
const SHARE: (usize, usize) = (3, 5);

/// The preset with the most paths of a service; `has` says whether the service has a path, as `METHOD PATH` with any
/// names in braces.
pub(super) fn preset_for(has: impl Fn(&str) -> bool) -> Option<(&'static str, Vec<&'static str>)> {
    let mut best: Option<(&'static str, Vec<&'static str>)> = None;
    for (preset, paths) in preset_paths() {
        let found: Vec<_> = paths.iter().copied().filter(|path| has(path)).collect();
        let is_enough = found.len() >= LEAST && found.len() * SHARE.1 >= paths.len() * SHARE.0;
        if is_enough && best.as_ref().is_none_or(|(_, most)| most.len() < found.len()) {
            best = Some((preset, found));
        }
    }
    best
}

/// A path without the names in its braces, which each description gives in its own way.
pub(super) fn without_names(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut is_in_name = false;
    for letter in path.chars() {
        match letter {
            '{' => is_in_name = true,
            '}' => {
                is_in_name = false;
                plain.push_str("{}");
            }
            _ if is_in_name => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_by_most_of_its_paths() {
        let lightrag = ["POST /query", "POST /query/stream", "POST /query/data", "POST /api/chat"];
        let preset = |paths: &[&str]| preset_for(|path| paths.contains(&path)).map(|(preset, _)| preset);
        assert_eq!(preset(&lightrag), Some("lightrag"));
        assert_eq!(preset(&["POST /query"]), None);
        assert_eq!(preset(&[]), None);
        assert_eq!(without_names("GET /a/{some_id}/b-{x}"), "GET /a/{}/b-{}");
    }
}
