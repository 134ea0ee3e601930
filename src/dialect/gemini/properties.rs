//! Answers and streams at random.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    Gemini,
    parts::{mere_text, with_text},
};
use crate::{
    dialect::{
        list,
        testing::{
            add_nulls, any_number, any_text, any_tokens, any_value, broken, canonical, convert_all,
            items_mut, list as items, long_text, longest_told, maybe, member_mut, object, one_member, parse,
            pieces, said, to_stream, to_whole, with_usage, written,
        },
    },
    http::sse,
    json::Json,
};

const GEMINI: Gemini = Gemini;

fn part() -> impl Strategy<Value = String> {
    let text = || any_text().prop_map(|text| format!("\"text\":{text}"));
    let thought = || prop_oneof![Just(None), Just(None), Just(Some("\"thought\":true".to_owned()))];
    let mere = (text(), thought()).prop_map(|(text, thought)| object([Some(text), thought]));
    let signed = (text(), thought()).prop_map(|(text, thought)| {
        object([Some(text), thought, Some(r#""thoughtSignature":"QUJD""#.to_owned())])
    });
    let call = (
        any_text(),
        maybe("args", any_value().prop_map(|value| format!("{{\"a\":{value}}}"))),
        any::<bool>(),
    )
        .prop_map(|(name, arguments, is_signed)| {
            let call = object([Some(format!("\"name\":{name}")), arguments]);
            let signature = is_signed.then(|| r#""thoughtSignature":"QQ==""#.to_owned());
            object([Some(format!("\"functionCall\":{call}")), signature])
        });
    let code =
        any_text().prop_map(|code| format!(r#"{{"executableCode":{{"language":"PYTHON","code":{code}}}}}"#));
    let ran = any_text()
        .prop_map(|out| format!(r#"{{"codeExecutionResult":{{"outcome":"OUTCOME_OK","output":{out}}}}}"#));
    let image = Just(r#"{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}"#.to_owned());
    let novel = any_value().prop_map(|value| format!("{{\"novel\":{value}}}"));
    prop_oneof![4 => mere, 1 => signed, 1 => call, 1 => code, 1 => ran, 1 => image, 1 => novel]
}

fn citations() -> impl Strategy<Value = String> {
    let source = (0..1_000_000_u32, any_text())
        .prop_map(|(start, uri)| format!(r#"{{"startIndex":{start},"uri":{uri}}}"#));
    let name = prop_oneof![Just("citations"), Just("citationSources")];
    (name, items(source, 3)).prop_map(|(name, sources)| {
        // A repeated source may mean all of them.
        let mut seen = Vec::new();
        let sources: Vec<_> = parse(&sources)
            .items()
            .iter()
            .map(written)
            .filter(|source| {
                let is_new = !seen.contains(source);
                seen.push(source.clone());
                is_new
            })
            .collect();
        format!("{{\"{name}\":[{}]}}", sources.join(","))
    })
}

fn logprobs() -> impl Strategy<Value = String> {
    let token = || {
        (any_text(), any_number())
            .prop_map(|(token, number)| format!(r#"{{"token":{token},"logProbability":{number}}}"#))
    };
    let step =
        (token(), items(token(), 2)).prop_map(|(chosen, top)| (chosen, format!("{{\"candidates\":{top}}}")));
    (proptest::collection::vec(step, 0..5), maybe("logProbabilitySum", any_number())).prop_map(
        |(steps, sum)| {
            let (chosen, top): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
            object([
                Some(format!("\"chosenCandidates\":[{}]", chosen.join(","))),
                Some(format!("\"topCandidates\":[{}]", top.join(","))),
                sum,
            ])
        },
    )
}

fn candidate() -> impl Strategy<Value = String> {
    let grounding = (any_text(), any_value()).prop_map(|(query, chunks)| {
        format!(r#"{{"webSearchQueries":[{query}],"groundingChunks":[{chunks}],"groundingSupports":[{{"groundingChunkIndices":[0],"segment":{{"endIndex":4}}}}]}}"#)
    });
    let ratings = any_number().prop_map(|score| {
        format!(r#"[{{"category":"HARM","probability":"LOW","probabilityScore":{score}}}]"#)
    });
    let known = (
        items(part(), 5),
        maybe("safetyRatings", ratings),
        maybe("citationMetadata", citations()),
        maybe("groundingMetadata", grounding),
        maybe("urlContextMetadata", any_value().prop_map(|value| format!("{{\"urlMetadata\":[{value}]}}"))),
        maybe("avgLogprobs", any_number()),
        maybe("logprobsResult", logprobs()),
        maybe("finishMessage", any_text()),
        maybe("vendors_own", any_value()),
    );
    known.prop_map(|(parts, ratings, citations, grounding, urls, average, logprobs, message, own)| {
        let content = Some(format!(r#""content":{{"parts":{parts},"role":"model"}},"finishReason":"STOP""#));
        object([content, ratings, citations, grounding, urls, average, logprobs, message, own])
    })
}

/// With an index in each candidate, or in none.
fn any_answer() -> impl Strategy<Value = String> {
    let count = || any::<u16>().prop_map(|count| count.to_string());
    let usage = (
        count(),
        maybe("candidatesTokenCount", count()),
        maybe("thoughtsTokenCount", count()),
        maybe("trafficType", any_text()),
    );
    let usage = usage.prop_map(|(prompt, said, thought, traffic)| {
        let details = format!(r#""promptTokensDetails":[{{"modality":"TEXT","tokenCount":{prompt}}}]"#);
        object([Some(format!("\"promptTokenCount\":{prompt}")), said, thought, Some(details), traffic])
    });
    let feedback = any_text().prop_map(|rating| format!(r#"{{"safetyRatings":[{{"category":{rating}}}]}}"#));
    let top = (
        maybe("promptFeedback", feedback),
        usage,
        maybe("modelVersion", any_text()),
        maybe("responseId", any_text()),
        maybe("createTime", any_text()),
        maybe("vendors_own", any_value()),
    );
    (proptest::collection::vec(candidate(), 1..3), any::<bool>(), top).prop_map(
        |(candidates, has_index, (feedback, usage, version, id, created, own))| {
            let indexed = |(place, candidate): (usize, String)| match has_index {
                true => format!("{},\"index\":{place}}}", &candidate[..candidate.len() - 1]),
                false => candidate,
            };
            let candidates: Vec<_> = candidates.into_iter().enumerate().map(indexed).collect();
            let candidates = Some(format!("\"candidates\":[{}]", candidates.join(",")));
            object([
                candidates,
                feedback,
                Some(format!("\"usageMetadata\":{usage}")),
                version,
                id,
                created,
                own,
            ])
        },
    )
}

/// The parts of a content in random pieces, one list for each chunk, as services send them: a text goes on in the next
/// chunk, and what begins in the same chunk is a part of its own.
fn part_chunks(parts: &[Json<'_>], rng: &mut Rng) -> Vec<Vec<String>> {
    let mut chunks: Vec<Vec<String>> = Vec::new();
    let kind = |part: &Json<'_>| mere_text(part).map(|_| part.get("thought").map(written));
    for (place, part) in parts.iter().enumerate() {
        let follows_its_kind = place > 0 && kind(part).is_some() && kind(&parts[place - 1]) == kind(part);
        let told = match mere_text(part) {
            Some(text) => {
                let texts: Vec<_> =
                    pieces(text, rng).iter().map(|piece| parse(piece).as_str().map(str::to_owned)).collect();
                texts.iter().map(|text| written(&with_text(part, text.as_deref().expect("a text")))).collect()
            }
            None => vec![written(part)],
        };
        for (number, own) in told.into_iter().enumerate() {
            match chunks.last_mut() {
                Some(last) if number == 0 && (follows_its_kind || rng.bool()) => last.push(own),
                _ => chunks.push(vec![own]),
            }
        }
    }
    chunks
}

/// An element of a chunk: its members, each with its name.
type Element = BTreeMap<String, String>;

/// The chunks' elements for a candidate.
fn candidate_chunks(candidate: &Json<'_>, rng: &mut Rng) -> VecDeque<Element> {
    let parts =
        candidate.get("content").and_then(|content| content.get("parts")).map_or(&[][..], Json::items);
    let content =
        |parts: &[String]| format!("\"content\":{{\"parts\":[{}],\"role\":\"model\"}}", parts.join(","));
    let element = |parts: &Vec<String>| Element::from([("content".to_owned(), content(parts))]);
    let mut chunks: Vec<_> = part_chunks(parts, rng).iter().map(element).collect();
    if chunks.is_empty() {
        chunks.push(element(&Vec::new()));
    } else if rng.bool() {
        // Vertex AI's last chunk may have no content.
        chunks.push(Element::new());
    }
    let last = chunks.len() - 1;
    for member in candidate.members() {
        let (name, own) = (member.name.to_string(), one_member(member));
        match &*name {
            "content" => {}
            "index" | "safetyRatings" => {
                chunks.iter_mut().for_each(|chunk| drop(chunk.insert(name.clone(), own.clone())));
            }
            "citationMetadata" | "logprobsResult" => spread(&mut chunks, &name, &member.value, rng),
            "groundingMetadata" => {
                chunks[0].insert(name.clone(), "\"groundingMetadata\":{}".to_owned());
                chunks[last].insert(name, own);
            }
            _ => drop(chunks[last].insert(name, own)),
        }
    }
    chunks.into()
}

/// Puts the elements of an object's lists into the chunks, in their order, and all else of it into one of them.
fn spread(chunks: &mut [Element], name: &str, whole: &Json<'_>, rng: &mut Rng) {
    let mut told: Vec<BTreeMap<&str, Vec<String>>> = vec![BTreeMap::new(); chunks.len()];
    let mut others = vec![Vec::new(); chunks.len()];
    for member in whole.members() {
        let mut at = 0;
        match &member.value {
            Json::Array(items) => {
                told[0].entry(&member.name).or_default();
                for item in items {
                    at = rng.usize(at..chunks.len());
                    told[at].entry(&member.name).or_default().push(written(item));
                }
            }
            _ => others[rng.usize(..chunks.len())].push(one_member(member)),
        }
    }
    for ((chunk, lists), others) in chunks.iter_mut().zip(told).zip(others) {
        let lists = lists.iter().map(|(list, items)| format!("\"{list}\":[{}]", items.join(",")));
        let members: Vec<_> = lists.chain(others).collect();
        if !members.is_empty() {
            chunk.insert(name.to_owned(), format!("\"{name}\":{{{}}}", members.join(",")));
        }
    }
}

/// The chunks of a stream that says a document in random pieces.
fn in_pieces(whole: &str, rng: &mut Rng) -> Vec<String> {
    let whole = parse(whole);
    let candidates = whole.get("candidates").expect("candidates").items();
    let mut left: Vec<_> = candidates.iter().map(|candidate| candidate_chunks(candidate, rng)).collect();
    let has_index = candidates[0].get("index").is_some();
    let mut chunks: Vec<String> = Vec::new();
    while left.iter().any(|candidate| !candidate.is_empty()) {
        let mut told = Vec::new();
        for candidate in &mut left {
            match candidate.pop_front() {
                // Without an index, the place in the chunk counts.
                None if has_index => {}
                Some(element) if has_index && rng.u8(..3) == 0 => candidate.push_front(element),
                element => told.push(object(element.unwrap_or_default().into_values().map(Some))),
            }
        }
        chunks.push(format!("\"candidates\":[{}]", told.join(",")));
    }
    let last = chunks.len() - 1;
    let chunk = |(number, candidates): (usize, &String)| {
        let mut members = vec![Some(candidates.clone())];
        for member in whole.members() {
            let own = Some(one_member(member));
            members.push(match &*member.name {
                "candidates" => None,
                "promptFeedback" => own.filter(|_| number == 0),
                "usageMetadata" if number < last => {
                    Some(format!(r#""usageMetadata":{{"promptTokenCount":{number}}}"#))
                }
                "modelVersion" | "responseId" | "createTime" | "usageMetadata" => own,
                _ => own.filter(|_| number == last),
            });
        }
        object(members)
    };
    chunks.iter().enumerate().map(chunk).collect()
}

fn stream(chunks: &[String]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect()
}

fn as_list(stream: &str) -> Option<String> {
    list::write(&sse::decode(stream.as_bytes())).map(|list| String::from_utf8(list).expect("UTF-8"))
}

/// What a client knows at the end that puts the chunks of a stream together: the texts of each candidate as they follow
/// each other, and all else.
fn accumulate(stream: &str) -> Value {
    let mut candidates: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    let mut answer = Map::new();
    for event in sse::decode(stream.as_bytes()) {
        let Value::Object(chunk) = serde_json::from_str(&event.data).expect("JSON") else {
            panic!("a chunk")
        };
        for (name, value) in chunk {
            match (name.as_str(), value) {
                ("candidates", Value::Array(elements)) => {
                    for (place, element) in elements.into_iter().enumerate() {
                        let place = element["index"].as_u64().unwrap_or(place as u64);
                        follow(candidates.entry(place).or_default(), element);
                    }
                }
                ("usageMetadata", Value::Object(counts)) => {
                    let known = answer.entry(name).or_insert_with(|| json!({}));
                    known.as_object_mut().expect("an object").extend(counts);
                }
                (_, value) => drop(answer.insert(name, value)),
            }
        }
    }
    answer.insert("candidates".to_owned(), candidates.into_values().map(Value::from).collect());
    answer.into()
}

fn follow(candidate: &mut Map<String, Value>, element: Value) {
    let Value::Object(members) = element else { panic!("a candidate") };
    for (name, value) in members {
        match (name.as_str(), value) {
            ("content", Value::Object(content)) => {
                let parts =
                    candidate.entry("parts").or_insert_with(|| json!([])).as_array_mut().expect("a list");
                let of_chunk = content.get("parts").and_then(Value::as_array).cloned().unwrap_or_default();
                of_chunk.into_iter().for_each(|part| follow_part(parts, part));
            }
            ("citationMetadata" | "logprobsResult", Value::Object(told)) => {
                let known =
                    candidate.entry(name).or_insert_with(|| json!({})).as_object_mut().expect("an object");
                for (name, value) in told {
                    match (known.get_mut(&name), value) {
                        (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
                        (_, value) => drop(known.insert(name, value)),
                    }
                }
            }
            ("groundingMetadata", value) if value == json!({}) => {}
            (_, value) => drop(candidate.insert(name, value)),
        }
    }
}

/// Adds a part: a mere text goes on with the text before it, if that is of its kind.
fn follow_part(parts: &mut Vec<Value>, part: Value) {
    let kind = |part: &Value| {
        let members = part.as_object()?;
        members
            .keys()
            .all(|name| name == "text" || name == "thought")
            .then(|| (part["text"].is_string(), part["thought"].clone()))
    };
    match parts.last_mut() {
        Some(last) if kind(&part).is_some() && kind(last) == kind(&part) => {
            last["text"] = Value::from(
                last["text"].as_str().unwrap_or_default().to_owned()
                    + part["text"].as_str().unwrap_or_default(),
            );
        }
        _ => parts.push(part),
    }
}

const OF_ANSWERS: [&str; 6] =
    ["promptFeedback", "modelVersion", "responseId", "modelStatus", "error", "zz-new"];
const OF_CANDIDATES: [&str; 6] =
    ["safetyRatings", "citationMetadata", "groundingMetadata", "logprobsResult", "finishMessage", "zz-new"];

/// A document, or a chunk, with members that are null.
fn with_nulls(text: &str, rng: &mut Rng) -> String {
    let mut json = parse(text);
    add_nulls(&mut json, &OF_ANSWERS, rng);
    for candidate in items_mut(&mut json, "candidates") {
        add_nulls(candidate, &OF_CANDIDATES, rng);
        member_mut(candidate, "content")
            .into_iter()
            .for_each(|content| add_nulls(content, &["role", "zz-new"], rng));
    }
    written(&json)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// A document's stream makes that document, be it events or one list. And whatever pieces an answer comes in, they
    /// make its document, whose stream makes a client read what the pieces made it read.
    #[test]
    fn both_directions_lose_nothing(whole in any_answer(), seed: u64) {
        let made = to_stream(&GEMINI, &whole, true).expect("a stream");
        prop_assert_eq!(canonical(&to_whole(&GEMINI, &made).expect("a document")), canonical(&whole), "{}", made);
        let of_list = |list: &str| {
            let events = list::events(list.as_bytes()).expect("events");
            String::from_utf8(list::write_events(&events).expect("a stream")).expect("UTF-8")
        };
        prop_assert_eq!(of_list(&as_list(&made).expect("a list")), made);

        let pieces = stream(&in_pieces(&whole, &mut Rng::with_seed(seed)));
        let document = to_whole(&GEMINI, &pieces).expect("a document");
        prop_assert_eq!(canonical(&document), canonical(&whole), "{}", pieces);
        let again = to_stream(&GEMINI, &document, true).expect("a stream");
        prop_assert_eq!(accumulate(&again), accumulate(&pieces));
        // A list has the very chunks.
        let told = of_list(&as_list(&pieces).expect("a list"));
        prop_assert_eq!(Some(told.clone()), with_usage(&GEMINI, &pieces, true));
        prop_assert_eq!(to_whole(&GEMINI, &told), Some(document));
    }
}

proptest! {
    /// What is null says nothing, and keeps no answer from its other form.
    #[test]
    fn null_loses_nothing(whole in any_answer(), seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let made = to_stream(&GEMINI, &with_nulls(&whole, &mut rng), true).expect("a stream");
        prop_assert_eq!(said(&to_whole(&GEMINI, &made).expect("a document")), said(&whole), "{}", made);
        let chunks: Vec<_> = in_pieces(&whole, &mut rng).iter().map(|chunk| with_nulls(chunk, &mut rng)).collect();
        let made = to_whole(&GEMINI, &stream(&chunks)).expect("a document");
        prop_assert_eq!(said(&made), said(&whole), "{:?}", chunks);
    }

    /// An unknown member is in the other form, or there is no other form.
    #[test]
    fn no_unknown_member_is_lost(whole in any_answer(), seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let marked = |text: &str, rng: &mut Rng, name: &str, mark: &str| {
            let places: Vec<_> = text.match_indices("{\"").map(|(place, _)| place + 1).collect();
            let place = *rng.choice(&places).expect("an object");
            let value = *rng.choice(&["\"@\"", "[\"@\"]", "{\"v\":\"@\"}"]).expect("some");
            let marked = format!("{}\"{name}\":{},{}", &text[..place], value.replace('@', mark), &text[place..]);
            Json::parse(marked.as_bytes()).is_ok().then_some(marked)
        };
        if let Some(marked) = marked(&whole, &mut rng, "zz", "zz-mark")
            && let Some(made) = to_stream(&GEMINI, &marked, true)
        {
            prop_assert!(made.contains("zz-mark"), "{}", made);
            if let Some(back) = to_whole(&GEMINI, &made) {
                prop_assert_eq!(canonical(&back), canonical(&marked));
            }
        }
        let mut chunks = in_pieces(&whole, &mut rng);
        let mut marks = Vec::new();
        for mark in ["zz-a", "zz-b"].into_iter().take(1 + rng.usize(..2)) {
            let place = rng.usize(..chunks.len());
            if let Some(marked) = marked(&chunks[place], &mut rng, "zz", mark) {
                chunks[place] = marked;
                marks.push(mark);
            }
        }
        if let Some(made) = to_whole(&GEMINI, &stream(&chunks)) {
            prop_assert!(marks.iter().all(|mark| made.contains(mark)), "{}", made);
        }
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), whole in any_answer(), seed: u64) {
        let mut rng = Rng::with_seed(seed);
        convert_all(&GEMINI, &bytes);
        convert_all(&GEMINI, broken(&whole, &mut rng).as_bytes());
        let stream = stream(&in_pieces(&whole, &mut rng));
        convert_all(&GEMINI, broken(&stream, &mut rng).as_bytes());
        drop(as_list(&broken(&stream, &mut rng)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However long the texts are, no chunk has a long one; tokens are with their pieces, if they are the text.
    #[test]
    fn long_texts_are_told_in_pieces(thought in long_text(), text in long_text(), fits: bool, seed: u64) {
        let own = parse(&text).as_str().expect("a text").to_owned();
        let tokens = any_tokens(&own, &mut Rng::with_seed(seed));
        let told: Vec<_> = tokens.iter().map(|token| format!(r#"{{"token":{}}}"#, written(&Json::text(token.as_str())))).collect();
        let thought = if fits { String::new() } else { format!(r#"{{"text":{thought},"thought":true}},"#) };
        let whole = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{thought}{{"text":{text}}}]}},"finishReason":"STOP","logprobsResult":{{"chosenCandidates":[{}]}}}}],"usageMetadata":{{"totalTokenCount":3}}}}"#,
            told.join(",")
        );
        let made = to_stream(&GEMINI, &whole, true).expect("a stream");
        let events = sse::decode(made.as_bytes());
        prop_assert!(longest_told(&events) <= 4096, "{}", longest_told(&events));
        prop_assert_eq!(canonical(&to_whole(&GEMINI, &made).expect("a document")), canonical(&whole));
        for event in events.iter().filter(|_| fits && !own.is_empty()) {
            let chunk = parse(&event.data);
            let candidate = &chunk.get("candidates").expect("candidates").items()[0];
            let tokens = candidate.get("logprobsResult").and_then(|told| told.get("chosenCandidates"));
            let Some([token]) = tokens.map(Json::items) else { continue };
            let parts = candidate.get("content").and_then(|content| content.get("parts")).expect("parts").items();
            let token = token.get("token").and_then(Json::as_str).expect("a text");
            prop_assert!(mere_text(&parts[0]).is_some_and(|piece| token.starts_with(piece)));
        }
    }
}
