//! The inputs of a batch in its keys.

use super::digest::write_all;
use crate::{
    cache::route::Route,
    dialect::Dialect,
    json::{
        Json,
        canonical::{self, write_part},
        pointer::Pointer,
    },
};

/// How the inputs of a batch count, each by itself.
#[derive(Debug)]
pub(crate) struct InputDigests<'a> {
    route: &'a Route,
    /// What is left out of each input, and where its text is.
    ignore: Vec<Pointer>,
    text: Vec<Pointer>,
}

impl<'a> InputDigests<'a> {
    pub(crate) fn new(route: &'a Route) -> Self {
        let (ignore, text) = match &route.batch {
            Some(lists) => {
                let of_inputs = |pointers: &[Pointer]| -> Vec<_> {
                    pointers.iter().filter_map(|pointer| pointer.within_elements_of(&lists.request)).collect()
                };
                (of_inputs(&route.ignore), of_inputs(route.text.as_deref().unwrap_or_default()))
            }
            None => {
                let own = Dialect::Embedding.text();
                let is_text = |pointers: &Vec<Pointer>| pointers.iter().any(|pointer| own.contains(pointer));
                let text = route.text.as_ref().is_none_or(is_text).then(Pointer::whole);
                (Vec::new(), text.into_iter().collect())
            }
        };
        // An input always counts, whatever the route ignores.
        let ignore = ignore.into_iter().filter(|pointer| *pointer != Pointer::whole()).collect();
        Self { route, ignore, text }
    }

    /// The digest of one input, the same one alone and in a list; `shared` is that of what all inputs have in common.
    pub(crate) fn digest(&self, shared: &blake3::Hash, input: &Json<'_>) -> blake3::Hash {
        let Self { route, ignore, text } = self;
        let mut out = Vec::with_capacity(256);
        write_part(shared.as_bytes(), &mut out);
        if let Some(lists) = &route.batch {
            write_all(lists.answers.iter().map(Pointer::as_str), &mut out);
        }
        let (normalize, mask) = (&route.normalize, &route.mask);
        canonical::write(
            input,
            &canonical::Rules { ignore, text, normalize, mask, ..canonical::Rules::default() },
            &mut out,
        );
        blake3::hash(&out)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, Method};

    use super::*;
    use crate::{
        cache::{
            key::{Body, BodyDigest, Request, digest},
            route::{Scope, kind::Kind},
        },
        dialect::Unshared,
    };

    fn route() -> Route {
        Route::new("POST /ask", Kind::Query, Duration::from_secs(60), Scope::Credential).expect("a route")
    }

    #[test]
    fn an_input_counts_with_all_that_it_shares() {
        let shared = |body: &str, route: &Route| {
            let json = Json::parse(body.as_bytes()).expect("JSON");
            digest(&Request {
                route,
                dialect: Dialect::Embedding,
                method: &Method::POST,
                target: "/ask",
                headers: &HeaderMap::new(),
                host_counts: false,
                body: BodyDigest::new(
                    route,
                    Dialect::Embedding,
                    Body::Shared(&json, Unshared::Members(["input", "user"])),
                ),
            })
        };
        let of = |body: &str, input: &str, route: &Route| {
            let input = Json::parse(input.as_bytes()).expect("JSON");
            InputDigests::new(route).digest(&shared(body, route), &input)
        };
        let mut plain = route();
        let one = of(r#"{"model":"m","input":["a"],"user":"u"}"#, r#""a""#, &plain);
        assert_eq!(one, of(r#"{"input":"b", "model":"\u006d"}"#, r#""\u0061""#, &plain));
        for (body, input) in [
            (r#"{"model":"n","input":"a"}"#, r#""a""#),
            (r#"{"model":"m","input":"a","dimensions":2}"#, r#""a""#),
            (r#"{"model":"m","input":"a"}"#, r#""b""#),
            (r#"{"model":"m","input":"a"}"#, r#""A""#),
            (r#"{"model":"m","input":"a"}"#, "[97]"),
        ] {
            assert_ne!(one, of(body, input, &plain), "{body} {input}");
        }
        plain.ignore = vec!["/input".parse().expect("a pointer"), "/input/*".parse().expect("a pointer")];
        assert_ne!(of("{}", r#""a""#, &plain), of("{}", r#""b""#, &plain), "an input always counts");
        plain.normalize = vec![crate::json::canonical::Normalize::Casefold];
        assert_eq!(of("{}", r#""a""#, &plain), of("{}", r#""A""#, &plain));
        plain.text = Some(vec!["/title".parse().expect("a pointer")]);
        assert_ne!(of("{}", r#""a""#, &plain), of("{}", r#""A""#, &plain));
    }
}
