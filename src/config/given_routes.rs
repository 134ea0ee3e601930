//! Reads the routes that the command line and the environment give: `METHOD PATH [KIND] [TTL]`.
//!
//! They are for a first try, and for containers without a file. What else a route can say needs a name in
//! front of it, and then a `[[route]]` in the file is easier to read.

use std::time::Duration;

use http::Method;

use super::{
    error::Faults,
    inputs::{Given, Inputs, ROUTES_VARIABLE as VARIABLE, from_variables},
    origin::Source,
    quote::quote,
    route_values::kind,
    value::{DURATION, Value},
};
use crate::cache::route::{kind::Kind, pattern::Pattern};

/// The flag, once for each route.
pub(super) const FLAG: &str = "--route";

/// A route that is not in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenRoute {
    /// `METHOD PATH`, which is its name, too.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// `None` for the kind's.
    pub(super) ttl: Option<Duration>,
    /// The flag or the variable.
    pub(super) by: &'static str,
}

/// The routes of the flags, then those of the variable.
pub(super) fn read(inputs: &Inputs, faults: &mut Faults) -> Vec<GivenRoute> {
    let mut routes = Vec::new();
    for text in &inputs.routes {
        add(text, FLAG, &Source::Flag(FLAG), &mut routes, faults);
    }
    let variables: Vec<_> = from_variables(inputs, VARIABLE).collect();
    let strongest = variables.len().saturating_sub(1);
    for (index, Given { value, source }) in variables.into_iter().enumerate() {
        let Value::Bare(text) = value else { continue };
        // A weaker variable must be right, too: it counts once the stronger one is gone.
        let mut overridden = Vec::new();
        let routes = if index == strongest { &mut routes } else { &mut overridden };
        // After the last `;` there may be nothing.
        for text in text.split(';').filter(|text| !text.trim().is_empty()) {
            add(text, VARIABLE, &source, routes, faults);
        }
    }
    routes
}

fn add(text: &str, by: &'static str, source: &Source, routes: &mut Vec<GivenRoute>, faults: &mut Faults) {
    let text = text.trim();
    match parse(text, by) {
        Ok(route) => match routes.iter().find(|own| own.name == route.name) {
            Some(own) => {
                let message = format!("{} is given already, by {}; leave one out", quote(text), own.by);
                faults.add(source, "route", &message);
            }
            None => routes.push(route),
        },
        Err(message) => faults.add(source, "route", &message),
    }
}

fn parse(text: &str, by: &'static str) -> Result<GivenRoute, String> {
    const EXAMPLE: &str =
        "write METHOD PATH, and perhaps a kind and a TTL, as in \"POST /embed embedding 24h\"";
    let words: Vec<_> = text.split_whitespace().collect();
    let [method, path, rest @ ..] = &words[..] else {
        return Err(format!("{} is no route; {EXAMPLE}", quote(text)));
    };
    let faulty = |message: String| format!("{}: {message}", quote(text));
    let name = format!("{method} {path}");
    name.parse::<Pattern>().map_err(faulty)?;
    // No kind begins with a digit, and every TTL does.
    let is_ttl = |word: &&&str| word.starts_with(|first: char| first.is_ascii_digit());
    let (kind, rest) = match rest.split_first().filter(|(word, _)| !is_ttl(word)) {
        Some((word, rest)) => (kind(&Value::Bare((*word).to_owned())).map_err(faulty)?, rest),
        None => (default_kind(method), rest),
    };
    let (ttl, rest) = match rest.split_first() {
        Some((word, rest)) => {
            let ttl = (DURATION.parse)(&Value::Bare((*word).to_owned())).map_err(faulty)?;
            (Some(ttl), rest)
        }
        None => (None, rest),
    };
    match rest.first() {
        Some(word) => Err(faulty(format!("{} is too much; {EXAMPLE}", quote(word)))),
        None => Ok(GivenRoute { name, kind, ttl, by }),
    }
}

/// What is fetched is a document, and what is sent is a question.
fn default_kind(method: &str) -> Kind {
    if method == Method::GET.as_str() { Kind::Document } else { Kind::Query }
}
