mod apis;

use bytes::Bytes;
use proptest::{prelude::*, sample::SizeRange};

use super::*;
use crate::{dialect::Ask, json::pointer::Pointer};

fn inputs(body: &str) -> Option<Inputs> {
    inputs_of(&EMBEDDING, body)
}

fn inputs_of(api: &'static BatchApi, body: &str) -> Option<Inputs> {
    let json = Json::parse(body.as_bytes()).expect("JSON");
    Inputs::find(Division::Api(api), body.as_bytes(), &json)
}

fn vectors(text: &Bytes, inputs: usize, takes_base64: bool) -> Result<Answers, AnswersError> {
    Answers::read(&Shape::Api(&EMBEDDING), text, &Ask { inputs, takes_base64, ..Ask::default() })
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn inputs_are_texts_or_tokens() {
    for (body, count) in [
        (r#"{"input":"a"}"#, Some(1)),
        (r#"{"input":["a"]}"#, Some(1)),
        (r#"{"input":["a","b","a"]}"#, Some(3)),
        (r#"{"input":[1,2,3]}"#, Some(1)),
        (r#"{"input":[[1,2],[3]]}"#, Some(2)),
        (r#"{"input":"a","prompt":null}"#, Some(1)),
        (r#"{"prompt":"a"}"#, Some(1)),
        (r#"{"input":["a"],"late_chunking":false}"#, Some(1)),
        (r#"{"input":[]}"#, None),
        (r#"{"input":[[]]}"#, None),
        (r#"{"input":["a",1]}"#, None),
        (r#"{"input":["a",[1]]}"#, None),
        (r#"{"input":[1,"a"]}"#, None),
        (r#"{"input":[{"image":"x"}]}"#, None),
        (r#"{"input":{"a":"b"}}"#, None),
        (r#"{"input":7}"#, None),
        (r#"{"input":"a","prompt":"b"}"#, None),
        (r#"{"input":["a","b"],"late_chunking":true}"#, None),
        (r#"{"model":"m"}"#, None),
    ] {
        assert_eq!(inputs(body).map(|inputs| inputs.count()), count, "{body}");
    }
}

#[test]
fn a_request_is_cut_out_of_the_callers_bytes() {
    let body = Bytes::from_static(b"{ \"x\":1.50, \"input\" : [ \"a\" ,\"\\u0062\", \"c\"],\n\"y\":[]} ");
    let found = inputs(&text(&body)).expect("inputs");
    assert_eq!(found.request(&body, &[0, 1, 2]), body);
    assert_eq!(
        found.request(&body, &[1]),
        r#"{ "x":1.50, "input" : ["\u0062"],"#.to_owned() + "\n\"y\":[]} "
    );
    assert_eq!(
        found.request(&body, &[2, 0]),
        r#"{ "x":1.50, "input" : ["c","a"],"#.to_owned() + "\n\"y\":[]} "
    );
    let one = Bytes::from_static(br#"{"input":"a"}"#);
    assert_eq!(inputs(&text(&one)).expect("an input").request(&one, &[0]), one);
}

#[test]
fn what_is_no_vector_for_each_input_is_a_fault() {
    let three =
        r#"{"data":[{"index":2,"embedding":[2]},{"index":0,"embedding":[0]},{"index":1,"embedding":[1]}]}"#;
    for (answer, count, fault) in [
        (three, 3, None),
        (three, 2, Some(AnswersError::Count(3))),
        (three, 4, Some(AnswersError::Count(3))),
        (
            r#"{"data":[{"index":0,"embedding":[0]},{"index":0,"embedding":[1]}]}"#,
            2,
            Some(AnswersError::Order),
        ),
        (
            r#"{"data":[{"index":1,"embedding":[0]},{"index":2,"embedding":[1]}]}"#,
            2,
            Some(AnswersError::Order),
        ),
        (r#"{"data":[{"embedding":[0]},{"index":1,"embedding":[1]}]}"#, 2, None),
        (r#"{"data":[{"index":"0","embedding":[0]}]}"#, 1, Some(AnswersError::Order)),
        (r#"{"data":[{"embedding":[0]}]}"#, 1, None),
        (r#"{"data":[{"index":0}]}"#, 1, Some(AnswersError::Unread)),
        (r#"{"data":[[0]]}"#, 1, Some(AnswersError::Unread)),
        (r#"{"data":[]}"#, 1, Some(AnswersError::Count(0))),
        (r#"{"data":[{"index":0,"index":1,"embedding":[0]}]}"#, 1, Some(AnswersError::Unread)),
        (r#"{"data":[],"data":[{"index":0,"embedding":[0]}]}"#, 1, Some(AnswersError::Unread)),
        (r#"{"embeddings":[[0],[1]]}"#, 2, None),
        (r#"{"embeddings":[[0],[1]]}"#, 1, Some(AnswersError::Count(2))),
        (r#"{"embedding":[0]}"#, 1, None),
        (r#"{"embedding":[0]}"#, 2, Some(AnswersError::Count(1))),
        (r#"{"embedding":[0],"embeddings":[[0]]}"#, 1, Some(AnswersError::Unread)),
        (r#"{"error":{"message":"no"}}"#, 1, Some(AnswersError::Error)),
        (r#"{"error":null,"embedding":[0]}"#, 1, None),
        (r#"{"vectors":[[0]]}"#, 1, Some(AnswersError::Unread)),
        (r#"{"embedding":[0]"#, 1, Some(AnswersError::Unread)),
        ("[[0]]", 1, Some(AnswersError::Unread)),
    ] {
        let read = vectors(&Bytes::from(answer), count, true);
        assert_eq!(read.err(), fault, "{answer} for {count}");
    }
}

#[test]
fn vectors_are_numbers_and_alike() {
    let read = |answer: &str, takes_base64| vectors(&Bytes::from(answer.to_owned()), 2, takes_base64).err();
    for vectors in [
        ["[1]", "[ ]"],
        ["[1]", "null"],
        ["[1]", "[null]"],
        ["[1,null]", "[1,2]"],
        ["[1]", "[1,2]"],
        ["[1]", "\"AAAAAA==\""],
        ["[[1]]", "[[2]]"],
        ["[true]", "[false]"],
        ["{\"float\":[1]}", "{\"float\":[2]}"],
        ["\"\"", "\"\""],
        ["\"a text\"", "\"a text\""],
        ["1", "2"],
    ] {
        let [first, second] = vectors;
        for answer in [
            format!(r#"{{"data":[{{"index":0,"embedding":{first}}},{{"index":1,"embedding":{second}}}]}}"#),
            format!(r#"{{"data":[{{"index":1,"embedding":{second}}},{{"index":0,"embedding":{first}}}]}}"#),
            format!(r#"{{"embeddings":[{second},{first}]}}"#),
        ] {
            assert_eq!(read(&answer, true), Some(AnswersError::Unread), "{answer}");
        }
    }
    let base64 = r#"{"data":[{"index":0,"embedding":"AACAPw=="},{"index":1,"embedding":"AACAPw=="}]}"#;
    assert_eq!(
        [true, false].map(|takes_base64| read(base64, takes_base64)),
        [None, Some(AnswersError::Unread)]
    );
    assert_eq!(read(r#"{"embeddings":[[1, -2.5e3],[0,1]]}"#, false), None);
    assert_eq!(read(r#"{"embeddings":[[1],[NaN]]}"#, true), Some(AnswersError::Unread));
}

#[test]
fn one_number_may_be_left_out() {
    for (indexes, expected) in [
        (["", "1", "2"], Some("012")),
        (["0", "", "2"], Some("012")),
        (["2", "1", ""], Some("210")),
        (["1", "", "0"], Some("201")),
        (["", "", "2"], None),
        (["", "", ""], None),
        (["0", "0", ""], None),
        (["0", "3", ""], None),
    ] {
        let item = |(place, index): (usize, &str)| match index {
            "" => format!("{{\"embedding\":[{place}]}}"),
            index => format!("{{\"embedding\":[{place}],\"index\":{index}}}"),
        };
        let items: Vec<_> = indexes.into_iter().enumerate().map(item).collect();
        let answer = format!("{{\"data\":[{}]}}", items.join(","));
        let read = vectors(&Bytes::from(answer.clone()), 3, false);
        let Some(expected) = expected else {
            assert_eq!(read.err(), Some(AnswersError::Order), "{answer}");
            continue;
        };
        let read = read.expect("three vectors");
        let order: String = (0..3)
            .map(|place| text(&read.alone(place)))
            .map(|alone| {
                assert!(alone.contains("\"index\":0"), "{alone}");
                alone.split(['[', ']']).nth(2).expect("a vector").to_owned()
            })
            .collect();
        assert_eq!(order, expected, "{answer}");
    }
}

#[test]
fn answers_of_two_models_are_not_put_together() {
    let read = |model: &str, vector: &str| {
        let answer = format!(r#"{{"data":[{{"index":0,"embedding":{vector}}}]{model}}}"#);
        vectors(&Bytes::from(answer), 1, false).expect("a vector")
    };
    let first = read(r#","model":"a""#, "[1]");
    assert!(first.is_like(&read(r#","model":"a""#, "[2]")));
    assert!(!first.is_like(&read(r#","model":"b""#, "[2]")));
    assert!(!first.is_like(&read("", "[2]")));
    assert!(!first.is_like(&read(r#","model":"a""#, "[1,2]")));
}

#[test]
fn alone_an_answer_cost_nothing() {
    let openai = r#"{"usage": {"prompt_tokens":8,"details":{"cached":[1.5]},"tier":"x","total_tokens":8}, "model":"m",
        "data" : [{"index":1,"embedding":[1]}, {"embedding": [ 0.10 ] , "index" : 0}],"x":7}"#;
    let read = vectors(&Bytes::from(openai), 2, true).expect("two vectors");
    assert_eq!((read.model.as_deref(), read.usage.and_then(|usage| usage.total)), (Some("m"), Some(8)));
    let expected = r#"{"usage": {"prompt_tokens":0,"details":{"cached":[0]},"tier":"x","total_tokens":0}, "model":"m",
        "data" : [{"embedding": [ 0.10 ] , "index" : 0}],"x":7}"#;
    assert_eq!(read.alone(0), expected);
    assert_eq!(
        read.alone(1),
        expected.replace(r#"{"embedding": [ 0.10 ] , "index" : 0}"#, r#"{"index":0,"embedding":[1]}"#)
    );
    let ollama = r#"{"model":"m","embeddings":[[1],[2.0]],"total_duration":14,"load_duration":1,"prompt_eval_count":8}"#;
    let read = vectors(&Bytes::from(ollama), 2, true).expect("two vectors");
    assert_eq!(read.usage.and_then(|usage| usage.prompt), Some(8));
    assert_eq!(
        read.alone(1),
        r#"{"model":"m","embeddings":[[2.0]],"total_duration":0,"load_duration":0,"prompt_eval_count":0}"#
    );
    let older = vectors(&Bytes::from(r#"{ "embedding" : [1, 2] }"#), 1, true).expect("a vector");
    assert_eq!(older.alone(0), r#"{ "embedding" : [1, 2] }"#);
}

#[test]
fn answers_of_several_kinds_are_not_put_together() {
    let read = |text: &'static str, count| vectors(&Bytes::from(text), count, true).expect("vectors");
    let openai = read(r#"{"data":[{"index":0,"embedding":[0]}]}"#, 1);
    let (plain, single) = (read(r#"{"embeddings":[[0]]}"#, 1), read(r#"{"embedding":[0]}"#, 1));
    assert_eq!(openai.with(&[(&openai, 0), (&plain, 0)], None), None);
    assert_eq!(plain.with(&[(&plain, 0), (&single, 0)], None), None);
    assert_eq!(single.with(&[(&single, 0), (&single, 0)], None), None);
}

/// One way in which a service writes its answers.
#[derive(Clone, Copy, Debug)]
enum Style {
    IndexFirst,
    IndexLast,
    Base64,
    Plain,
}

impl Style {
    /// A vector that no other seed has, written in a way that a conversion would not keep.
    fn vector(self, seed: u32) -> String {
        match self {
            Self::Base64 => format!("\"{seed:08x}/+==\""),
            _ => format!("[{seed}.50, -1e-{seed} ,0.10]"),
        }
    }

    fn item(self, index: usize, seed: u32) -> String {
        let vector = self.vector(seed);
        match self {
            Self::IndexFirst | Self::Base64 => format!(r#"{{"index":{index}, "embedding":{vector}}}"#),
            Self::IndexLast => format!(r#"{{"object":"embedding","embedding":{vector},"index": {index} }}"#),
            Self::Plain => vector,
        }
    }

    fn answer(self, items: &[String]) -> String {
        let name = if matches!(self, Self::Plain) { "embeddings" } else { "data" };
        format!(r#"{{"model":"m","{name}" :[{}], "usage":{{"total_tokens":0}}}}"#, items.join(","))
    }
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![Just(Style::IndexFirst), Just(Style::IndexLast), Just(Style::Base64), Just(Style::Plain)]
}

fn seeds(size: impl Into<SizeRange>) -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(0..50_u32, size)
}

proptest! {
    /// However an answer is ordered, each vector is found where its index says; an answer in order keeps its
    /// bytes.
    #[test]
    fn vectors_are_found_by_their_index(style in style(), (seeds, order) in seeds(1..8).prop_flat_map(|seeds| {
        let order: Vec<usize> = (0..seeds.len()).collect();
        (Just(seeds), Just(order).prop_shuffle())
    })) {
        let order = if matches!(style, Style::Plain) { (0..seeds.len()).collect() } else { order };
        let items: Vec<_> = order.iter().map(|&at| style.item(at, seeds[at])).collect();
        let answer = Bytes::from(style.answer(&items));
        let vectors = vectors(&answer, seeds.len(), true).expect("a vector for each");
        let own: Vec<_> = (0..seeds.len()).map(|at| (&vectors, at)).collect();
        let sorted: Vec<_> = (0..seeds.len()).map(|at| style.item(at, seeds[at])).collect();
        prop_assert_eq!(text(&vectors.with(&own, None).expect("alike")), style.answer(&sorted));
        for (at, seed) in seeds.iter().enumerate() {
            prop_assert_eq!(text(&vectors.alone(at)), style.answer(&[style.item(0, *seed)]));
        }
    }

    /// An answer put together from any others has their vectors, byte for byte, and numbers them from zero.
    #[test]
    fn vectors_keep_their_bytes(
        style in style(),
        one in seeds(1..6),
        other in seeds(1..6),
        picks in proptest::collection::vec(any::<(bool, proptest::sample::Index)>(), 1..9),
    ) {
        let read = |seeds: &[u32]| {
            let items: Vec<_> = seeds.iter().enumerate().map(|(at, seed)| style.item(at, *seed)).collect();
            vectors(&Bytes::from(style.answer(&items)), seeds.len(), true).expect("a vector for each")
        };
        let (first, second) = (read(&one), read(&other));
        let picked: Vec<_> = picks.iter().map(|(of_first, at)| {
            let (of, seeds) = if *of_first { (&first, &one) } else { (&second, &other) };
            let at = at.index(seeds.len());
            (of, at, seeds[at])
        }).collect();
        let places: Vec<_> = picked.iter().map(|(of, at, _)| (*of, *at)).collect();
        let expected: Vec<_> = picked.iter().enumerate().map(|(at, (_, _, seed))| style.item(at, *seed)).collect();
        prop_assert_eq!(text(&first.with(&places, None).expect("alike")), style.answer(&expected));
    }

    /// The request for some inputs asks for those, in that order, and for all else as before.
    #[test]
    fn a_request_asks_for_the_chosen_inputs(
        texts in proptest::collection::vec(r#"[a-c",\\\[é]{0,4}"#, 1..6),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 1..6),
        pretty: bool,
    ) {
        let request = |texts: &[&String]| serde_json::json!({"model": "m", "input": texts, "dimensions": 2});
        let all: Vec<_> = texts.iter().collect();
        let written = if pretty { format!("{:#}", request(&all)) } else { request(&all).to_string() };
        let body = Bytes::from(written);
        let chosen: Vec<_> = picks.iter().map(|pick| pick.index(texts.len())).collect();
        let asked = inputs(&text(&body)).expect("inputs").request(&body, &chosen);
        let expected: Vec<_> = chosen.iter().map(|&at| &texts[at]).collect();
        let asked: serde_json::Value = serde_json::from_slice(&asked).expect("JSON");
        prop_assert_eq!(asked, request(&expected));
    }

    #[test]
    fn no_answer_panics(
        bytes in r#"[\[\]{}:,"0-9 ]{0,20}|\{"(data|embeddings|embedding|usage)":[\[\]{}:,"0-9 ]{0,12}\}"#,
        count in 0..3_usize,
    ) {
        if let Ok(vectors) = vectors(&Bytes::from(bytes), count, true) {
            let all: Vec<_> = (0..count).map(|at| (&vectors, at)).collect();
            vectors.with(&all, None);
            (0..count).for_each(|at| drop(vectors.alone(at)));
        }
    }
}

fn lists(request: &str, answers: &[&str]) -> BatchLists {
    let pointer = |text: &&str| match *text {
        "" => Pointer::whole(),
        text => text.parse().expect("a pointer"),
    };
    BatchLists { request: pointer(&request), answers: answers.iter().map(pointer).collect() }
}

#[test]
fn a_route_says_where_the_inputs_are() {
    let found = |body: &str, place: &str| {
        let json = Json::parse(body.as_bytes()).expect("JSON");
        let lists = lists(place, &["/o"]);
        let inputs = Inputs::find(Division::Lists(&lists), body.as_bytes(), &json)?;
        assert_eq!(inputs.values(&json).len(), inputs.count());
        Some(text(&inputs.request(&Bytes::from(body.to_owned()), &[inputs.count() - 1, 0])))
    };
    for (body, place, expected) in [
        (r#"{"a":[1, {"x":2} ,3]}"#, "/a", Some(r#"{"a":[3,1]}"#)),
        (r#"{"a":["x"]}"#, "/a", Some(r#"{"a":["x","x"]}"#)),
        (r#"{ "p": {"a" : [null,"y"], "b":1.0}}"#, "/p/a", Some(r#"{ "p": {"a" : ["y",null], "b":1.0}}"#)),
        (r#"{"a":[]}"#, "/a", None),
        (r#"{"a":"x"}"#, "/a", None),
        (r#"{"a":{"0":[1]}}"#, "/a", None),
        (r#"{"a":null}"#, "/a", None),
        (r#"{"b":[1]}"#, "/a", None),
        ("[1]", "/a", None),
    ] {
        assert_eq!(found(body, place).as_deref(), expected, "{body} {place}");
    }
}

fn cut(places: &[&str], answer: &str, inputs: usize) -> Result<Answers, AnswersError> {
    let shape = Shape::of_lists(&lists("/i", places));
    Answers::read(&shape, &Bytes::from(answer.to_owned()), &Ask { inputs, ..Ask::default() })
}

#[test]
fn what_has_no_element_for_each_input_is_a_fault() {
    for (places, answer, inputs, fault) in [
        (&["/o"][..], r#"{"o":["a",{"b":[1]}]}"#, 2, None),
        (&["/o", "/m/ids"], r#"{"m":{"x":1,"ids":[null,2]},"o":[1,2]}"#, 2, None),
        (&["/o", "/m/ids"], r#"{"o":[1,2]}"#, 2, None),
        (&["/o", "/ids"], r#"{"o":[1,2],"ids":null}"#, 2, None),
        (&[""], "[[0.1],[0.2]]", 2, None),
        (&["/o"], r#"{"o":[1]}"#, 2, Some(AnswersError::Count(1))),
        (&["/o"], r#"{"o":[1,null]}"#, 2, Some(AnswersError::Unread)),
        (&["/o", "/ids"], r#"{"o":[1,2],"ids":[1]}"#, 2, Some(AnswersError::Count(1))),
        (&["/o", "/ids"], r#"{"o":[1,2],"ids":{}}"#, 2, Some(AnswersError::Unread)),
        (&["/o", "/ids"], r#"{"ids":[1,2]}"#, 2, Some(AnswersError::Unread)),
        (&["/o"], r#"{"o":[1,2],"o":[3,4]}"#, 2, Some(AnswersError::Unread)),
        (&["/o"], r#"{"o":"ab"}"#, 2, Some(AnswersError::Unread)),
        (&["/o"], r#"{"o":[1,2]"#, 2, Some(AnswersError::Unread)),
        (&["/o"], r#"[{"o":[1,2]}]"#, 2, Some(AnswersError::Unread)),
        (&["/o"], r#"{"error":"no","o":[1,2]}"#, 2, Some(AnswersError::Error)),
        (&[""], r#"{"0":[1]}"#, 1, Some(AnswersError::Unread)),
        (&["/o"], "", 1, Some(AnswersError::Unread)),
    ] {
        assert_eq!(cut(places, answer, inputs).err(), fault, "{places:?} {answer}");
    }
}

#[test]
fn lists_are_cut_and_put_together_alike() {
    let places = ["/o", "/m/ids"];
    let all = cut(&places, r#"{"m":{"ids":[1, 2],"n":0.50},"o" : ["a","b"],"usage":{"total_tokens":9}}"#, 2)
        .expect("two");
    let alone = |at| text(&all.alone(at));
    assert_eq!(alone(0), r#"{"m":{"ids":[1],"n":0.50},"o" : ["a"],"usage":{"total_tokens":0}}"#);
    assert_eq!(alone(1), r#"{"m":{"ids":[2],"n":0.50},"o" : ["b"],"usage":{"total_tokens":0}}"#);
    let other = cut(&places, r#"{"o":["c"],"m":{"ids":[3]}}"#, 1).expect("one");
    let together = other.with(&[(&all, 1), (&other, 0), (&all, 0), (&all, 1)], None).expect("alike");
    assert_eq!(text(&together), r#"{"o":["b","c","a","b"],"m":{"ids":[2,3,1,2]}}"#);
    let without_ids = cut(&places, r#"{"o":["d"]}"#, 1).expect("one");
    assert_eq!(without_ids.with(&[(&all, 0), (&without_ids, 0)], None), None, "its lists are others");
    let whole = cut(&[""], "[[1],[2]]", 2).expect("two");
    assert_eq!(text(&whole.alone(1)), "[[2]]");
    assert_eq!(text(&whole.with(&[(&whole, 1), (&whole, 1)], None).expect("alike")), "[[2],[2]]");
}

proptest! {
    /// Whatever the elements are, an answer cut into its inputs and put together again has their bytes.
    #[test]
    fn what_was_cut_fits_together(
        elements in proptest::collection::vec(r#"-?[1-9]{1,3}|"[a-z,\[\]{}:é]{0,5}"|\[[1-9],[1-9] \]|\{"o":\["x"\] \}"#, 1..7),
        picks in proptest::collection::vec(any::<proptest::sample::Index>(), 1..9),
    ) {
        let answer = |elements: &[&str]| {
            let ids: Vec<_> = elements.iter().map(|element| serde_json::json!(element).to_string()).collect();
            format!(r#"{{"m":{{"ids":[{}]}},"o":[{}],"o2":[1]}}"#, ids.join(","), elements.join(","))
        };
        let all: Vec<_> = elements.iter().map(String::as_str).collect();
        let whole = cut(&["/o", "/m/ids"], &answer(&all), all.len()).expect("an element for each");
        let shape = Shape::of_lists(&lists("/i", &["/o", "/m/ids"]));
        let stored: Vec<_> =
            (0..all.len()).map(|at| Answers::stored(&shape, &whole.alone(at)).expect("one")).collect();
        let picked: Vec<_> = picks.iter().map(|pick| pick.index(all.len())).collect();
        let places: Vec<_> = picked.iter().map(|at| (&stored[*at], 0)).collect();
        let expected: Vec<_> = picked.iter().map(|at| all[*at]).collect();
        prop_assert_eq!(text(&stored[0].with(&places, None).expect("alike")), answer(&expected));
    }

    #[test]
    fn no_cut_answer_panics(
        bytes in r#"[\[\]{}:,"om0-9 ]{0,20}|\{"(o|m)":[\[\]{}:,"om0-9 ]{0,12}\}"#,
        count in 0..3_usize,
    ) {
        if let Ok(answers) = cut(&["/o", "/m/o"], &bytes, count) {
            let all: Vec<_> = (0..count).map(|at| (&answers, at)).collect();
            answers.with(&all, None);
            (0..count).for_each(|at| drop(answers.alone(at)));
        }
    }
}
