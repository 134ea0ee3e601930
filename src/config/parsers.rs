//! The formats of single settings: addresses, URLs, scopes, names of headers.

use std::{net::IpAddr, path::PathBuf};

use http::{Uri, uri::Authority};
use ipnet::IpNet;

use super::{
    LogFormat, LogLevel, Readiness, Secret,
    quote::quote,
    suggest::closest,
    value::{Format, TEXT, Value, join, list_of, one_of, refuse_repeats},
};
use crate::{
    cache::{encryption::EncryptionKey, identity::ScopePart, model::ModelPattern, route::Scope},
    http::headers::HeaderPattern,
};

/// The base of a collector, or its whole URL for traces.
pub(super) const COLLECTOR_URL: Format<Uri> = Format {
    parse: |value| parse_http_url(value.text("the URL of a collector")?),
    // `Uri` shows an empty path as `/`.
    show: |url| url.to_string().trim_end_matches('/').to_owned(),
};

/// Parses an `http://` or `https://` URL without user, query and fragment.
///
/// # Errors
/// A text for the operator: what is wrong, and how such a URL is written.
pub(super) fn parse_http_url(text: &str) -> Result<Uri, String> {
    let how = "write http://HOST:PORT or https://HOST, with a path where the service has one";
    let Some((scheme, rest)) = text.split_once("://") else {
        let guess = format!("http://{text}");
        return Err(match parse_http_url(&guess) {
            Ok(_) => format!("{} has no scheme; did you mean {guess}?", quote(text)),
            Err(_) => format!("{} is no URL; {how}", quote(text)),
        });
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(format!("{} is neither http:// nor https://; {how}", quote(text)));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    for (is_wrong, what) in [
        (authority.contains('@'), "a user or a password: callers send their own credentials"),
        (rest.contains('?'), "a query"),
        (rest.contains('#'), "a fragment"),
    ] {
        if is_wrong {
            return Err(format!("must not have {what}; {how}"));
        }
    }
    let no_url = || format!("{} is no URL; {how}", quote(text));
    let url: Uri = format!("{scheme}://{}", rest.trim_end_matches('/')).parse().map_err(|_| no_url())?;
    let host = url.host().filter(|host| !host.is_empty()).ok_or_else(no_url)?;
    // `Uri` ignores an invalid port, and would connect to another service.
    if authority.len() > host.len() && url.port_u16().is_none_or(|port| port == 0) {
        return Err(format!("{} has no valid port; {how}", quote(text)));
    }
    Ok(url)
}

pub(super) const ENCRYPTION_KEY: Format<EncryptionKey> = Format {
    parse: |value| {
        let how = "32 bytes, as 64 hexadecimal digits or in base64; `openssl rand -hex 32` makes some";
        EncryptionKey::parse(value.text(how)?).ok_or_else(|| format!("is no key; it takes {how}"))
    },
    show: EncryptionKey::expose,
};

/// A token that a header can carry: no spaces, ASCII only.
/// A text that is shown nowhere.
pub(super) const SECRET: Format<Secret> = Format {
    parse: |value| value.text("a password").map(Secret::new),
    show: |secret| secret.expose().to_owned(),
};

pub(super) const TOKEN: Format<Secret> = Format {
    parse: |value| {
        let text = value.text("a text")?;
        if text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Secret::new(text))
        } else {
            Err("has characters that a bearer token cannot; write letters, digits and signs of ASCII, no \
                 spaces"
                .to_owned())
        }
    },
    show: |token| token.expose().to_owned(),
};

/// The host names of the admin listener, lower case, without a port.
pub(super) const HOSTS: Format<Vec<String>> = Format {
    parse: |value| {
        list_of(value, "a list of host names", |text| {
            let no_host = || format!("{} is no host name; write it without scheme and port", quote(text));
            let authority: Authority = text.parse().map_err(|_| no_host())?;
            // They are equal only without a user and a port.
            if authority.host() == text { Ok(text.to_ascii_lowercase()) } else { Err(no_host()) }
        })
    },
    show: |hosts| show_list(hosts),
};

/// As many as are counted apart, and fewer than counters have room for: reloads may bring others.
const MAX_MODELS: usize = 100;

pub(super) const MODELS: Format<Vec<ModelPattern>> = Format {
    parse: |value| {
        let models = list_of(value, "a list of models, as in [\"gpt-4o*\"]", |text| match text {
            "" => Err("\"\" is no model; write a name, or a part of one and *".to_owned()),
            text => Ok(ModelPattern::new(text)),
        })?;
        match models.len() {
            0..=MAX_MODELS => Ok(models),
            more => {
                Err(format!("has {more} models; write at most {MAX_MODELS}: each has counters of its own"))
            }
        }
    },
    show: |models| show_list(models.iter().map(ModelPattern::as_str)),
};

pub(super) const NETWORKS: Format<Vec<IpNet>> = Format {
    parse: |value| {
        list_of(value, "a list of addresses and networks", |text| {
            text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                format!("{} is no address or network; write 10.0.0.7 or 10.0.0.0/8", quote(text))
            })
        })
    },
    show: |networks| show_list(networks),
};

/// Header names and their prefixes, each with its text.
pub(super) const HEADER_PATTERNS: Format<Vec<(String, HeaderPattern)>> = Format {
    parse: |value| {
        list_of(value, "a list of header names", |text| {
            Ok((text.to_ascii_lowercase(), HeaderPattern::parse(text)?))
        })
    },
    show: |patterns| show_list(patterns.iter().map(|(text, _)| text)),
};

pub(super) const SCOPE: Format<Scope> = Format {
    parse: |value| {
        const TAKES: &str = "\"credential\", \"shared\", or a list of headers and claims";
        if let Value::Text(text) = value
            && !["credential", "shared"].contains(&text.as_str())
        {
            let hint = match closest(text, ["credential", "shared"]) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("write {TAKES}, as in [\"x-tenant\", \"jwt:sub\"]"),
            };
            return Err(format!("{} is no scope; {hint}", quote(text)));
        }
        match value.text(TAKES) {
            Ok("credential") => return Ok(Scope::Credential),
            Ok("shared") => return Ok(Scope::Shared),
            _ => {}
        }
        let parts = list_of(value, TAKES, scope_part)?;
        if parts.is_empty() {
            return Err(
                "names no header, so that everyone would share; write \"shared\" to have that".to_owned()
            );
        }
        Ok(Scope::from_parts(parts))
    },
    show: |scope| match scope {
        Scope::Credential => "credential".to_owned(),
        Scope::Shared => "shared".to_owned(),
        Scope::Headers(names) => join(names),
        Scope::Identity(scope) => join(scope.texts()),
    },
};

/// A misspelt `credential` must not become a header that nobody sends: everyone would share then.
fn scope_part(text: &str) -> Result<ScopePart, String> {
    match closest(text, ["credential", "shared"]) {
        Some(word) if word == text => Err(format!("`{word}` is no header and stands alone")),
        Some(word) => Err(format!("{} is no scope; did you mean `{word}`?", quote(text))),
        None => text.parse(),
    }
}

/// In capitals, as the log writes them, or not.
pub(super) const LOG_LEVEL: Format<LogLevel> = Format {
    parse: |value| match value {
        Value::Text(text) | Value::Bare(text) => LEVELS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map_or_else(|| one_of(value, &LEVELS), |(_, level)| Ok(*level)),
        other => one_of(other, &LEVELS),
    },
    show: |level| LEVELS.iter().find(|(_, own)| own == level).map_or("", |(name, _)| name).to_owned(),
};

const LEVELS: [(&str, LogLevel); 4] = [
    ("DEBUG", LogLevel::Debug),
    ("INFO", LogLevel::Info),
    ("WARNING", LogLevel::Warning),
    ("ERROR", LogLevel::Error),
];

pub(super) const LOG_FORMAT: Format<LogFormat> = Format {
    parse: |value| one_of(value, &FORMATS),
    show: |format| FORMATS.iter().find(|(_, own)| own == format).map_or("", |(name, _)| name).to_owned(),
};

const FORMATS: [(&str, LogFormat); 2] = [("json", LogFormat::Json), ("text", LogFormat::Text)];

/// Whether the upstream gets the client's `Host`.
pub(super) const HOST_MODE: Format<bool> = Format {
    parse: |value| one_of(value, &[("upstream", false), ("preserve", true)]),
    show: |preserve| if *preserve { "preserve" } else { "upstream" }.to_owned(),
};

pub(super) const PATH: Format<PathBuf> =
    Format { parse: |value| (TEXT.parse)(value).map(PathBuf::from), show: |path| path.display().to_string() };

pub(super) const NAMESPACE: Format<String> = Format {
    parse: |value| {
        let text = value.text("a text")?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if text.bytes().all(plain) {
            Ok(text.to_owned())
        } else {
            Err(format!("{} is no namespace; write letters, digits, `_`, `-` and `.`", quote(text)))
        }
    },
    show: String::clone,
};

pub(super) const HEALTH_PATH: Format<String> = Format {
    parse: |value| {
        let text = value.text("a path")?;
        let plain = text.len() > 1
            && text.starts_with('/')
            && !text.ends_with('/')
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b));
        if plain {
            Ok(text.to_owned())
        } else {
            Err(format!("{} is no path for the health page; write one like /health", quote(text)))
        }
    },
    show: String::clone,
};

const READINESS: [(&str, Readiness); 3] =
    [("draining", Readiness::Draining), ("upstream", Readiness::Upstream), ("store", Readiness::Store)];

/// What takes readiness away.
pub(super) const READY: Format<Vec<Readiness>> = Format {
    parse: |value| {
        let names = value.texts("a list of draining, upstream and store")?;
        refuse_repeats(&names)?;
        names.into_iter().map(|name| one_of(&Value::Text(name.to_owned()), &READINESS)).collect()
    },
    show: |ready| show_list(READINESS.iter().filter(|(_, own)| ready.contains(own)).map(|(name, _)| name)),
};

pub(super) fn show_list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let shown = join(items);
    if shown.is_empty() { super::NOTHING.to_owned() } else { shown }
}
