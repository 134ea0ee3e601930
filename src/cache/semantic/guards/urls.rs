//! URLs and e-mail addresses, without what does not change where they lead.

/// Endings of host names that are not words with a full stop before them.
const DOMAINS: [&str; 24] = [
    "com", "org", "net", "io", "dev", "ai", "app", "co", "edu", "gov", "info", "eu", "de", "fr", "uk", "ch",
    "at", "es", "it", "nl", "pl", "us", "ca", "jp",
];

/// The address, if this is one.
pub(super) fn read(core: &str) -> Option<String> {
    let lower = core.to_lowercase();
    if let Some((_, rest)) = lower.split_once("://") {
        return Some(plain(rest, core));
    }
    if lower.starts_with("www.") || is_email(&lower) || has_host(&lower) {
        return Some(plain(&lower, core));
    }
    None
}

fn is_email(lower: &str) -> bool {
    lower.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
}

/// Whether it begins with a host's name.
fn has_host(lower: &str) -> bool {
    let host = lower.split(['/', ':', '?', '#']).next().unwrap_or_default();
    let Some((name, last)) = host.rsplit_once('.') else { return false };
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
    };
    let has_letter = name.chars().any(char::is_alphabetic);
    DOMAINS.contains(&last) && has_letter && name.split('.').all(is_label)
}

/// The host in lower case, the rest as it is, without a slash at the end. `lower` has no scheme.
fn plain(lower: &str, core: &str) -> String {
    let rest = &core[core.len().saturating_sub(lower.len()).min(core.len())..];
    let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(cut).unwrap_or((rest, ""));
    let host = host.to_lowercase();
    format!("{}{}", host.strip_prefix("www.").unwrap_or(&host), path.trim_end_matches('/'))
}
