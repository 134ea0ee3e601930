use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use http::Request;
use proptest::prelude::*;

use super::*;
use crate::cache::route::Route;

fn classify_context() -> ClassifyContext {
    ClassifyContext {
        namespace: "ns".into(),
        epoch: None,
        encryption: None,
        host_counts: false,
        log_questions: true,
        resources: Resources::default(),
        parse_cache: ParseCache::for_store(0),
        choices: Choices::default(),
        identities: Arc::new(Identities::unverified(|| 0)),
    }
}

fn routes() -> [Arc<Route>; 4] {
    let route = |kind| {
        let route = Route::new("POST /**", kind, Duration::from_secs(60), Scope::Credential);
        route.expect("a route")
    };
    let ignoring = Route { ignore: vec!["/model".parse().expect("a pointer")], ..route(Kind::Query) };
    let conditional =
        Route { when: vec!["/model != \"ma\"".parse().expect("a condition")], ..route(Kind::Query) };
    [route(Kind::Query), ignoring, route(Kind::Other), conditional].map(Arc::new)
}

proptest! {
    /// A body, or a head, that comes again is understood as if it came for the first time, wherever it is
    /// sent, whoever sends it.
    #[test]
    fn what_is_remembered_is_what_would_be_read(
        asked in proptest::collection::vec(
            (0..4_usize, 0..3_usize, 0..3_usize, "[ab]?", "[ab]?", any::<bool>()),
            1..60,
        ),
    ) {
        let warm = classify_context();
        let routes = routes();
        let mut headings = HashMap::new();
        for (route, path, shape, text, client, stream) in asked {
            let path = ["/v1/chat/completions", "/api/v1/query", "/x"][path];
            let body = match shape {
                0 => format!(r#"{{"model":"{text}","messages":[],"stream":{stream}}}"#),
                1 => format!(r#"{{"query":"{text}","conversation_id":"{client}"}}"#),
                _ => format!(r#"{{"stream":{stream},"model":"m{text}"}}"#),
            };
            let request = Request::post(path)
                .header("content-type", "application/json")
                // In the key of some dialects alone.
                .header("accept", "text/event-stream")
                .header("authorization", format!("Bearer {client}"));
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            let read = || RequestHead::new(&routes[route], &parts);
            let known = headings.entry((route, path, client)).or_insert_with(read);
            let again = classify(known, &parts, &RawBody::new(body.as_bytes()), &warm);
            let first = classify(&read(), &parts, &RawBody::new(body.as_bytes()), &classify_context());
            prop_assert_eq!(format!("{again:?}"), format!("{first:?}"));
        }
    }
}

proptest! {
    /// On every kind of route, in both modes: the keys of two epochs differ, those of one are the same, and
    /// a head that is remembered from the one is read in the other.
    #[test]
    fn no_two_epochs_share_a_key(one in "[ab]{0,3}", two in "[ab]{0,3}", text in "[ab]{0,3}") {
        let none = (!one.is_empty()).then_some(one);
        let epochs = [none, Some(format!("c{two}")), Some(format!("d{two}"))];
        let body = format!(
            r#"{{"model":"m","messages":[],"input":["{text}","x{text}"],"query":"q","documents":["d"]}}"#
        );
        for kind in Kind::ALL {
            for mode in [Mode::Ttl, Mode::Rfc9111] {
                let route = Route::new("* /**", kind, Duration::from_secs(60), Scope::Credential);
                let route = Arc::new(Route { mode, ..route.expect("a route") });
                let request = Request::get("/v1/some").header("content-type", "application/json");
                let (parts, ()) = request.body(()).expect("a request").into_parts();
                let head = RequestHead::new(&route, &parts);
                let keys = |epoch: &Option<String>| {
                    let context = ClassifyContext { epoch: epoch.clone(), ..classify_context() };
                    let classified = classify(&head, &parts, &RawBody::new(body.as_bytes()), &context);
                    let Ok(request) = classified else { panic!("{kind} {mode:?}") };
                    let inputs = request.batch.iter().flat_map(|batch| batch.keys().to_vec());
                    request.key.clone().into_iter().chain(inputs).map(|key| key.name()).collect::<Vec<_>>()
                };
                let all: Vec<_> = epochs.iter().flat_map(keys).collect();
                let inputs = if kind == Kind::Embedding && mode == Mode::Ttl { 2 } else { 0 };
                prop_assert_eq!(all.len(), epochs.len() * (1 + inputs), "{} {:?}", kind, mode);
                prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "{} {:?}", kind, mode);
                prop_assert_eq!(keys(&epochs[1]), keys(&epochs[1]));
            }
        }
    }
}

#[test]
fn a_body_is_read_once() {
    let classify_context = classify_context();
    let routes = routes();
    let body = br#"{"model":"m","messages":[]}"#;
    let path = "/v1/chat/completions";
    let name = classify_context.parse_cache.body_id(body);
    let request = Request::post(path).header("content-type", "application/json");
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let is_known =
        |route: usize, path| classify_context.parse_cache.recall(&name, &routes[route], path).is_some();
    assert!(!is_known(0, path));
    let head = RequestHead::new(&routes[0], &parts);
    assert!(classify(&head, &parts, &RawBody::new(body), &classify_context).is_ok());
    assert!(is_known(0, path));
    assert!(!is_known(1, path), "on another route it may mean something else");
    assert!(!is_known(0, "/v1/responses"), "on another path it may mean something else");
}
