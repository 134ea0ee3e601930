//! The settings of the keys that tokens are signed with.

use std::{path::PathBuf, time::Duration};

use super::{
    parsers::{PATH, show_list},
    settings_reader::SettingsReader,
    target_url::TargetUrl,
    value::{DURATION, Format, TIMEOUT, list_of},
};
use crate::cache::identity::Rules;

/// How long a server of keys may take for a connection, for its answer, and between two pieces of that.
pub(crate) const JWKS_PATIENCE: Duration = Duration::from_secs(5);

/// Where the keys are, and what else a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JwksConfig {
    pub(crate) source: JwksSource,
    pub(crate) rules: Rules,
    /// How long keys are used before they are asked for again.
    pub(crate) refresh: Duration,
}

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JwksSource {
    /// On a server; the authorities that vouch for it are in the file.
    Url(TargetUrl, Option<PathBuf>),
    File(PathBuf),
}

const URL: Format<TargetUrl> = Format {
    parse: |value| TargetUrl::parse(value.text("the URL of a JWKS")?, "a JWKS", "https://HOST/PATH"),
    show: TargetUrl::to_string,
};

const ISSUERS: Format<Vec<String>> = Format {
    parse: |value| {
        let takes = "a list of issuers, as in [\"https://login.example.com/\"]";
        let issuers = list_of(value, takes, |text| Ok(text.to_owned()))?;
        if issuers.is_empty() {
            Err("names no issuer, so that no token would count".to_owned())
        } else {
            Ok(issuers)
        }
    },
    show: |issuers| show_list(issuers),
};

const AUDIENCES: Format<Vec<String>> = Format {
    parse: |value| {
        list_of(value, "a list of audiences, as in [\"https://api.example.com\"]", |text| Ok(text.to_owned()))
    },
    show: |audiences| show_list(audiences),
};

impl JwksConfig {
    /// `None` if no keys are named.
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let url = reader.take("jwks.url", &URL);
        let file = reader.take("jwks.file", &PATH);
        let ca = reader.take("jwks.ca", &PATH);
        let issuers = reader.take("jwks.issuer", &ISSUERS);
        let audiences = reader.take("jwks.audience", &AUDIENCES);
        let leeway = reader.need("jwks.leeway", &DURATION);
        let refresh = reader.need("jwks.refresh", &TIMEOUT);
        refuse_what_does_not_fit(reader);
        let source = match (url, file) {
            (Some(url), None) => JwksSource::Url(url, ca),
            (None, Some(file)) => JwksSource::File(file),
            _ => return None,
        };
        let rules = Rules { issuers: issuers?, audiences: audiences?, leeway: leeway?.as_secs() };
        Some(Self { source, rules, refresh: refresh? })
    }
}

fn refuse_what_does_not_fit(reader: &mut SettingsReader) {
    let is_given = |reader: &SettingsReader, key| reader.is_given(key);
    let (url, file) = (is_given(reader, "jwks.url"), is_given(reader, "jwks.file"));
    if url && file {
        reader.fault("jwks.file", "and jwks.url both name keys; leave one of them out");
    }
    let source = if url { "jwks.url" } else { "jwks.file" };
    if url || file {
        if !is_given(reader, "jwks.issuer") {
            let how = "needs jwks.issuer: who issues the tokens, as their claim `iss` says it";
            reader.fault(source, how);
        }
        if !is_given(reader, "jwks.audience") {
            let how = "needs jwks.audience: whom the tokens are for, as their claim `aud` says it, so that tokens for other \
                       services do not count; [] if they name nobody";
            reader.fault(source, how);
        }
    } else {
        for setting in ["jwks.issuer", "jwks.audience"] {
            if is_given(reader, setting) {
                reader.fault(setting, "is of no use without jwks.url or jwks.file");
            }
        }
    }
    if is_given(reader, "jwks.ca") && !url {
        reader.fault("jwks.ca", "is for a jwks.url that begins with https://");
    }
}
