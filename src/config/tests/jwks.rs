//! `[jwks]`: what it takes, and what does not fit together.

use super::*;
use crate::{cache::identity::Rules, config::jwks::JwksSource};

const RULES: &str = "issuer = [\"i\"]\naudience = [\"a\", \"b\"]\n";

#[test]
fn keys_have_a_place_and_rules() {
    assert_eq!(config("").jwks, None);
    let jwks = |text: &str| config(&format!("[jwks]\n{text}\n{RULES}")).jwks.expect("keys");
    let all = jwks("url = \"https://h/keys/?p=1\"\nca = \"/ca.pem\"\nleeway = \"1m\"\nrefresh = 7");
    assert_eq!(
        (all.rules, all.refresh),
        (
            Rules { issuers: vec!["i".into()], audiences: vec!["a".into(), "b".into()], leeway: 60 },
            Duration::from_secs(7)
        )
    );
    let JwksSource::Url(url, ca) = all.source else { panic!("a URL") };
    assert_eq!((url.server.to_string(), url.target), ("https://h".to_owned(), "/keys/?p=1".to_owned()));
    assert_eq!(ca, Some("/ca.pem".into()));
    assert_eq!(jwks("file = \"/keys\"").source, JwksSource::File("/keys".into()));
    for (url, server, target, exposed) in [
        ("https://h", "https://h", "/", false),
        ("https://h?p=1", "https://h", "/?p=1", false),
        ("http://h:81/a", "http://h:81", "/a", true),
        ("http://127.0.0.1:81/a", "http://127.0.0.1:81", "/a", false),
        ("http://[::1]/a", "http://[::1]", "/a", false),
        ("http://localhost/a", "http://localhost", "/a", false),
    ] {
        let JwksSource::Url(found, _) = jwks(&format!("url = \"{url}\"")).source else { panic!("{url}") };
        assert_eq!((found.server.to_string(), &*found.target), (server.to_owned(), target), "{url}");
        assert_eq!(found.is_exposed(), exposed, "{url}");
    }
}

#[test]
fn what_is_wrong_names_the_place_and_the_mend() {
    for (text, wanted) in [
        ("url = \"https://h/\"", "needs jwks.issuer: who issues the tokens"),
        ("url = \"https://h/\"", "needs jwks.audience: whom the tokens are for"),
        ("file = \"/k\"\nissuer = []\naudience = []", "jwks.issuer: names no issuer"),
        (
            "url = \"https://h/\"\nfile = \"/k\"\nissuer = [\"i\"]\naudience = []",
            "jwks.file: and jwks.url both name keys",
        ),
        ("issuer = [\"i\"]", "jwks.issuer: is of no use without jwks.url or jwks.file"),
        ("audience = []", "jwks.audience: is of no use without jwks.url or jwks.file"),
        ("file = \"/k\"\nissuer = [\"i\"]\naudience = []\nca = \"/c\"", "jwks.ca: is for a jwks.url"),
        ("url = \"h/keys\"", "has no scheme; did you mean http://h"),
        ("url = \"https://h/a#b\"", "is no URL of a JWKS; write https://HOST/PATH"),
        ("url = \"unix:/run/a.sock\"", "is no URL of a JWKS; write https://HOST/PATH"),
        ("url = \"https://u:p@h/\"", "must not have a user or a password"),
        ("refresh = 0", "jwks.refresh: "),
    ] {
        let found = faults(&with_upstream(&format!("[jwks]\n{text}\n")));
        assert!(
            found.lines().any(|line| line.contains(wanted) && line.starts_with("s.toml:")),
            "{text}: {found}"
        );
    }
}
