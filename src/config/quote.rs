//! Values as errors show them.

/// A value in an error: in quotes, not too long, and without what may be a password.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 80;
    let masked = mask(text);
    match masked.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &masked[..end]),
        None => format!("{masked:?}"),
    }
}

/// A URL without the secrets that may be in it.
///
/// What stands before the last `@` is taken for user and password, even where a proper URL would have its
/// `@` elsewhere: too much masked is better than too little. Parameters can hold a password as well (`pass`
/// does for a Unix socket); only those known to hold none are shown.
pub(super) fn mask(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let (mut masked, mut rest) = (url[..start].to_owned(), &url[start..]);
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
