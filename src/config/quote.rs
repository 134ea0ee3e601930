//! Quotes values in errors, without their secrets.

/// `text` in quotes, shortened, and without what may be a password.
pub(super) fn quote(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let masked = mask(text);
    match masked.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", &masked[..end]),
        None => format!("{masked:?}"),
    }
}

/// A URL without the secrets that may be in it.
///
/// Everything before the last `@` counts as user and password, even if a proper URL would have its `@`
/// elsewhere: too much masked is better than too little. A parameter can be a password, too (`pass` of a Unix
/// socket), so that only those known to be none are shown.
pub(super) fn mask(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let mut masked = url[..start].to_owned();
    let mut rest = &url[start..];
    if let Some((userinfo, after)) = rest.rsplit_once('@') {
        if let Some((user, _)) = userinfo.split_once(':') {
            masked.push_str(user);
            masked.push(':');
        }
        masked.push_str("***@");
        rest = after;
    }
    let Some((before, query)) = rest.split_once('?') else { return masked + rest };
    let (query, fragment) = query.find('#').map_or((query, ""), |at| query.split_at(at));
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if !matches!(name, "db" | "protocol" | "user") => format!("{name}=***"),
        _ => parameter.to_owned(),
    });
    format!("{masked}{before}?{}{fragment}", parameters.collect::<Vec<_>>().join("&"))
}
