//! What a response says about caching it: `Cache-Control` (RFC 9111, section 5.2.2), or `CDN-Cache-Control`
//! in its place (RFC 9213).

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::http::cache_control::{Directive, directives};

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Whether a response has a directive, and which of its fields that concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fields {
    /// It does not have it.
    #[default]
    None,
    /// The directive names these fields.
    Only(Vec<HeaderName>),
    /// The directive concerns the whole response.
    All,
}

impl Fields {
    /// An argument that names no field concerns the whole response.
    fn from_argument(argument: Option<&str>) -> Self {
        let names = argument.unwrap_or_default().split(',').map(str::trim);
        let names: Vec<_> = names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
        if names.is_empty() { Self::All } else { Self::Only(names) }
    }

    fn add(&mut self, more: Self) {
        match (&mut *self, more) {
            (Self::Only(own), Self::Only(more)) => own.extend(more),
            (Self::All, _) | (_, Self::None) => {}
            (_, more) => *self = more,
        }
    }

    /// Whether the directive concerns the field `name`.
    pub(crate) fn covers(&self, name: &HeaderName) -> bool {
        match self {
            Self::None => false,
            Self::Only(names) => names.contains(name),
            Self::All => true,
        }
    }
}

/// A response's directives. If one comes twice, the most restrictive counts (RFC 9111, section 4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    /// `max-age`; zero for an invalid value, so that the response is stale (section 4.2.1).
    pub(crate) max_age: Option<Duration>,
    /// `s-maxage`, likewise.
    pub(crate) s_maxage: Option<Duration>,
    /// `no-cache`, perhaps for some fields only (section 5.2.2.4).
    pub(crate) no_cache: Fields,
    /// `private`, perhaps for some fields only (section 5.2.2.7).
    pub(crate) private: Fields,
    /// `no-store`
    pub(crate) no_store: bool,
    /// `public`
    pub(crate) public: bool,
    /// `must-revalidate`
    pub(crate) must_revalidate: bool,
    /// `proxy-revalidate`
    pub(crate) proxy_revalidate: bool,
    /// `must-understand` (section 5.2.2.3)
    pub(crate) must_understand: bool,
    /// RFC 5861, section 3
    pub(crate) stale_while_revalidate: Option<Duration>,
    /// RFC 5861, section 4
    pub(crate) stale_if_error: Option<Duration>,
    /// Whether these are from `CDN-Cache-Control`, beside which `Expires` does not count (RFC 9213, section
    /// 2.2).
    pub(crate) targeted: bool,
}

impl ResponseDirectives {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let targeted = targeted(headers);
        let is_targeted = targeted.is_some();
        let list = targeted.unwrap_or_else(|| directives(headers, &header::CACHE_CONTROL));
        let mut read = Self { targeted: is_targeted, ..Self::default() };
        for directive in &list {
            read.add(directive);
        }
        read
    }

    fn add(&mut self, directive: &Directive) {
        let argument = directive.argument.as_deref();
        match directive.name.as_str() {
            "max-age" => shorten(&mut self.max_age, directive.seconds().unwrap_or_default()),
            "s-maxage" => shorten(&mut self.s_maxage, directive.seconds().unwrap_or_default()),
            "no-cache" => self.no_cache.add(Fields::from_argument(argument)),
            "private" => self.private.add(Fields::from_argument(argument)),
            "no-store" => self.no_store = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "stale-while-revalidate" => {
                shorten(&mut self.stale_while_revalidate, directive.seconds().unwrap_or_default());
            }
            "stale-if-error" => shorten(&mut self.stale_if_error, directive.seconds().unwrap_or_default()),
            _ => {}
        }
    }

    /// Whether a stale response must be validated, whatever else would allow to serve it (RFC 9111, section
    /// 4.2.4; for `s-maxage`, section 5.2.2.10).
    pub(crate) fn forbid_stale(&self) -> bool {
        self.must_revalidate
            || self.proxy_revalidate
            || self.s_maxage.is_some()
            || self.no_cache == Fields::All
    }

    /// Whether a shared cache may reuse the answer to a request with `Authorization` (RFC 9111, section 3.5).
    pub(crate) const fn allow_authorized(&self) -> bool {
        self.must_revalidate || self.public || self.s_maxage.is_some()
    }
}

fn shorten(time: &mut Option<Duration>, more: Duration) {
    *time = Some(time.map_or(more, |time| time.min(more)));
}

/// The directives of `CDN-Cache-Control`. If it is missing, empty or not a dictionary of directives, it does
/// not count (RFC 9213, section 2.1).
fn targeted(headers: &HeaderMap) -> Option<Vec<Directive>> {
    let lines: Vec<_> = headers.get_all(CDN_CACHE_CONTROL).into_iter().map(|line| line.as_bytes()).collect();
    let dictionary = Parser::new(&lines.join(&b", "[..])).parse::<Dictionary>().ok()?;
    let directives = dictionary.iter().map(|(name, member)| member_directive(name.as_str(), member));
    let directives = directives.collect::<Option<Vec<_>>>()?;
    (!directives.is_empty()).then_some(directives)
}

/// A member of the dictionary as a directive, without its parameters; `None` if a known directive has a value
/// of the wrong type.
fn member_directive(name: &str, member: &ListEntry) -> Option<Directive> {
    let name = name.to_owned();
    let ListEntry::Item(item) = member else { return Some(Directive { name, argument: None }) };
    let wants_seconds =
        matches!(&*name, "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error");
    let argument = match &item.bare_item {
        BareItem::Integer(seconds) => Some(seconds.to_string()),
        _ if wants_seconds => return None,
        BareItem::Boolean(true) => None,
        BareItem::Boolean(false) => return Some(Directive { name: String::new(), argument: None }),
        BareItem::String(text) => Some(text.as_str().to_owned()),
        BareItem::Token(token) => Some(token.as_str().to_owned()),
        _ => None,
    };
    Some(Directive { name, argument })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc9111::testing::map;

    fn read(lines: &[(&str, &str)]) -> ResponseDirectives {
        ResponseDirectives::from_headers(&map(lines))
    }

    fn plain(value: &str) -> ResponseDirectives {
        read(&[("cache-control", value)])
    }

    const fn seconds(count: u64) -> Option<Duration> {
        Some(Duration::from_secs(count))
    }

    #[test]
    fn rfc9111_5_2_2_every_directive_is_read() {
        let expected = ResponseDirectives {
            max_age: seconds(1),
            s_maxage: seconds(2),
            no_cache: Fields::All,
            private: Fields::All,
            no_store: true,
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            stale_while_revalidate: seconds(3),
            stale_if_error: seconds(4),
            targeted: false,
        };
        let all = "MAX-AGE=1, s-maxage=2, No-Cache, private, no-store, public, must-revalidate, \
            proxy-revalidate, must-understand, stale-while-revalidate=3, stale-if-error=\"4\", unknown=5";
        assert_eq!(plain(all), expected);
        assert_eq!(plain("unknown"), ResponseDirectives::default());
    }

    #[test]
    fn rfc9111_4_2_1_the_most_restrictive_of_repeated_or_invalid_directives_counts() {
        assert_eq!(plain("max-age=60, max-age=1").max_age, seconds(1));
        assert_eq!(plain("max-age=1, max-age=60").max_age, seconds(1));
        assert_eq!(
            read(&[("cache-control", "s-maxage=9"), ("cache-control", "s-maxage=3")]).s_maxage,
            seconds(3)
        );
        for invalid in ["max-age=-1", "max-age='60'", "max-age=1.5", "max-age", "max-age= 60"] {
            assert_eq!(plain(invalid).max_age, seconds(0), "{invalid}");
        }
        assert_eq!(plain("extension=\"max-age=60\", max-age=1").max_age, seconds(1));
        assert_eq!(plain("no-cache=\"x\", no-cache").no_cache, Fields::All);
    }

    #[test]
    fn rfc9111_5_2_2_4_and_7_no_cache_and_private_may_name_fields() {
        let read = plain("no-cache=\"Set-Cookie, X-A\", private=x-b");
        let name = |name| HeaderName::from_static(name);
        assert_eq!(read.no_cache, Fields::Only(vec![header::SET_COOKIE, name("x-a")]));
        assert!(read.private.covers(&name("x-b")) && !read.private.covers(&name("x-a")));
        assert_eq!(plain("private=\"\"").private, Fields::All, "nothing is named");
        let twice = plain("private=\"x-a\", private=\"x-b\"");
        assert_eq!(twice.private, Fields::Only(vec![name("x-a"), name("x-b")]));
    }

    #[test]
    fn rfc9111_4_2_4_what_forbids_stale_responses() {
        for (value, expected) in [
            ("must-revalidate", true),
            ("proxy-revalidate", true),
            ("s-maxage=1", true),
            ("no-cache", true),
            ("no-cache=\"x\"", false),
            ("max-age=1, public", false),
        ] {
            assert_eq!(plain(value).forbid_stale(), expected, "{value}");
        }
    }

    #[test]
    fn rfc9213_2_2_a_targeted_field_stands_for_cache_control() {
        let both = read(&[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60, public;x=1")]);
        let expected = ResponseDirectives {
            max_age: seconds(60),
            public: true,
            targeted: true,
            ..ResponseDirectives::default()
        };
        assert_eq!(both, expected);
        assert!(read(&[("cdn-cache-control", "no-store"), ("cache-control", "max-age=9")]).no_store);
        assert!(!read(&[("cdn-cache-control", "no-store=?0, max-age=1")]).no_store);
        let lines = [("cdn-cache-control", "max-age=9"), ("cdn-cache-control", "private")];
        assert_eq!(read(&lines).private, Fields::All, "lines are joined");
    }

    #[test]
    fn rfc9213_2_1_a_targeted_field_that_is_empty_or_invalid_does_not_count() {
        for value in ["", "max-age=60, &&&", "max-age=\"60\"", "max-age", "MAX-AGE=60", "max-age =60"] {
            let read = read(&[("cdn-cache-control", value), ("cache-control", "no-store")]);
            assert!(read.no_store && !read.targeted, "{value:?}");
        }
    }
}
