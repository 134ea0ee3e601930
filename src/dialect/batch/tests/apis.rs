//! What each API's description accepts, and how its answers are cut and put together.

use super::*;

fn read(api: &'static BatchApi, text: &str, inputs: usize) -> Result<Answers, AnswersError> {
    Answers::read(&Shape::Api(api), &Bytes::from(text.to_owned()), &Ask { inputs, ..Ask::default() })
}

#[test]
fn an_answer_has_a_part_for_each_input() {
    use AnswersError::{Count, Error, Order, Unread};
    const COHERE: &str = r#"{"embeddings":{"float":[[1],[2]],"int8":null},"texts":["a","b"],"images":[]}"#;
    for (api, answer, expected) in [
        (&TEI_EMBED, "[[1.0, 2],[3,4]]", None),
        (&TEI_EMBED, " [ [1],[2] ] ", None),
        (&TEI_EMBED, "[[1],[2,3]]", Some(Unread)),
        (&TEI_EMBED, "[[1],[null]]", Some(Unread)),
        (&TEI_EMBED, "[[1],\"AAAAAA==\"]", Some(Unread)),
        (&TEI_EMBED, "[\"AAAAAA==\",\"AAAAAA==\"]", Some(Unread)),
        (&TEI_EMBED, "[[1]]", Some(Count(1))),
        (&TEI_EMBED, "[]", Some(Count(0))),
        (&TEI_EMBED, r#"{"embeddings":[[1],[2]]}"#, Some(Unread)),
        (&TEI_EMBED, r#"{"error":"overloaded"}"#, Some(Error)),
        (&TEI_EMBED_SPARSE, r#"[[],[{"index":7,"value":0.5}, {"value":-1,"index":0}]]"#, None),
        (&TEI_EMBED_SPARSE, r#"[[1],[]]"#, Some(Unread)),
        (&TEI_EMBED_SPARSE, r#"[[{"index":7}],[]]"#, Some(Unread)),
        (&TEI_EMBED_SPARSE, r#"[[{"index":7,"value":null}],[]]"#, Some(Unread)),
        (&COHERE_EMBED, COHERE, None),
        (&COHERE_EMBED, r#"{"embeddings":{"base64":["AAAAAA==","AACAPw=="],"ubinary":[[1],[2]]}}"#, None),
        (&COHERE_EMBED, r#"{"embeddings":{"float":["AAAAAA==","AACAPw=="]}}"#, Some(Unread)),
        (&COHERE_EMBED, r#"{"embeddings":{"base64":[[1],[2]]}}"#, Some(Unread)),
        (&COHERE_EMBED, r#"{"embeddings":{"float":[[1],[2]],"fp16":[[1],[2]]}}"#, Some(Unread)),
        (&COHERE_EMBED, r#"{"embeddings":{"float":[[1],[2]],"int8":[[1]]}}"#, Some(Count(1))),
        (&COHERE_EMBED, r#"{"embeddings":{"float":[[1],[2]]},"texts":["a"]}"#, Some(Count(1))),
        (&COHERE_EMBED, r#"{"embeddings":{"float":[[1],[2]]},"texts":"a"}"#, Some(Unread)),
        (&COHERE_EMBED, r#"{"embeddings":[[1],[2]],"texts":["a","b"]}"#, Some(Unread)),
        (&COHERE_EMBED, r#"{"texts":["a","b"]}"#, Some(Unread)),
        (&GEMINI_BATCH_EMBED, r#"{"embeddings":[{"values":[1]},{"values":[2],"shape":[1]}]}"#, None),
        (&GEMINI_BATCH_EMBED, r#"{"embeddings":[{"values":[1]},{}]}"#, Some(Unread)),
        (&GEMINI_BATCH_EMBED, r#"{"embeddings":[{"values":[1]},{"values":"AAAAAA=="}]}"#, Some(Unread)),
        (&GEMINI_BATCH_EMBED, r#"{"embedding":{"values":[1]}}"#, Some(Unread)),
        (&MODERATION, r#"{"results":[{"flagged":true},{"flagged":false}]}"#, None),
        (&MODERATION, r#"{"results":[{"flagged":true},{"flagged":null}]}"#, Some(Unread)),
        (&MODERATION, r#"{"results":[{"flagged":true}]}"#, Some(Count(1))),
        (&RERANK, r#"{"results":[{"index":1,"relevance_score":2},{"index":0,"relevance_score":1}]}"#, None),
        (&RERANK, r#"{"data":[{"index":1,"relevance_score":2},{"index":0,"relevance_score":2.0}]}"#, None),
        (
            &RERANK,
            r#"{"results":[{"index":1,"relevance_score":1},{"index":0,"relevance_score":2}]}"#,
            Some(Order),
        ),
        (
            &RERANK,
            r#"{"results":[{"index":1,"relevance_score":2},{"index":1,"relevance_score":1}]}"#,
            Some(Order),
        ),
        (
            &RERANK,
            r#"{"results":[{"index":2,"relevance_score":2},{"index":0,"relevance_score":1}]}"#,
            Some(Order),
        ),
        (&RERANK, r#"{"results":[{"relevance_score":2},{"index":0,"relevance_score":1}]}"#, Some(Unread)),
        (
            &RERANK,
            r#"{"results":[{"index":1,"relevance_score":"2"},{"index":0,"relevance_score":1}]}"#,
            Some(Unread),
        ),
        (
            &RERANK,
            r#"{"results":[{"index":1,"relevance_score":1e999},{"index":0,"relevance_score":1}]}"#,
            Some(Unread),
        ),
        (&RERANK, r#"{"results":[{"index":1,"score":2},{"index":0,"score":1}]}"#, Some(Unread)),
        (&RERANK, r#"{"results":[],"data":[]}"#, Some(Unread)),
        (&TEI_RERANK, r#"[{"index":1,"score":2},{"index":0,"score":-1e-7}]"#, None),
        (&TEI_RERANK, r#"[{"index":1,"score":NaN},{"index":0,"score":1}]"#, Some(Unread)),
        (&SCORE, r#"{"data":[{"index":0,"score":1},{"index":1,"score":2}]}"#, None),
        (&SCORE, r#"{"data":[{"index":1,"score":2},{"index":0,"score":1}]}"#, None),
        (&SCORE, r#"{"data":[{"index":0,"score":1},{"score":2}]}"#, Some(Unread)),
    ] {
        assert_eq!(read(api, answer, 2).err(), expected, "{answer}");
    }
    let one = |answer| read(&GEMINI_EMBED, answer, 1).err();
    assert_eq!(one(r#"{"embedding":{"values":[1, 2.50]},"usageMetadata":{"promptTokenCount":3}}"#), None);
    for answer in [r#"{"embedding":[1]}"#, r#"{"embedding":{"values":[]}}"#, r#"{"embedding":null}"#] {
        assert_eq!(one(answer), Some(Unread), "{answer}");
    }
}

#[test]
fn alone_a_part_cost_nothing_and_has_its_own_lists() {
    let cohere = r#"{"embeddings":{"int8" : [[1,2], [3,4]],"base64":["AAAAAA==","AACAPw=="]},"texts":["a","b"],"images":[],
        "meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":7},"tokens":{"input_tokens":7.0}}}"#;
    let answers = read(&COHERE_EMBED, cohere, 2).expect("two");
    assert_eq!(answers.usage.and_then(|usage| usage.prompt), Some(7));
    assert_eq!(
        text(&answers.alone(1)),
        r#"{"embeddings":{"int8" : [[3,4]],"base64":["AACAPw=="]},"texts":["b"],"images":[],
        "meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":0},"tokens":{"input_tokens":0}}}"#
    );
    let gemini = r#"{"embeddings":[{"values":[1]},{"values":[2]}],"usageMetadata":{"promptTokenCount":9}}"#;
    let answers = read(&GEMINI_BATCH_EMBED, gemini, 2).expect("two");
    assert_eq!(answers.usage.and_then(|usage| usage.prompt), Some(9));
    assert_eq!(
        text(&answers.alone(0)),
        r#"{"embeddings":[{"values":[1]}],"usageMetadata":{"promptTokenCount":0}}"#
    );
    let rerank = r#"{"results":[{"relevance_score":0.50,"index": 1 },{"index":0,"relevance_score":-1}],"meta":{"billed_units":{"search_units":1}}}"#;
    let answers = read(&RERANK, rerank, 2).expect("two");
    assert_eq!(
        text(&answers.alone(1)),
        r#"{"results":[{"relevance_score":0.50,"index": 0 }],"meta":{"billed_units":{"search_units":0}}}"#
    );
}

#[test]
fn a_request_asks_for_a_result_for_each_document() {
    for (body, limit, chosen, expected) in [
        (
            r#"{"top_n": 2,"query":"q","documents":["a","b","c"]}"#,
            Some(2),
            &[0, 1, 2][..],
            r#"{"top_n": 3,"query":"q","documents":["a","b","c"]}"#,
        ),
        (
            r#"{"query":"q","documents":["a","b","c"],"top_k":1 }"#,
            Some(1),
            &[2],
            r#"{"query":"q","documents":["c"],"top_k":1 }"#,
        ),
        (
            r#"{"query":"q","documents":["a","b"],"top_n":9}"#,
            None,
            &[0, 1],
            r#"{"query":"q","documents":["a","b"],"top_n":9}"#,
        ),
        (
            r#"{"query":"q","documents":["a","b"],"top_n":9}"#,
            None,
            &[1],
            r#"{"query":"q","documents":["b"],"top_n":1}"#,
        ),
        (
            r#"{"query":"q","documents":["a","b"],"top_n":null}"#,
            None,
            &[1],
            r#"{"query":"q","documents":["b"],"top_n":null}"#,
        ),
    ] {
        let found = inputs_of(&RERANK, body).expect("documents");
        assert_eq!(found.limit(), limit, "{body}");
        assert_eq!(text(&found.request(&Bytes::from(body), chosen)), expected);
    }
    for limits in
        ["\"top_n\":0", "\"top_n\":-1", "\"top_n\":1.5", "\"top_n\":\"1\"", "\"top_n\":1,\"top_k\":1"]
    {
        let body = format!(r#"{{"query":"q","documents":["a"],{limits}}}"#);
        assert!(inputs_of(&RERANK, &body).is_none(), "{body}");
    }
}

proptest! {
    /// However scores are written and whoever asked for them, they are in a service's order.
    #[test]
    fn results_are_in_the_order_of_their_scores(
        scores in proptest::collection::vec(proptest::sample::select(&["1","1.0","0.5","5e-1","-2","1e-7","0"][..]), 1..9),
        limit in proptest::option::of(1..9_usize),
        ends_first: bool,
    ) {
        let (api, name) = if ends_first { (&TEI_RERANK, "score") } else { (&RERANK, "relevance_score") };
        let wrapped = |list: String| if ends_first { format!("[{list}]") } else { format!("{{\"results\":[{list}]}}") };
        let item = |index: usize, score: &str| format!("{{\"{name}\": {score} ,\"index\":{index}}}");
        let stored: Vec<_> = scores.iter().map(|score| {
            Answers::stored(&Shape::Api(api), &Bytes::from(wrapped(item(0, score)))).expect("one")
        }).collect();
        let places: Vec<_> = stored.iter().map(|answers| (answers, 0)).collect();
        let value = |at: &usize| scores[*at].parse::<f64>().expect("a number");
        let mut order: Vec<_> = (0..scores.len()).collect();
        if ends_first {
            order.sort_by(|one, other| value(one).total_cmp(&value(other)));
            order.reverse();
        } else {
            order.sort_by(|one, other| value(other).total_cmp(&value(one)));
        }
        order.truncate(limit.unwrap_or(usize::MAX));
        let expected: Vec<_> = order.into_iter().map(|at| item(at, scores[at])).collect();
        let limit = limit.filter(|limit| *limit < scores.len());
        let together = stored[0].with(&places, limit).expect("alike");
        prop_assert_eq!(text(&together), wrapped(expected.join(",")));
    }

    #[test]
    fn no_answer_of_an_api_panics(
        bytes in r#"[\[\]{}:,"0-9 ]{0,20}|\[?\{"(results|data|embeddings|index|score)":[\[\]{}:,"index0-9 ]{0,16}\}\]?"#,
        count in 0..3_usize,
    ) {
        for api in [&TEI_EMBED, &TEI_EMBED_SPARSE, &COHERE_EMBED, &GEMINI_EMBED, &GEMINI_BATCH_EMBED, &MODERATION, &RERANK, &TEI_RERANK, &SCORE] {
            if let Ok(answers) = read(api, &bytes, count) {
                let all: Vec<_> = (0..count).map(|at| (&answers, at)).collect();
                answers.with(&all, Some(1));
                (0..count).for_each(|at| drop(answers.alone(at)));
            }
        }
    }
}
