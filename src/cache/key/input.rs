//! The inputs of a batch in its keys.

use super::digest::write_all;
use crate::{
    cache::route::Route,
    dialect::Unshared,
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
    /// The member that holds the inputs, if their API says where they are: a text may be the address of an image in another.
    member: Option<&'static str>,
    /// What is left out of each input, and where its text is.
    ignore: Vec<Pointer>,
    text: Vec<Pointer>,
}

impl<'a> InputDigests<'a> {
    /// For the inputs of a request, of which `unshared` says where they are.
    pub(crate) fn new(route: &'a Route, unshared: Unshared<'_>) -> Self {
        let ignore = unshared.within_inputs(&route.ignore);
        let text = unshared.text_of_inputs(route.text.as_deref());
        // An input always counts, whatever the route ignores.
        let ignore = ignore.into_iter().filter(|pointer| *pointer != Pointer::whole()).collect();
        let member = match unshared {
            Unshared::Member(member, _) => Some(member),
            Unshared::List(_) => None,
        };
        Self { route, member, ignore, text }
    }

    /// The digest of one input, the same one alone and in a list; `shared` is that of what all inputs have in common.
    pub(crate) fn digest(&self, shared: &blake3::Hash, input: &Json<'_>) -> blake3::Hash {
        let Self { route, member, ignore, text } = self;
        let mut out = Vec::with_capacity(256);
        write_part(shared.as_bytes(), &mut out);
        if let Some(member) = member {
            write_part(member.as_bytes(), &mut out);
        }
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
        dialect::Dialect,
    };

    fn route() -> Route {
        Route::new("POST /ask", Kind::Query, Duration::from_secs(60), Scope::Credential).expect("a route")
    }

    #[test]
    fn an_input_counts_with_all_that_it_shares() {
        let unshared = || Unshared::Member("input", Dialect::Embedding.batch_api().expect("an API"));
        let shared = |body: &str, route: &Route| {
            let json = Json::parse(body.as_bytes()).expect("JSON");
            digest(&Request {
                route,
                dialect: Dialect::Embedding,
                method: &Method::POST,
                target: "/ask",
                headers: &HeaderMap::new(),
                host_counts: false,
                body: BodyDigest::new(route, Dialect::Embedding, Body::Shared(&json, unshared())),
            })
        };
        let of = |body: &str, input: &str, route: &Route| {
            let input = Json::parse(input.as_bytes()).expect("JSON");
            InputDigests::new(route, unshared()).digest(&shared(body, route), &input)
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
