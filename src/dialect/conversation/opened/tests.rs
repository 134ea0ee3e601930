use super::*;
use crate::dialect::own_ids;
use crate::http::sse::Framing;

fn without_opened(framing: Framing, body: &[u8], named: &[String]) -> Result<Option<Bytes>, Reason> {
    IdEdit::new(RequestIds { named, own: &[] }, &[], &Opens::default()).apply(framing, body)
}

fn nulled(framing: Framing, body: &'static str) -> Option<String> {
    let body = Bytes::from_static(body.as_bytes());
    without_opened(framing, &body, &[])
        .expect("ids on one line")
        .map(|out| String::from_utf8(out.to_vec()).expect("UTF-8"))
}

#[test]
fn names_count_in_every_spelling_and_place() {
    let places = ["@", r#"{"data":@}"#, r#"{"a":{"b":{"c":@}}}"#, r#"{"a":[[{"b":@}]]}"#, r#"[@]"#];
    for name in ["conversation_id", "Session-ID", "threadId", "chat_id", "chatSessionId", "parent_message_id"]
    {
        for place in places {
            for value in ["\"x\"", "7"] {
                let text = place.replace('@', &format!(r#"{{"a":1,"{name}":{value}}}"#));
                let nulled = without_opened(Framing::Whole, text.as_bytes(), &[]);
                let expected = text.replace(&format!("\"{name}\":{value}"), &format!("\"{name}\":null"));
                assert_eq!(nulled, Ok(Some(expected.into())), "{text}");
                let named = [value.trim_matches('"').to_owned()];
                assert_eq!(without_opened(Framing::Whole, text.as_bytes(), &named), Ok(None), "{text}");
            }
        }
    }
    for text in [
        r#"{"a":{"b":{"c":{"d":{"session_id":"x"}}}}}"#,
        r#"{"session_ids":"x","assertion_id":"y","chat":"z","message_id":"m","run_id":"r","id":"i"}"#,
        r#"{"session_id":true,"thread_id":["t"],"chat_id":{"x":"y"},"conversation":{"x":1}}"#,
    ] {
        assert_eq!(without_opened(Framing::Whole, text.as_bytes(), &[]), Ok(None), "{text}");
    }
}

#[test]
fn ids_beside_an_opened_conversation_go_too() {
    let opens = r#"{"data":{"session_id":"s","message_id":"m"},"run_id":"r","task-id":4}"#;
    assert_eq!(
        nulled(Framing::Whole, opens).as_deref(),
        Some(r#"{"data":{"session_id":null,"message_id":null},"run_id":null,"task-id":null}"#)
    );
    let named = ["s".to_owned()];
    assert_eq!(
        without_opened(Framing::Whole, opens.as_bytes(), &named),
        Ok(None),
        "it repeats what was asked"
    );
}

proptest::proptest! {
    /// The search for names misses none that reading finds.
    #[test]
    fn what_may_have_a_name_is_read(
        prefix in "[ -~é]{0,9}", name in proptest::sample::select(&NAMES[..]), capitals: u16, escape: bool,
    ) {
        let name: String = name.chars().enumerate().map(|(place, letter)| match capitals >> (place % 16) & 1 {
            1 => letter.to_ascii_uppercase(),
            _ => letter,
        }).collect();
        let name = if escape { name.replacen('n', "\\u006e", 1).replacen("id", "\\u0069d", 1) } else { name };
        let mut text = Vec::new();
        Json::object([("x", Json::text(prefix))]).write(&mut text);
        text.pop();
        text.extend_from_slice(format!(",\"{name}\":\"v\"}}").as_bytes());
        let opened = without_opened(Framing::Whole, &text, &[]).expect("a document");
        proptest::prop_assert!(opened.is_some(), "{}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn opened_ids_are_nulled_and_all_else_is_unchanged() {
    assert_eq!(
        nulled(Framing::Whole, r#"{ "answer" : "a", "conversation_id" : "c\u0031", "session_id":4 }"#)
            .as_deref(),
        Some(r#"{ "answer" : "a", "conversation_id" : null, "session_id":null }"#)
    );
    assert_eq!(
        nulled(Framing::Whole, r#"{"conversation":{"id":"c","turn":1},"answer":"a"}"#).as_deref(),
        Some(r#"{"conversation":{"id":null,"turn":1},"answer":"a"}"#)
    );
    assert_eq!(nulled(Framing::Whole, r#"{"answer":"conversation_id"}"#), None);
    assert_eq!(nulled(Framing::Events, ": hello\n\ndata: [DONE]\n"), None);
    assert_eq!(nulled(Framing::Events, "data: He called it a \"conversation\".\n\n"), None);
    assert_eq!(
        nulled(Framing::Events, "data: {\"thread_id\": \"t\"}\n\ndata: x\n\ndata: [DONE]\n\n").as_deref(),
        Some("data: {\"thread_id\": null}\n\ndata: x\n\ndata: [DONE]\n\n")
    );
    assert_eq!(
        nulled(Framing::Lines, " {\"thread_id\": \"t\"} \r\n{\"a\":1}").as_deref(),
        Some(" {\"thread_id\": null} \r\n{\"a\":1}")
    );
}

#[test]
fn what_cannot_be_read_and_may_have_an_id_is_refused() {
    for (framing, body) in [
        (Framing::Events, &b"data: {\"thread_id\": \"t\"}\ndata: {\"a\": 1}\n\n"[..]),
        (Framing::Events, b"data: {\"thread_id\": \"t\"}\n"),
        (Framing::Events, b"data: {\"thread_id\": \"t\", \"a\": \"\xff\"}\n\n"),
        (Framing::Events, b"data: {\"thread_id\": \"t\"\n\n"),
        (Framing::Lines, b"{\"a\":1}\n{\"thread_id\": \"t\"\n"),
        (Framing::Lines, b"{\"thread_id\": \"t\", \"a\": \"\xff\"}\n"),
        (Framing::Whole, b"{\"thread_id\": \"t\"}\n{\"a\": 1}\n"),
    ] {
        let opened = without_opened(framing, body, &[]);
        assert_eq!(opened, Err(Reason::OpensConversation), "{framing:?} {}", String::from_utf8_lossy(body));
    }
}

fn opens(pointers: &[&str], instead: Instead) -> Opens {
    let pointers: Vec<Pointer> = pointers.iter().map(|pointer| pointer.parse().expect("a pointer")).collect();
    Opens { pointers: Some(pointers.into()), instead }
}

fn stored(opens: &Opens, request: RequestIds<'_>, body: &str) -> Result<Option<(String, Vec<Slot>)>, Reason> {
    let json = Json::parse(body.as_bytes()).expect("JSON");
    let mut reader = IdReader::new(request, opens);
    reader.read_document(&json, body.as_bytes(), 0)?;
    let text = |out: TakenOut| (String::from_utf8(out.body.to_vec()).expect("UTF-8"), out.slots);
    Ok(reader.for_store(body.as_bytes())?.map(text))
}

#[test]
fn a_route_names_elements_of_lists() {
    let body = r#" { "ids" : [ "a" , "b"], "of":[["c",1], [] ,["d"] ],"rows":[{"id":"e"},{"id":null}]}"#;
    let of = |pointers: &[&str], instead| {
        let out = stored(&opens(pointers, instead), RequestIds::default(), body).expect("removable");
        out.map(|(body, _)| body)
    };
    for (pointers, expected) in [
        (&["/ids/*"][..], Some(body.replace(r#""a" , "b""#, "null , null"))),
        (&["/ids/1"], Some(body.replace(r#""b""#, "null"))),
        (&["/of/*/*"], Some(body.replace(r#"["c",1], [] ,["d"]"#, "[null,null], [] ,[null]"))),
        (
            &["/of/*/0", "/rows/*/id"],
            Some(body.replace(r#""c""#, "null").replace(r#""d""#, "null").replace(r#""e""#, "null")),
        ),
        (&["/of/2"], Some(body.replace(r#"["d"]"#, "null"))),
        (&["/ids/7", "/of/*/x", "/rows/*"], Some(body.replace(r#"{"id":"e"},{"id":null}"#, "null,null"))),
        (&["/ids/7", "/ids/x", "/ids/*/x"], None),
    ] {
        assert_eq!(of(pointers, Instead::Null), expected, "{pointers:?}");
    }
    let dropped = of(&["/ids/0", "/of/*/*"], Instead::Drop);
    let expected = body.replace(r#""a" , "b""#, r#""b""#).replace(r#"["c",1], [] ,["d"]"#, "[], [] ,[]");
    assert_eq!(dropped, Some(expected));
    let last = of(&["/ids/1"], Instead::Drop);
    assert_eq!(last, Some(body.replace(r#", "b""#, "")));
}

#[test]
fn a_route_names_the_ids() {
    let body = r#"{"task":"t","data":{"rid":7,"session_id":"s"},"ids":["a","b"],"gone":null}"#;
    for (pointers, expected) in [
        (
            &["/task"][..],
            Some(r#"{"task":null,"data":{"rid":7,"session_id":"s"},"ids":["a","b"],"gone":null}"#),
        ),
        (
            &["/data/rid", "/ids", "/data/session_id"],
            Some(r#"{"task":"t","data":{"rid":null,"session_id":null},"ids":null,"gone":null}"#),
        ),
        (&["/data", "/data/rid"], Some(r#"{"task":"t","data":null,"ids":["a","b"],"gone":null}"#)),
        (&["/gone", "/missing", "/task/deeper"], None),
        (&[], None),
    ] {
        let out = stored(&opens(pointers, Instead::Null), RequestIds::default(), body).expect("removable");
        assert_eq!(out.map(|(body, _)| body).as_deref(), expected, "{pointers:?}");
    }
    let named = ["t".to_owned()];
    let request = RequestIds { named: &named, own: &[] };
    assert_eq!(stored(&opens(&["/task"], Instead::Null), request, body), Ok(None));
}

#[test]
fn a_dropped_member_takes_one_comma_along() {
    for (body, expected) in [
        (r#"{"x":1}"#, "{}"),
        (r#"{"x":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{ "x" : 1 , "a":2 }"#, r#"{ "a":2 }"#),
        (r#"{"a":2,"x":1}"#, r#"{"a":2}"#),
        (r#"{"a":2 , "x":1 }"#, r#"{"a":2  }"#),
        (r#"{"a":2,"x":1,"b":3}"#, r#"{"a":2,"b":3}"#),
        (r#"{"x":1,"y":2}"#, "{}"),
        (r#"{"a":2,"x":1,"y":2}"#, r#"{"a":2}"#),
        (r#"{"x":1,"a":2,"y":2}"#, r#"{"a":2}"#),
        (r#"{"x":1,"y":2,"a":2}"#, r#"{"a":2}"#),
        (r#"{"d":{"x":1},"y":"}"}"#, r#"{"d":{}}"#),
        (r#"{"d":{"a":2,"x":1},"a":0}"#, r#"{"d":{"a":2},"a":0}"#),
    ] {
        let out = stored(&opens(&["/x", "/y", "/d/x"], Instead::Drop), RequestIds::default(), body);
        let (out, slots) = out.expect("removable").expect("an id");
        assert_eq!(out, expected, "{body}");
        assert_eq!(slots, []);
        Json::parse(out.as_bytes()).expect("JSON");
    }
}

#[test]
fn an_empty_text_stays_a_text() {
    let empty = Opens { pointers: None, instead: Instead::Empty };
    let out = stored(&empty, RequestIds::default(), r#"{"session_id":"s","message_id":7}"#);
    assert_eq!(out.expect("removable").expect("ids").0, r#"{"session_id":"","message_id":null}"#);
}

#[test]
fn a_name_is_found_whatever_is_in_it() {
    let body = r#"{"a\"b\\":1,"c":2}"#;
    let out = stored(&opens(&[r#"/a"b\"#], Instead::Drop), RequestIds::default(), body);
    assert_eq!(out.expect("removable").expect("an id").0, r#"{"c":2}"#);
}

proptest::proptest! {
    /// What is left of a document without some members is the document without these members.
    #[test]
    fn dropping_leaves_the_rest(members in proptest::collection::vec(("[ab]", "[ \n]?", 0..3_u8), 0..6)) {
        let member = |(index, (name, space, value)): (usize, &(String, String, u8))| {
            let value = ["1", r#""},{""#, r#"{"x":[1,2]}"#][usize::from(*value)];
            (format!("{name}{index}"), format!("{space}\"{name}{index}\"{space}:{space}{value}{space}"))
        };
        let members: Vec<_> = members.iter().enumerate().map(member).collect();
        let texts: Vec<_> = members.iter().map(|(_, text)| text.as_str()).collect();
        let body = format!("{{{}}}", texts.join(","));
        let going: Vec<_> = members.iter().filter(|(name, _)| name.starts_with('a')).collect();
        let pointers: Vec<_> = going.iter().map(|(name, _)| format!("/{name}")).collect();
        let pointers: Vec<_> = pointers.iter().map(String::as_str).collect();
        let out = stored(&opens(&pointers, Instead::Drop), RequestIds::default(), &body).expect("removable");
        let out = out.map_or(body.clone(), |(out, _)| out);
        let mut expected: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let object = expected.as_object_mut().expect("an object");
        object.retain(|name, _| name.starts_with('b'));
        let out: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        proptest::prop_assert_eq!(out, expected);
    }
}

#[test]
fn new_and_own_ids_get_slots() {
    let own = own_ids(
        &Json::parse(br#"{"session_id":"mine"}"#).expect("JSON"),
        &["/session_id".parse().expect("a pointer")],
    );
    let body = r#"{"session_id":"mine","task_id":"t","again":"t","n":4}"#;
    let opens = opens(&["/session_id", "/task_id", "/again", "/n"], Instead::Uuid);
    let request = RequestIds { named: &[], own: &own };
    let (out, slots) = stored(&opens, request, body).expect("removable").expect("ids");
    assert_eq!(out, r#"{"session_id":null,"task_id":null,"again":null,"n":null}"#);
    let places: Vec<_> = out.match_indices("null").map(|(at, _)| at).collect();
    let slot = |index: usize, fill| Slot { at: places[index], fill };
    assert_eq!(
        slots,
        [slot(0, SlotFill::Own("sessionid".into())), slot(1, SlotFill::New(0)), slot(2, SlotFill::New(0))]
    );
    let mut follower = IdEdit::new(RequestIds::default(), &own, &opens);
    let edited =
        [(); 2].map(|()| follower.apply(Framing::Whole, body.as_bytes()).expect("removable").expect("ids"));
    assert_eq!(edited[0], edited[1], "one follower has one id");
    let json: serde_json::Value = serde_json::from_slice(&edited[0]).expect("JSON");
    assert!(json["session_id"].is_null() && json["n"].is_null(), "it has no id of its own");
    assert_eq!(json["task_id"], json["again"]);
    assert!(json["task_id"].as_str().is_some_and(|id| id != "t"));
}

#[test]
fn an_answer_for_its_client_alone() {
    let alone = Opens { pointers: None, instead: Instead::Alone };
    let body = r#"{"answer":"a","session_id":"s"}"#;
    assert_eq!(stored(&alone, RequestIds::default(), body), Err(Reason::OpensConversation));
    let named = ["s".to_owned()];
    assert_eq!(stored(&alone, RequestIds { named: &named, own: &[] }, body), Ok(None));
    assert_eq!(stored(&alone, RequestIds::default(), r#"{"answer":"a"}"#), Ok(None));
}
