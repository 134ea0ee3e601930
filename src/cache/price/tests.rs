//! Money by the usage of 10,000 answers in the words of each vendor, against a count by hand.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    cache::route::{Route, Scope, kind::Kind},
    dialect::{Dialect, usage::UsageSetting},
    json::Json,
};

/// What a vendor bills for one answer: each token once.
#[derive(Clone, Copy, Debug)]
struct Billed {
    /// At the price of input.
    input: u64,
    /// At the price of what the provider's prompt cache had.
    cached: u64,
    /// At the price of what was written to that cache.
    written: u64,
    /// At the price of output: what is said.
    said: u64,
    /// At the price of output: what is thought before.
    thought: u64,
}

impl Billed {
    fn random(rng: &mut fastrand::Rng) -> Self {
        let mut up_to = |most| if rng.u8(..4) == 0 { 0 } else { rng.u64(..most) };
        Self {
            input: up_to(20_000),
            cached: up_to(100_000),
            written: up_to(5_000),
            said: up_to(4_000),
            thought: up_to(9_000),
        }
    }

    /// The prompt of vendors that do not bill what they write to their caches.
    const fn prompt(&self) -> u64 {
        self.input + self.cached + self.written
    }

    const fn output(&self) -> u64 {
        self.said + self.thought
    }
}

/// An answer of a vendor, with its media type.
struct Sample {
    dialect: Dialect,
    media: &'static str,
    body: String,
    /// Whether the vendor bills by what was read from its cache, and by what was written to it.
    bills_cache: (bool, bool),
}

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

fn document(dialect: Dialect, body: &Value, bills_cache: (bool, bool)) -> Sample {
    Sample { dialect, media: JSON, body: body.to_string(), bills_cache }
}

fn stream(dialect: Dialect, events: &[Value], end: &str, bills_cache: (bool, bool)) -> Sample {
    let event = |event: &Value| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    let body = events.iter().map(event).collect::<String>() + end;
    Sample { dialect, media: SSE, body, bills_cache }
}

/// OpenAI's chats and completions, JSON or stream. What they cached is a part of the prompt.
fn openai(billed: Billed, streams: bool, details: bool) -> Sample {
    let mut usage = json!({"prompt_tokens": billed.prompt(), "completion_tokens": billed.output(),
        "total_tokens": billed.prompt() + billed.output()});
    if details {
        usage["prompt_tokens_details"] = json!({"cached_tokens": billed.cached, "audio_tokens": 0});
        usage["completion_tokens_details"] = json!({"reasoning_tokens": billed.thought});
    }
    let bills_cache = (details, false);
    if !streams {
        let choice = json!({"index": 0, "finish_reason": "stop", "message": {"content": "a"}});
        let body = json!({"model": "m", "choices": [choice], "usage": usage});
        return document(Dialect::OpenAiChat, &body, bills_cache);
    }
    let choice = json!({"index": 0, "finish_reason": "stop", "delta": {"content": "a"}});
    let chunks = [
        json!({"model": "m", "choices": [choice], "usage": null}),
        json!({"model": "m", "choices": [], "usage": usage}),
    ];
    stream(Dialect::OpenAiChat, &chunks, "data: [DONE]\n\n", bills_cache)
}

fn responses(billed: Billed, streams: bool) -> Sample {
    let usage = json!({"input_tokens": billed.prompt(), "output_tokens": billed.output(),
        "input_tokens_details": {"cached_tokens": billed.cached},
        "output_tokens_details": {"reasoning_tokens": billed.thought},
        "total_tokens": billed.prompt() + billed.output()});
    let message = json!({"type": "message", "content": [{"type": "output_text", "text": "a"}]});
    let body = json!({"model": "m", "status": "completed", "output": [message], "usage": usage});
    if !streams {
        return document(Dialect::OpenAiResponses, &body, (true, false));
    }
    let created = json!({"type": "response.created", "response": {"model": "m", "usage": null}});
    let completed = json!({"type": "response.completed", "response": body});
    stream(Dialect::OpenAiResponses, &[created, completed], "", (true, false))
}

/// Anthropic tells what it cached and wrote beside the input. In a stream, the last event has the final counts.
fn anthropic(billed: Billed, streams: bool) -> Sample {
    let input = json!({"input_tokens": billed.input, "cache_read_input_tokens": billed.cached,
        "cache_creation_input_tokens": billed.written});
    let mut usage = input.clone();
    usage["output_tokens"] = billed.output().into();
    let text = json!({"type": "text", "text": "a"});
    if !streams {
        let body = json!({"type": "message", "model": "m", "stop_reason": "end_turn", "content": [text],
            "usage": usage});
        return document(Dialect::Anthropic, &body, (true, true));
    }
    let mut first = input;
    first["output_tokens"] = 1.into();
    let events = [
        json!({"type": "message_start", "message": {"model": "m", "usage": first}}),
        json!({"type": "content_block_start", "index": 0, "content_block": text}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": billed.output()}}),
        json!({"type": "message_stop"}),
    ];
    stream(Dialect::Anthropic, &events, "", (true, true))
}

fn ollama(billed: Billed, streams: bool) -> Sample {
    let last = json!({"model": "m", "message": {"role": "assistant", "content": "a"}, "done": true,
        "done_reason": "stop", "total_duration": 5, "prompt_eval_count": billed.prompt(),
        "eval_count": billed.output()});
    let sample = document(Dialect::OllamaChat, &last, (false, false));
    if !streams {
        return sample;
    }
    let first = json!({"model": "m", "message": {"role": "assistant", "content": "a"}, "done": false});
    Sample { media: LINES, body: format!("{first}\n{last}\n"), ..sample }
}

/// Gemini tells what it cached as a part of the prompt, and its thoughts beside the candidates. Each event of its
/// stream has the counts so far; without `alt=sse`, they are the elements of a list.
fn gemini(dialect: Dialect, billed: Billed, form: u8) -> Sample {
    let part = |said: u64| {
        let mut usage = json!({"promptTokenCount": billed.prompt(), "candidatesTokenCount": said,
            "thoughtsTokenCount": billed.thought,
            "totalTokenCount": billed.prompt() + said + billed.thought});
        if billed.cached > 0 {
            usage["cachedContentTokenCount"] = billed.cached.into();
        }
        let candidate = json!({"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"});
        json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m"})
    };
    let (first, last) = (part(billed.said / 2), part(billed.said));
    match form {
        0 => document(dialect, &last, (true, false)),
        1 => document(dialect, &json!([first, last]), (true, false)),
        _ => stream(dialect, &[first, last], "", (true, false)),
    }
}

/// A service of its own that passes on what its model's vendor says.
fn rag(billed: Billed, streams: bool, words: u8) -> Sample {
    let Sample { body, bills_cache, .. } = match words {
        0 => openai(billed, false, true),
        1 => anthropic(billed, false),
        _ => gemini(Dialect::Gemini, billed, 0),
    };
    let told: Value = serde_json::from_str(&body).expect("JSON");
    let name = if words > 1 { "usageMetadata" } else { "usage" };
    let body = json!({"answer": "a", "model": "m", name: told[name]});
    match streams {
        false => document(Dialect::Rag, &body, bills_cache),
        true => stream(Dialect::Rag, &[json!({"answer": "a"}), body], "data: [DONE]\n\n", bills_cache),
    }
}

fn sample(billed: Billed, rng: &mut fastrand::Rng) -> Sample {
    let streams = rng.bool();
    match rng.u8(..8) {
        0 => openai(billed, streams, true),
        1 => openai(billed, streams, false),
        2 => responses(billed, streams),
        3 => anthropic(billed, streams),
        4 => ollama(billed, streams),
        5 => gemini(Dialect::Gemini, billed, rng.u8(..3)),
        6 => gemini(Dialect::Json, billed, rng.u8(..3)),
        _ => rag(billed, streams, rng.u8(..3)),
    }
}

/// The model and the usage of an answer, as a route without further settings reads it.
fn read(sample: &Sample) -> (String, Usage) {
    let mut route =
        Route::new("POST /ask", Kind::Query, std::time::Duration::ZERO, Scope::Shared).expect("a route");
    if sample.dialect == Dialect::Json {
        route.stream_end = Some(crate::dialect::StreamEnd::Eof);
    }
    let ask = sample.dialect.ask(&Json::Null, UsageSetting::AsAsked, None);
    // Where this chooses the form, it is the one that may be answered in each framing.
    let ask = sample.dialect.asked_at(ask, "/m:streamGenerateContent", None);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(sample.media));
    let body = Bytes::from(sample.body.clone());
    let answer = sample.dialect.judge(route.judging(&ask, None), route.framing(&headers), &headers, &body);
    assert_eq!(answer.verdict, Ok(()), "{}", sample.body);
    (answer.model.expect("a model"), answer.usage.unwrap_or_else(|| panic!("no usage: {}", sample.body)))
}

fn rate(text: &str) -> Rate {
    Rate::per_million(text).expect("a price")
}

fn usd() -> Currency {
    Currency::parse("USD").expect("a currency")
}

/// What the vendor's invoice says, in plain arithmetic: prices for a million tokens are 2.50, 0.3125, 3.125 and 10.
fn by_hand(billed: Billed, (cached, written): (bool, bool)) -> f64 {
    let dear = if cached { 0 } else { billed.cached } + if written { 0 } else { billed.written };
    let input = (billed.input + dear) as f64 * 2.50;
    let cached = if cached { billed.cached as f64 * 0.3125 } else { 0.0 };
    let written = if written { billed.written as f64 * 3.125 } else { 0.0 };
    (input + cached + written + (billed.said + billed.thought) as f64 * 10.0) / 1e6
}

#[test]
fn ten_thousand_answers_cost_what_a_count_by_hand_says() {
    let mut price = Price::new("m*", rate("2.50"), rate("10"));
    price.cached_input = rate("0.3125");
    price.cache_write = rate("3.125");
    let prices = Prices::new(vec![Price::new("other", rate("7"), rate("7")), price], usd());
    let mut rng = fastrand::Rng::with_seed(3);
    let (mut counted, mut hand) = (Amount::default(), 0.0);
    for _ in 0..10_000 {
        let billed = Billed::random(&mut rng);
        let sample = sample(billed, &mut rng);
        let (model, usage) = read(&sample);
        let own = prices.cost(&model, &usage).expect("a cost");
        let expected = by_hand(billed, sample.bills_cache);
        assert!((own.units() - expected).abs() < 1e-9, "{} is not {expected}: {}", own.units(), sample.body);
        counted = counted + own;
        hand += expected;
    }
    assert!(hand > 100.0, "{hand}");
    assert!((counted.units() / hand - 1.0).abs() < 1e-9, "{} is not {hand}", counted.units());
}

#[test]
fn a_sum_alone_is_of_the_question() {
    let prices = Prices::new(vec![Price::new("*", rate("2"), rate("10"))], usd());
    let units = |usage: Usage| prices.cost("m", &usage).map(Amount::units);
    assert_eq!(units(Usage { total: Some(500_000), ..Usage::default() }), Some(1.0));
    assert_eq!(
        units(Usage { completion: Some(500_000), total: Some(600_000), ..Usage::default() }),
        Some(5.2)
    );
    assert_eq!(units(Usage::default()), None, "nothing is known");
}

#[test]
fn only_a_star_is_special_in_a_models_name() {
    let matches = |pattern: &str, model: &str| {
        let prices = Prices::new(vec![Price::new(pattern, rate("1"), rate("1"))], usd());
        prices.cost(model, &Usage { prompt: Some(1), ..Usage::default() }).is_some()
    };
    for (pattern, model, expected) in [
        ("gpt-4o", "gpt-4o", true),
        ("gpt-4o", "gpt-4o-mini", false),
        ("gpt-4o*", "gpt-4o-mini", true),
        ("*", "", true),
        ("*/llama*8b", "meta/llama-3-8b", true),
        ("*/llama*8b", "meta/llama-3-70b", false),
        ("opus[1m]", "opus[1m]", true),
        ("opus[1m]", "opus1", false),
        ("a?c", "abc", false),
        ("a\\*", "a\\b", true),
    ] {
        assert_eq!(matches(pattern, model), expected, "{pattern} {model}");
    }
}

proptest! {
    /// No number of answers, and no way to cut their tokens, changes the sum; no count panics.
    #[test]
    fn sums_are_exact(parts in proptest::collection::vec(0..1_000_000_u64, 1..20), micros in 0..1_000_000_000_u64) {
        let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let price = Price::new("m", rate(&text), rate("0"));
        let of = |prompt| cost(&Usage { prompt: Some(prompt), ..Usage::default() }, &price);
        let whole = of(parts.iter().sum());
        prop_assert_eq!(parts.iter().map(|part| of(*part)).sum::<Amount>(), whole);
        let split = parts.iter().map(|part| of(*part).split()).fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        prop_assert_eq!(Amount::new(split.0, split.1), whole);
    }

    #[test]
    fn no_usage_panics(counts in any::<[Option<u64>; 5]>()) {
        let [prompt, cached, cache_write, completion, total] = counts;
        let price = Price::new("m", rate("1000000000.999999"), rate("1000000000"));
        cost(&Usage { prompt, cached, cache_write, completion, total }, &price).split();
    }
}
