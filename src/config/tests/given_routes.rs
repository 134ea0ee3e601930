//! `--route` and `CACHE_ROUTES`.

use super::*;
use crate::cache::route::{Scope, kind::Kind};

/// With these routes as flags, and this variable.
fn given(routes: &[&str], variable: &str) -> Inputs {
    Inputs {
        routes: routes.iter().map(|&route| route.to_owned()).collect(),
        env: vec![("CACHE_ROUTES".to_owned(), variable.to_owned())],
        ..with_upstream("")
    }
}

/// Name, kind, TTL in seconds and origin of each route that is not built in.
fn routes(inputs: &Inputs) -> Vec<(String, Kind, u64, &'static str)> {
    let config = load(inputs).unwrap_or_else(|errors| panic!("{errors}")).config;
    let own = config.routes.iter().take_while(|route| !route.builtin);
    own.map(|route| (route.name.clone(), route.kind, route.ttl.as_secs(), route.origin())).collect()
}

#[test]
fn method_and_path_may_have_a_kind_and_a_ttl() {
    for (text, name, kind, ttl) in [
        ("POST /chat", "POST /chat", Kind::Query, 1_800),
        ("GET /things/{id}", "GET /things/{id}", Kind::Document, 3_600),
        ("PUT /ask", "PUT /ask", Kind::Query, 1_800),
        ("* /**", "* /**", Kind::Query, 1_800),
        ("POST /embed embedding", "POST /embed", Kind::Embedding, 86_400),
        ("POST /embed embedding 7d", "POST /embed", Kind::Embedding, 604_800),
        ("POST /chat 90", "POST /chat", Kind::Query, 90),
        ("GET /all other 0", "GET /all", Kind::Other, 0),
        ("  POST\t/chat  query  1m ", "POST /chat", Kind::Query, 60),
    ] {
        let wanted = |origin| [(name.to_owned(), kind, ttl, origin)];
        assert_eq!(routes(&given(&[text], "")), wanted("--route"), "{text}");
        assert_eq!(routes(&given(&[], text)), wanted("CACHE_ROUTES"), "{text}");
    }
}

#[test]
fn they_come_before_the_files_routes_and_take_its_settings() {
    let file = with_upstream(
        "scope = \"shared\"\nignore_headers = [\"x-a\"]\nttl.query = \"7m\"\n[[route]]\nmatch = \"POST /a\"\nkind = \"other\"",
    );
    let given = given(&["POST /b", "POST /c"], "POST /d; GET /e;");
    let inputs = Inputs { file: file.file, ..given };
    let names: Vec<_> = routes(&inputs).into_iter().map(|(name, _, _, origin)| (name, origin)).collect();
    let wanted = [
        ("POST /b", "--route"),
        ("POST /c", "--route"),
        ("POST /d", "CACHE_ROUTES"),
        ("GET /e", "CACHE_ROUTES"),
        ("POST /a", "file"),
    ];
    assert_eq!(names, wanted.map(|(name, origin)| (name.to_owned(), origin)));
    let config = load(&inputs).unwrap_or_else(|errors| panic!("{errors}")).config;
    let (first, own) = (&config.routes[0], &config.routes[4]);
    assert_eq!((&first.scope, first.ttl), (&Scope::Shared, Duration::from_secs(420)));
    assert_eq!(first.ignore_headers, own.ignore_headers);
}

#[test]
fn the_environment_wins_over_dotenv() {
    let dotenv = |routes: &str| Some((".env".into(), vec![("CACHE_ROUTES".to_owned(), routes.to_owned())]));
    let inputs = Inputs { dotenv: dotenv("POST /a"), ..given(&[], "POST /b") };
    assert_eq!(routes(&inputs)[0].0, "POST /b");
    assert_eq!(routes(&inputs).len(), 1);
    assert_eq!(routes(&Inputs { dotenv: dotenv("POST /a"), ..given(&[], " ") })[0].0, "POST /a");
    let wrong = faults(&Inputs { dotenv: dotenv("POST"), ..inputs });
    assert!(wrong.starts_with(".env:CACHE_ROUTES: \"POST\" is no route; "), "{wrong}");
}

#[test]
fn what_is_wrong_with_a_route() {
    let form = "write METHOD PATH, and perhaps a kind and a TTL, as in \"POST /embed embedding 24h\"";
    for (text, wanted) in [
        ("", format!("\"\" is no route; {form}")),
        ("/chat", format!("\"/chat\" is no route; {form}")),
        (
            "post /chat",
            "\"post /chat\": `post` is no method: write it in capitals, or `*` for any".to_owned(),
        ),
        ("POST chat", "\"POST chat\": the path `chat` must begin with `/`".to_owned()),
        (
            "POST /chat qery",
            "\"POST /chat qery\": \"qery\" is none of query, embedding, document, conversation, other, rerank; did you mean `query`?"
                .to_owned(),
        ),
        (
            "POST /chat query soon",
            "\"POST /chat query soon\": \"soon\" is no duration; write whole seconds or 500ms, 30s, 30m, 24h".to_owned(),
        ),
        (
            "POST /chat 5 query",
            format!("\"POST /chat 5 query\": \"query\" is too much; {form}"),
        ),
    ] {
        assert_eq!(faults(&given(&[text], "")), format!("--route: {wanted}"));
        if !text.is_empty() {
            let all = faults(&given(&[], &format!("POST /good; {text};GET /good")));
            assert_eq!(all, format!("CACHE_ROUTES (environment): {wanted}"));
        }
    }
}

#[test]
fn two_with_one_name_are_a_fault() {
    assert_eq!(
        faults(&given(&["POST /a", "POST /a 1h"], "POST /a")),
        "--route: \"POST /a 1h\" is given already, by --route; leave one out\n\
         CACHE_ROUTES (environment): \"POST /a\" is given already, by --route; leave one out"
    );
    let file = with_upstream("[[route]]\nmatch = \"POST /a\"\nkind = \"query\"");
    assert_eq!(
        faults(&Inputs { file: file.file, ..given(&["POST /a"], "") }),
        "s.toml:2: route: \"POST /a\" is the name of a route by --route already; leave one out, or give this one \
         another name"
    );
}
