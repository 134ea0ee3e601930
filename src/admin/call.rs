//! Which admin call a request makes. Pure.

use form_urlencoded::parse;
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;

use super::{error::AdminError, list};
use crate::{
    cache::{
        key::{Key, namespace::Namespace},
        route::kind::Kind,
    },
    store::ListQuery,
    telemetry::{history::Range, watch::filter::Filter},
};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `GET /stats`
    Stats,
    /// `GET /metrics`
    Metrics,
    /// `GET /suggest`
    Suggest,
    /// `GET /overview`
    Overview,
    /// `GET /history`
    History(Range),
    /// `GET /requests`
    Requests(Filter),
    /// `GET /entries`
    List(ListQuery),
    /// `GET /entries/KEY`
    Show(Key),
    /// `PUT /entries/KEY`
    Put(Key),
    /// `DELETE /entries/KEY`
    Remove(Key),
    /// `POST /entries/KEY/wrong`
    Wrong(Key),
    /// `POST /nearest`
    Nearest,
    /// `POST /purge`
    Purge,
    /// `POST /reload`
    Reload,
}

impl Call {
    /// Keys without a namespace belong to `namespace`.
    ///
    /// # Errors
    /// 404, 405 or 400, with what is wrong.
    pub(super) fn parse(parts: &Parts, namespace: Namespace) -> Result<Self, AdminError> {
        let method = &parts.method;
        let path = parts.uri.path();
        match path {
            "/stats" => check_method(method, "GET, HEAD").map(|()| Self::Stats),
            "/entries" => {
                check_method(method, "GET, HEAD")?;
                let query = list::parse(parts.uri.query().unwrap_or_default());
                query.map(Self::List).map_err(AdminError::bad_request)
            }
            "/nearest" => check_method(method, "POST").map(|()| Self::Nearest),
            "/purge" => check_method(method, "POST").map(|()| Self::Purge),
            "/reload" => check_method(method, "POST").map(|()| Self::Reload),
            "/metrics" => check_method(method, "GET, HEAD").map(|()| Self::Metrics),
            "/suggest" => check_method(method, "GET, HEAD").map(|()| Self::Suggest),
            "/overview" => check_method(method, "GET, HEAD").map(|()| Self::Overview),
            "/history" => {
                check_method(method, "GET, HEAD")?;
                parse_range(parts.uri.query().unwrap_or_default()).map(Self::History)
            }
            "/requests" => {
                check_method(method, "GET")?;
                let filter = Filter::parse(parts.uri.query().unwrap_or_default());
                filter.map(Self::Requests).map_err(AdminError::bad_request)
            }
            _ => match path.strip_prefix("/entries/") {
                Some(key) => parse_entry(method, key, namespace),
                None => Err(AdminError::not_found(
                    "no such call: GET / (the page), GET /metrics, GET /stats, GET /suggest, GET /overview, GET /history, GET /requests, GET /entries, GET, PUT or DELETE /entries/KEY, POST /entries/KEY/wrong, POST /nearest, POST /purge, POST /reload, GET /health",
                )),
            },
        }
    }

    /// Whether the call has a body, and must come from no other site's page: it changes something, or costs a vector.
    pub(super) const fn is_write(&self) -> bool {
        matches!(
            self,
            Self::Put(_) | Self::Remove(_) | Self::Wrong(_) | Self::Nearest | Self::Purge | Self::Reload
        )
    }
}

pub(super) fn check_method(method: &Method, allowed: &'static str) -> Result<(), AdminError> {
    if allowed.split(", ").any(|name| name == method.as_str()) {
        return Ok(());
    }
    let error = AdminError::new(StatusCode::METHOD_NOT_ALLOWED, format!("the methods here are {allowed}"));
    Err(error.with(header::ALLOW, HeaderValue::from_static(allowed)))
}

fn parse_entry(method: &Method, key: &str, namespace: Namespace) -> Result<Call, AdminError> {
    let (key, is_report) = key.strip_suffix("/wrong").map_or((key, false), |key| (key, true));
    check_method(method, if is_report { "POST" } else { "GET, HEAD, PUT, DELETE" })?;
    let text = percent_decode_str(key).decode_utf8_lossy();
    let key = parse_key(&text, namespace).map_err(AdminError::bad_request)?;
    Ok(match *method {
        Method::POST => Call::Wrong(key),
        Method::PUT => Call::Put(key),
        Method::DELETE => Call::Remove(key),
        _ => Call::Show(key),
    })
}

/// Parses a key, with or without `namespace`.
///
/// # Errors
/// A text that says what a key looks like.
pub(super) fn parse_key(text: &str, namespace: Namespace) -> Result<Key, String> {
    Key::parse(namespace, text).ok_or_else(|| {
        format!("{text:?} is no key: it is {namespace}:KIND:HEX or KIND:HEX, HEX being 64 hexadecimal digits")
    })
}

/// Parses a kind's name.
///
/// # Errors
/// A text with the names of all kinds.
pub(super) fn parse_kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text)
        .ok_or_else(|| format!("{text:?} is no kind: {}", Kind::ALL.map(Kind::as_str).join(", ")))
}

/// Without a parameter it is the last hour.
fn parse_range(query: &str) -> Result<Range, AdminError> {
    let mut range = Range::Hour;
    for (name, value) in parse(query.as_bytes()) {
        if name != "range" {
            return Err(AdminError::bad_request(format!("{name:?} is no parameter: range")));
        }
        range = Range::from_name(&value).ok_or_else(|| {
            let names = Range::ALL.map(Range::as_str).join(", ");
            AdminError::bad_request(format!("range: {value:?} is no range: {names}"))
        })?;
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn call(method: &str, target: &str) -> Result<Call, u16> {
        let parts = Request::builder().method(method).uri(target).body(()).expect("a request").into_parts().0;
        Call::parse(&parts, "ns".into()).map_err(|error| error.into_response().status().as_u16())
    }

    #[test]
    fn method_and_path_name_the_call() {
        let hex = "0f".repeat(32);
        let key = || Key::parse("ns".into(), &format!("query:{hex}")).expect("a key");
        for (method, target, expected) in [
            ("GET", "/stats".to_owned(), Ok(Call::Stats)),
            ("POST", "/stats".to_owned(), Err(405)),
            ("GET", "/entries".to_owned(), Ok(Call::List(list::parse("").expect("a query")))),
            ("GET", "/entries?limit=0".to_owned(), Err(400)),
            ("DELETE", "/entries".to_owned(), Err(405)),
            ("GET", format!("/entries/query:{hex}"), Ok(Call::Show(key()))),
            ("PUT", format!("/entries/ns:query:{hex}"), Ok(Call::Put(key()))),
            ("DELETE", format!("/entries/ns%3Aquery%3A{hex}"), Ok(Call::Remove(key()))),
            ("GET", format!("/entries/other-ns:query:{hex}"), Err(400)),
            ("GET", format!("/entries/ns:_:query:{hex}"), Err(400)),
            ("GET", format!("/entries/ns:query:{hex}0"), Err(400)),
            ("GET", "/entries/".to_owned(), Err(400)),
            ("PATCH", format!("/entries/query:{hex}"), Err(405)),
            ("POST", format!("/entries/query:{hex}"), Err(405)),
            ("POST", format!("/entries/query:{hex}/wrong"), Ok(Call::Wrong(key()))),
            ("POST", format!("/entries/ns%3Aquery%3A{hex}/wrong"), Ok(Call::Wrong(key()))),
            ("GET", format!("/entries/query:{hex}/wrong"), Err(405)),
            ("DELETE", format!("/entries/query:{hex}/wrong"), Err(405)),
            ("POST", "/entries/wrong".to_owned(), Err(405)),
            ("POST", "/entries//wrong".to_owned(), Err(400)),
            ("POST", "/nearest".to_owned(), Ok(Call::Nearest)),
            ("GET", "/nearest".to_owned(), Err(405)),
            ("GET", "/purge".to_owned(), Err(405)),
            ("POST", "/purge".to_owned(), Ok(Call::Purge)),
            ("GET", "/reload".to_owned(), Err(405)),
            ("POST", "/reload".to_owned(), Ok(Call::Reload)),
            ("GET", "/overview".to_owned(), Ok(Call::Overview)),
            ("POST", "/overview".to_owned(), Err(405)),
            ("GET", "/history".to_owned(), Ok(Call::History(Range::Hour))),
            ("GET", "/history?range=1h".to_owned(), Ok(Call::History(Range::Hour))),
            ("GET", "/history?range=24h".to_owned(), Ok(Call::History(Range::Day))),
            ("GET", "/history?range=2h".to_owned(), Err(400)),
            ("GET", "/history?since=1h".to_owned(), Err(400)),
            ("DELETE", "/history".to_owned(), Err(405)),
            ("GET", "/metrics".to_owned(), Ok(Call::Metrics)),
            ("POST", "/metrics".to_owned(), Err(405)),
            ("GET", "/requests".to_owned(), Ok(Call::Requests(Filter::default()))),
            ("HEAD", "/requests".to_owned(), Err(405)),
            ("GET", "/requests?cache=hot".to_owned(), Err(400)),
            ("GET", "/none".to_owned(), Err(404)),
        ] {
            assert_eq!(call(method, &target), expected, "{method} {target}");
        }
    }
}
