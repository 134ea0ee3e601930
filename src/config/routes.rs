//! Reads the `[[route]]` tables.

use std::path::Path;

use super::{
    error::Faults,
    given_routes::GivenRoute,
    parsers::{HEADER_PATTERNS, SCOPE},
    route_values::{
        batch, batch_answer, conditions, conversation, framing, invalidates, kind, masks, normalize,
        parameters, patterns, pointers, replay, settle_until, stream_end, tags, temperature, words,
    },
    settings::ROUTE_KEYS,
    table_reader::TableReader,
    value::{BOOL, DURATION, Entry, TEXT, Table, Value, one_of},
};
use crate::{
    cache::{
        route::{
            Identity, Mode, OnAbandon, Route, Scope, SetCookie, Settle,
            kind::{Kind, KindTtls},
            pattern::Pattern,
        },
        semantic::SemanticRoute,
    },
    dialect::{
        BatchLists, Dialect, Instead,
        usage::{UsageOnHit, UsageSetting},
    },
    http::headers::HeaderPattern,
};

/// `semantic_max_temperature` where a route says nothing.
const DEFAULT_MAX_TEMPERATURE: f64 = 1.0;

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
        let mut reader = TableReader { path, table, name: "route", faults };
        reader.refuse_unknown(&ROUTE_KEYS);
        let line = reader.entry("name").map_or(table.line, |entry| entry.line);
        for name in reader.names() {
            match names.iter().find(|(own, _)| *own == name) {
                Some((_, first)) => {
                    let message = format!("route: {name:?} is the name of {first}");
                    reader.faults.add_in_file(path, line, &message);
                }
                None => names.push((name, format!("the route in line {line} already"))),
            }
        }
        routes.extend(reader.routes(common));
    }
    routes
}

impl TableReader<'_> {
    /// Its name, or else its patterns, which are the names then. They are checked elsewhere.
    fn names(&mut self) -> Vec<String> {
        let key = if self.entry("name").is_some() { "name" } else { "match" };
        match self.entry(key).map(|entry| &entry.value) {
            Some(Value::Text(text)) => vec![text.clone()],
            Some(Value::List(items)) => {
                items.iter().filter_map(|item| item.text("METHOD PATH").ok().map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What `settle` or `settle_until` says.
    fn settle(&mut self) -> Option<Settle> {
        let after = self.take("settle", DURATION.parse).unwrap_or_default();
        let until = self.take("settle_until", settle_until);
        for key in ["settle", "settle_until"] {
            let line =
                self.entry(key).filter(|_| self.entry("invalidates").is_none()).map(|entry| entry.line);
            if let Some(line) = line {
                let fault = "is about what the route invalidates; give it `invalidates`, as in invalidates = [\"query\"]";
                self.faults.add_in_file(self.path, line, &format!("route.{key}: {fault}"));
            }
        }
        (!after.is_zero() || until.is_some()).then_some(Settle { after, until })
    }

    /// What `usage_on_hit` says.
    fn usage_on_hit(&mut self) -> Option<UsageOnHit> {
        let known = [("recorded", UsageOnHit::Recorded), ("zero", UsageOnHit::Zero)];
        let value = self.take("usage_on_hit", |value| one_of(value, &known));
        let follows = |entry: &Entry| matches!(&entry.value, Value::Text(mode) if mode == "rfc9111");
        if let (Some(UsageOnHit::Zero), Some(entry), true) =
            (value, self.entry("usage_on_hit"), self.entry("mode").is_some_and(follows))
        {
            let fault = "is not for mode = \"rfc9111\", where a response is served as it is";
            self.faults.add_in_file(self.path, entry.line, &format!("route.usage_on_hit: {fault}"));
        }
        value
    }

    /// What `batch` and `batch_answer` say.
    fn batch(&mut self) -> Option<BatchLists> {
        let request = self.take("batch", batch);
        let answers = self.take("batch_answer", batch_answer);
        for (key, other, example) in
            [("batch", "batch_answer", "/outputs"), ("batch_answer", "batch", "/inputs")]
        {
            if let (Some(entry), None) = (self.entry(key), self.entry(other)) {
                let message =
                    format!("route.{key}: needs `{other}` beside it, as in {other} = \"{example}\"");
                self.faults.add_in_file(self.path, entry.line, &message);
            }
        }
        Some(BatchLists { request: request?, answers: answers? })
    }

    /// What `semantic` and `semantic_max_temperature` say.
    fn semantic(&mut self) -> Option<SemanticRoute> {
        let takes_part = self.take("semantic", BOOL.parse);
        let max_temperature = self.take("semantic_max_temperature", temperature);
        if let (None, Some(entry)) = (self.entry("semantic"), self.entry("semantic_max_temperature")) {
            let fault = "route.semantic_max_temperature: needs `semantic` beside it, as in semantic = true";
            self.faults.add_in_file(self.path, entry.line, fault);
        }
        let max_temperature = max_temperature.unwrap_or(DEFAULT_MAX_TEMPERATURE);
        takes_part.unwrap_or_default().then_some(SemanticRoute { max_temperature })
    }

    /// Refuses `semantic` where no question has an answer of its own.
    fn refuse_semantic(&mut self, route: &Route) {
        let Some(line) = self.entry("semantic").filter(|_| route.semantic.is_some()).map(|entry| entry.line)
        else {
            return;
        };
        let fault = match route {
            Route { kind, .. } if *kind != Kind::Query => {
                "is for the kind query; leave it out, or write kind = \"query\""
            }
            Route { mode: Mode::Rfc9111, .. } => {
                "is not for mode = \"rfc9111\", where the service says which requests share an answer; write mode = \"ttl\""
            }
            Route { cache: false, .. } => "is of no use with cache = false; leave one of them out",
            Route { batch: Some(_), .. } => {
                "is not for requests with several inputs; leave it or `batch` out"
            }
            _ => return,
        };
        self.faults.add_in_file(self.path, line, &format!("route.semantic: {fault}"));
    }

    /// Refuses `per_item` where nothing is ranked item by item.
    fn refuse_per_item(&mut self, route: &Route) {
        let Some(line) = self.entry("per_item").filter(|_| route.per_item).map(|entry| entry.line) else {
            return;
        };
        let ranks = |dialect: Dialect| Dialect::OF_SCORES.contains(&dialect);
        let fault = match route {
            Route { kind, .. } if *kind != Kind::Rerank => "is for the kind rerank",
            Route { mode: Mode::Rfc9111, .. } => {
                "is not for mode = \"rfc9111\", where a response is stored as it is"
            }
            Route { batch: Some(_), .. } => "says what `batch` says already; leave one of them out",
            Route { dialect: Some(dialect), .. } if !ranks(*dialect) => {
                "is for the dialects rerank, tei-rerank and score; leave `dialect` out, or name one of them"
            }
            _ => return,
        };
        self.faults.add_in_file(self.path, line, &format!("route.per_item: {fault}"));
    }

    /// Refuses what cannot be beside `batch`.
    fn refuse_beside_batch(&mut self, route: &Route) {
        let Some(line) = self.entry("batch").filter(|_| route.batch.is_some()).map(|entry| entry.line) else {
            return;
        };
        let fault = match route {
            Route { kind: Kind::Document | Kind::Conversation, .. } => {
                "is for the kinds query, embedding, rerank and other"
            }
            Route { mode: Mode::Rfc9111, .. } => {
                "is not for mode = \"rfc9111\", where a response is stored as it is"
            }
            Route { dialect: Some(dialect), .. } if *dialect != Dialect::Json => {
                "is for JSON of any kind; leave `dialect` out, or write dialect = \"json\""
            }
            Route { opens, .. } if opens.instead == Instead::Uuid => {
                "cuts answers, which opened = \"uuid\" does not allow; write opened = \"null\" or \"empty\""
            }
            _ => return,
        };
        self.faults.add_in_file(self.path, line, &format!("route.batch: {fault}"));
    }

    fn header_patterns(&mut self, key: &str) -> Option<Vec<HeaderPattern>> {
        self.take(key, HEADER_PATTERNS.parse)
            .map(|list| list.into_iter().map(|(_, pattern)| pattern).collect())
    }

    /// The routes of the table, one for each pattern.
    fn routes(&mut self, common: Option<&Common>) -> Vec<Route> {
        let name = self.take("name", TEXT.parse);
        let patterns = self.need("match", "\"POST /ask\"", patterns).unwrap_or_default();
        let parsed: Vec<Pattern> = patterns.iter().filter_map(|pattern| pattern.parse().ok()).collect();
        let Some(route) = self.route(&parsed, common) else { return Vec::new() };
        let named = |(text, pattern): (String, Pattern)| {
            let name = name.clone().unwrap_or(text);
            Route { name, pattern, ..route.clone() }
        };
        patterns.into_iter().zip(parsed).map(named).collect()
    }

    /// The route for the first of `patterns`, which the others share but for the pattern. Reads every key before the
    /// first `?`, so that all faults are reported.
    fn route(&mut self, patterns: &[Pattern], common: Option<&Common>) -> Option<Route> {
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
        let tags = self.take("tags", |value| tags(value, patterns));
        let invalidates = self.take("invalidates", |value| invalidates(value, patterns));
        let settle = self.settle();
        let cache_tool_calls = self.take("cache_tool_calls", BOOL.parse);
        let honor = self.take("honor_request_cache_control", BOOL.parse);
        let when = self.take("when", conditions);
        let error = self.take("error", conditions);
        let require = self.take("require", conditions);
        let stream_end = self.take("stream_end", stream_end);
        let framing = self.take("framing", framing);
        let stream_default = self.take("stream_default", BOOL.parse);
        let conversation = self.take("conversation", |value| conversation(value, patterns));
        let opens = self.take("opens", pointers);
        let opened = self.take("opened", |value| {
            let known = [Instead::Null, Instead::Empty, Instead::Drop, Instead::Uuid, Instead::Alone];
            one_of(value, &known.map(|instead| (instead.as_str(), instead)))
        });
        let vary_by = self.take("vary_by", parameters);
        let mask = self.take("mask", masks);
        let batch = self.batch();
        let per_item = self.take("per_item", BOOL.parse);
        let semantic = self.semantic();
        let good_ends = self.take("good_ends", words);
        let usage = self.take("usage", |value| {
            one_of(value, &[("as-asked", UsageSetting::AsAsked), ("ask", UsageSetting::Ask)])
        });
        let usage_on_hit = self.usage_on_hit();
        let identity = self.take("identity", |value| {
            one_of(value, &[("recorded", Identity::Recorded), ("fresh", Identity::Fresh)])
        });
        let replay = self.take("replay", replay);
        let on_abandon = self.take("on_abandon", |value| {
            one_of(value, &[("finish", OnAbandon::Finish), ("cancel", OnAbandon::Cancel)])
        });

        let pattern = patterns.first()?.clone();
        let kind = kind?;
        let common = common?;
        let scope = scope.unwrap_or_else(|| common.scope.clone());
        let mut route = Route::with_pattern(pattern, kind, ttl.unwrap_or(common.ttls.ttl(kind)), scope);
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
        route.framing = framing.flatten();
        route.stream_default = stream_default;
        route.conversation = conversation;
        route.opens.pointers = opens.map(Into::into);
        route.opens.instead = opened.unwrap_or_default();
        route.vary_by = vary_by;
        route.mask = mask.unwrap_or_default();
        route.batch = batch;
        route.per_item = per_item.unwrap_or(route.per_item);
        route.semantic = semantic;
        route.good_ends = good_ends.unwrap_or_default();
        route.usage = usage.unwrap_or(route.usage);
        route.usage_on_hit = usage_on_hit.unwrap_or(route.usage_on_hit);
        route.identity = identity.unwrap_or(route.identity);
        route.replay = replay.unwrap_or(route.replay);
        route.on_abandon = on_abandon.unwrap_or(route.on_abandon);
        route.stale_while_revalidate = stale_while_revalidate.unwrap_or(route.stale_while_revalidate);
        route.stale_if_error = stale_if_error.unwrap_or(route.stale_if_error);
        (route.tags, route.path_tags) = tags.unwrap_or_default();
        route.invalidates = invalidates.unwrap_or_default();
        route.settle = settle;
        self.refuse_beside_batch(&route);
        self.refuse_per_item(&route);
        self.refuse_semantic(&route);
        Some(route)
    }
}
