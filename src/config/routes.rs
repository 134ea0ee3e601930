//! Reads the `[[route]]` tables.

use std::path::Path;

use super::{
    error::Faults,
    given_routes::GivenRoute,
    origin::Source,
    parsers::{HEADER_PATTERNS, SCOPE},
    settings::ROUTE_KEYS,
    suggest::{closest, did_you_mean},
    value::{BOOL, DURATION, Entry, TEXT, Table, Value, list_of, one_of},
};
use crate::{
    cache::route::{
        Identity, Mode, OnAbandon, Replay, Route, Scope, SetCookie,
        kind::{Kind, KindTtls},
        pattern::Pattern,
    },
    dialect::{Dialect, StreamEnd, usage::UsageSetting},
    http::headers::HeaderPattern,
    json::{canonical::Normalize, condition::Condition, pointer::Pointer},
};

/// The settings that apply to all routes.
pub(super) struct Common {
    pub(super) ttls: KindTtls,
    pub(super) scope: Scope,
    pub(super) ignore_headers: Vec<HeaderPattern>,
}

impl GivenRoute {
    pub(super) fn route(self, common: &Common) -> Option<Route> {
        let ttl = self.ttl.unwrap_or(common.ttls.ttl(self.kind));
        let mut route = Route::new(&self.name, self.kind, ttl, common.scope.clone()).ok()?;
        route.ignore_headers.extend_from_slice(&common.ignore_headers);
        route.given_by = Some(self.by);
        Some(route)
    }
}

/// Reads the tables. `given` are the routes that are not in the file. Without `common`, which is faulty then,
/// it only adds the tables' faults.
pub(super) fn read(
    path: &Path,
    tables: &[Table],
    given: &[GivenRoute],
    common: Option<&Common>,
    faults: &mut Faults,
) -> Vec<Route> {
    // Each name with the words for the route that has it.
    let by = |route: &GivenRoute| {
        let words = format!("a route by {} already; leave one out, or give this one another name", route.by);
        (route.name.clone(), words)
    };
    let mut names: Vec<(String, String)> = given.iter().map(by).collect();
    let mut routes = Vec::new();
    for table in tables {
        let mut reader = RouteReader { path, table, faults };
        reader.refuse_unknown();
        let Some(name) = reader.take("name", TEXT.parse).or_else(|| reader.peek("match")) else {
            // Without a name there is nothing to compare. The missing `match` is reported below.
            reader.route(String::new(), common);
            continue;
        };
        let line = reader.entry("name").map_or(table.line, |entry| entry.line);
        match names.iter().find(|(own, _)| *own == name) {
            Some((_, first)) => {
                let message = format!("route: {name:?} is the name of {first}");
                reader.faults.add_in_file(path, line, &message);
            }
            None => names.push((name.clone(), format!("the route in line {line} already"))),
        }
        routes.extend(reader.route(name, common));
    }
    routes
}

/// Reads the keys of one table.
struct RouteReader<'a> {
    path: &'a Path,
    table: &'a Table,
    faults: &'a mut Faults,
}

impl RouteReader<'_> {
    fn refuse_unknown(&mut self) {
        for Entry { line, key, .. } in &self.table.entries {
            let known = || ROUTE_KEYS.iter().map(|own| own.key);
            if !known().any(|own| own == key) {
                let hint = did_you_mean(closest(key, known()));
                self.faults.add_in_file(
                    self.path,
                    *line,
                    &format!("route.{key}: is no setting of a route{hint}"),
                );
            }
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.table.entries.iter().find(|entry| entry.key == key)
    }

    /// The text of `key`, without a check.
    fn peek(&self, key: &str) -> Option<String> {
        match &self.entry(key)?.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The value of `key`; `None` if there is none, or if it is wrong, which is a fault.
    fn take<T>(&mut self, key: &str, parse: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let entry = self.table.entries.iter().find(|entry| entry.key == key)?;
        match parse(&entry.value) {
            Ok(value) => Some(value),
            Err(message) => {
                let source = Source::File { path: self.path.to_owned(), line: entry.line };
                self.faults.add(&source, &format!("route.{key}"), &message);
                None
            }
        }
    }

    /// [`take`](Self::take) for a key that must be there.
    fn need<T>(
        &mut self,
        key: &str,
        example: &str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if self.entry(key).is_none() {
            let message = format!("route: has no `{key}`; write one, as in {key} = {example}");
            self.faults.add_in_file(self.path, self.table.line, &message);
        }
        self.take(key, parse)
    }

    fn header_patterns(&mut self, key: &str) -> Option<Vec<HeaderPattern>> {
        self.take(key, HEADER_PATTERNS.parse)
            .map(|list| list.into_iter().map(|(_, pattern)| pattern).collect())
    }

    /// Reads every key before the first `?`, so that all faults are reported.
    fn route(&mut self, name: String, common: Option<&Common>) -> Option<Route> {
        let pattern = self.need("match", "\"POST /ask\"", pattern);
        let kind = self.need("kind", "\"query\"", kind);
        let dialect =
            self.take("dialect", |value| one_of(value, &Dialect::NAMED.map(|own| (own.as_str(), own))));
        let cache = self.take("cache", BOOL.parse);
        let mode =
            self.take("mode", |value| one_of(value, &[("ttl", Mode::Ttl), ("rfc9111", Mode::Rfc9111)]));
        let ttl = self.take("ttl", DURATION.parse);
        let stale_while_revalidate = self.take("stale_while_revalidate", DURATION.parse);
        let stale_if_error = self.take("stale_if_error", DURATION.parse);
        let scope = self.take("scope", SCOPE.parse);
        let ignore_headers = self.header_patterns("ignore_headers");
        let set_cookie = self.take("set_cookie", |value| {
            one_of(value, &[("strip", SetCookie::Strip), ("skip", SetCookie::Skip)])
        });
        let drop_headers = self.header_patterns("drop_headers");
        let ignore = self.take("ignore", pointers);
        let text = self.take("text", pointers);
        let normalize = self.take("normalize", normalize);
        let tags = self.take("tags", pointers);
        let invalidates = self.take("invalidates", kinds);
        let cache_tool_calls = self.take("cache_tool_calls", BOOL.parse);
        let honor = self.take("honor_request_cache_control", BOOL.parse);
        let when = self.take("when", conditions);
        let error = self.take("error", conditions);
        let require = self.take("require", conditions);
        let stream_end = self.take("stream_end", stream_end);
        let good_ends = self.take("good_ends", words);
        let usage = self.take("usage", |value| {
            one_of(value, &[("as-asked", UsageSetting::AsAsked), ("ask", UsageSetting::Ask)])
        });
        let identity = self.take("identity", |value| {
            one_of(value, &[("recorded", Identity::Recorded), ("fresh", Identity::Fresh)])
        });
        let replay = self.take("replay", replay);
        let on_abandon = self.take("on_abandon", |value| {
            one_of(value, &[("finish", OnAbandon::Finish), ("cancel", OnAbandon::Cancel)])
        });

        let pattern = pattern?;
        let kind = kind?;
        let common = common?;
        let scope = scope.unwrap_or_else(|| common.scope.clone());
        let mut route = Route::new(&pattern, kind, ttl.unwrap_or(common.ttls.ttl(kind)), scope).ok()?;
        route.name = name;
        route.dialect = dialect;
        route.cache = cache.unwrap_or(route.cache);
        route.mode = mode.unwrap_or(route.mode);
        route.ignore_headers.extend(ignore_headers.unwrap_or_default());
        route.ignore_headers.extend_from_slice(&common.ignore_headers);
        route.set_cookie = set_cookie.unwrap_or(route.set_cookie);
        route.drop_headers.extend(drop_headers.unwrap_or_default());
        route.ignore = ignore.unwrap_or(route.ignore);
        route.text = text;
        route.normalize = normalize.unwrap_or(route.normalize);
        route.cache_tool_calls = cache_tool_calls.unwrap_or(route.cache_tool_calls);
        route.honor_request_cache_control = honor.unwrap_or(route.honor_request_cache_control);
        route.when = when.unwrap_or_default();
        route.error = error.unwrap_or_default();
        route.require = require.unwrap_or_default();
        route.stream_end = stream_end;
        route.good_ends = good_ends.unwrap_or_default();
        route.usage = usage.unwrap_or(route.usage);
        route.identity = identity.unwrap_or(route.identity);
        route.replay = replay.unwrap_or(route.replay);
        route.on_abandon = on_abandon.unwrap_or(route.on_abandon);
        route.stale_while_revalidate = stale_while_revalidate.unwrap_or(route.stale_while_revalidate);
        route.stale_if_error = stale_if_error.unwrap_or(route.stale_if_error);
        route.tags = tags;
        route.invalidates = invalidates.unwrap_or_default();
        Some(route)
    }
}

/// The text of a valid pattern.
fn pattern(value: &Value) -> Result<String, String> {
    let text = value.text("METHOD PATH")?;
    text.parse::<Pattern>().map(|_| text.to_owned())
}

fn kind(value: &Value) -> Result<Kind, String> {
    one_of(value, &Kind::ALL.map(|kind| (kind.as_str(), kind)))
}

fn kinds(value: &Value) -> Result<Vec<Kind>, String> {
    let Value::List(items) = value else {
        return Err(value.mismatch("a list of kinds, as in [\"query\"]"));
    };
    items.iter().map(kind).collect()
}

fn replay(value: &Value) -> Result<Replay, String> {
    const NAMED: [(&str, Replay); 2] = [("at-once", Replay::AtOnce), ("recorded", Replay::Recorded)];
    match (one_of(value, &NAMED), (DURATION.parse)(value)) {
        (Ok(replay), _) => Ok(replay),
        (_, Ok(gap)) => Ok(Replay::Every(gap)),
        (_, Err(_)) => Err(value.mismatch("\"at-once\", \"recorded\", or a duration as in \"20ms\"")),
    }
}

fn words(value: &Value) -> Result<Vec<String>, String> {
    list_of(value, "a list of words, as in [\"finished\"]", |word| Ok(word.to_owned()))
}

fn pointers(value: &Value) -> Result<Vec<Pointer>, String> {
    list_of(value, "a list of JSON pointers", str::parse)
}

fn conditions(value: &Value) -> Result<Vec<Condition>, String> {
    list_of(value, "a list of conditions, as in [\"/status = \\\"ok\\\"\"]", str::parse)
}

/// A text with the beginning of a condition is one; `eof` is the end of the body.
fn stream_end(value: &Value) -> Result<StreamEnd, String> {
    match (TEXT.parse)(value)? {
        text if text == "eof" => Ok(StreamEnd::Eof),
        text if text.starts_with(['/', '!', '@']) => text.parse().map(StreamEnd::Event),
        text => Ok(StreamEnd::Named(text)),
    }
}

fn normalize(value: &Value) -> Result<Vec<Normalize>, String> {
    const KNOWN: [(&str, Normalize); 4] = [
        ("trim", Normalize::Trim),
        ("collapse", Normalize::Collapse),
        ("casefold", Normalize::Casefold),
        ("nfc", Normalize::Nfc),
    ];
    let Value::List(items) = value else {
        return Err(value.mismatch("a list of trim, collapse, casefold and nfc"));
    };
    items.iter().map(|item| one_of(item, &KNOWN)).collect()
}
