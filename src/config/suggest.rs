//! Suggestions for misspelt names.

/// The one of `known` that `given` probably means.
///
/// At most a third of the letters may differ, or `given` is its beginning (`WARN`). Case does not count, and
/// `-` is `_`.
pub(super) fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let given = plain(given);
    let distance = |name: &str| {
        let name = plain(name);
        if given.chars().count() >= 3 && name.starts_with(&given) {
            return Some(1);
        }
        let distance = strsim::damerau_levenshtein(&given, &name);
        (distance <= given.chars().count().max(name.chars().count()) / 3).then_some(distance)
    };
    known
        .into_iter()
        .filter_map(|name| distance(name).map(|d| (d, name)))
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// ``; did you mean `name`?``, or nothing.
pub(super) fn did_you_mean(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
