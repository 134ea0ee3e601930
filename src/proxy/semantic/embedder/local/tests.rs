//! A tiny BERT, whose vectors were computed by other programs: the library `tokenizers` and numpy in 64 bits, and the plain
//! loops below.

#[path = "../../../../../tests/it/support/tiny_bert.rs"]
mod tiny_bert;

use std::{collections::BTreeMap, fs, path::Path};

use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::tiny_bert::{SHAPE, Shape, VOCABULARY, config, tokenizer, weights, write, write_json};
use super::*;
use crate::cache::semantic::vector::Vector;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 7, SHAPE);
    folder
}

fn model(folder: &TempDir) -> Model {
    Model::load(folder.path()).unwrap_or_else(|error| panic!("{error}"))
}

/// What is wrong with a folder in which `change` changed something.
fn fault(change: impl Fn(&Path)) -> String {
    let folder = folder();
    change(folder.path());
    let error = Model::load(folder.path()).err().unwrap_or_else(|| "nothing".to_owned());
    error.replace(&folder.path().display().to_string(), "")
}

#[test]
fn tokens_are_those_of_the_library() {
    let file = tokenizer().to_string();
    let tokenizer = WordPiece::parse(file.as_bytes(), VOCABULARY.len()).expect("a tokenizer");
    for (text, tokens) in [
        ("How do I change an order?", &[2, 5, 6, 7, 8, 9, 10, 21, 3][..]),
        ("", &[2, 3]),
        ("   ", &[2, 3]),
        ("CHÄNGE", &[2, 8, 3]),
        ("orders! 30 days", &[2, 10, 12, 20, 22, 25, 3]),
        ("abc abcd", &[2, 15, 16, 17, 1, 3]),
        ("中国cafe", &[2, 28, 29, 27, 3]),
        ("café\u{200b}s\u{a0}to-be\tnot$3", &[2, 27, 12, 36, 31, 37, 39, 38, 23, 3]),
        ("a.b-c...", &[2, 15, 30, 18, 31, 19, 30, 30, 30, 3]),
        ("delete coop deletes", &[2, 32, 33, 34, 35, 32, 33, 12, 3]),
        ("İ Σ ß", &[2, 7, 1, 1, 3]),
        ("\0a\u{fffd}b\u{7}c", &[2, 15, 16, 17, 3]),
        ("change\u{d7ff}\u{e000}\u{301} a", &[2, 1, 15, 3]),
        ("۳ ¿to؟ a、b «c»", &[2, 1, 1, 36, 1, 15, 1, 18, 1, 19, 1, 3]),
    ] {
        assert_eq!(tokenizer.encode(text, 512), tokens, "{text:?}");
        for most in 2..tokens.len() {
            let mut cut = tokens[..most].to_vec();
            cut[most - 1] = 3;
            assert_eq!(tokenizer.encode(text, most), cut, "{text:?} in {most}");
        }
    }
    let longest = format!("a{}", "b".repeat(99));
    assert_eq!(tokenizer.encode(&longest, 512).len(), 102);
    assert_eq!(tokenizer.encode(&format!("{longest}b a"), 512), [2, 1, 15, 3]);
}

/// By numpy, of the mean and of the first token.
const KNOWN: [(&str, [[f32; 16]; 2]); 3] = [
    (
        "How do I change an order?",
        [
            [
                -0.243028, -0.169606, -0.0065, -0.446945, 0.055936, 0.480429, -0.25316, 0.213819, 0.02524,
                0.434046, -0.147191, 0.21447, -0.098346, -0.281127, -0.004995, -0.152297,
            ],
            [
                -0.124502, -0.236864, -0.007821, -0.430108, 0.101343, 0.47072, -0.342404, 0.198173, 0.032269,
                0.431107, -0.114641, 0.181286, -0.053793, -0.327415, -0.054321, -0.095045,
            ],
        ],
    ),
    (
        "30 days",
        [
            [
                -0.119764, -0.316997, -0.028631, -0.367657, 0.180019, 0.513704, -0.348914, 0.194107,
                -0.085113, 0.394086, -0.098098, 0.199824, -0.137314, -0.220405, -0.065201, -0.098362,
            ],
            [
                -0.101494, -0.287916, -0.014863, -0.390457, 0.170605, 0.499634, -0.409279, 0.215089,
                -0.074035, 0.328314, -0.113397, 0.18885, -0.156676, -0.270411, -0.046348, 0.000511,
            ],
        ],
    ),
    (
        "",
        [
            [
                -0.050463, -0.283836, 0.003215, -0.322189, 0.154141, 0.543175, -0.214353, -0.019664, 0.05667,
                0.390315, -0.059037, 0.195226, -0.259671, -0.40189, -0.121649, -0.083919,
            ],
            [
                -0.007118, -0.245002, -0.007643, -0.331529, 0.126125, 0.538218, -0.234648, -0.029846,
                0.061657, 0.425977, -0.05624, 0.179519, -0.260964, -0.398363, -0.124098, -0.074658,
            ],
        ],
    ),
];

fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|own| own * own).sum::<f32>().sqrt();
    vector.iter().map(|own| own / length).collect()
}

fn assert_near(found: &[f32], wanted: &[f32], what: &str) {
    let far = found.iter().zip(wanted).any(|(found, wanted)| (found - wanted).abs() > 2e-5);
    assert!(found.len() == wanted.len() && !far, "{what}: {found:?} and not {wanted:?}");
}

#[test]
fn vectors_are_those_of_numpy() {
    let mean = folder();
    let first = folder();
    let modules = json!([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]);
    write_json(first.path(), "modules.json", &modules);
    fs::create_dir(first.path().join("1_Pooling")).expect("a folder");
    let pooling = json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false});
    write_json(first.path(), "1_Pooling/config.json", &pooling);
    let models = [model(&mean), model(&first)];
    for (text, wanted) in KNOWN {
        for (model, wanted) in models.iter().zip(wanted) {
            assert_near(&unit(&model.embed(text)), &wanted, text);
        }
    }
}

/// The same in 64 bits, by loops over single numbers.
fn by_loops(weights: &BTreeMap<String, Vec<f32>>, shape: Shape, tokens: &[u32]) -> Vec<f32> {
    let Shape { hidden, inner, heads, layers, .. } = shape;
    let own = |name: &str, at: usize| f64::from(weights[name][at]);
    let linear = |name: &str, outputs: usize, row: &[f64]| -> Vec<f64> {
        let output = |out: usize| {
            let products =
                (0..row.len()).map(|at| row[at] * own(&format!("{name}.weight"), out * row.len() + at));
            products.sum::<f64>() + own(&format!("{name}.bias"), out)
        };
        (0..outputs).map(output).collect()
    };
    let norm = |name: &str, row: &[f64]| -> Vec<f64> {
        let count = row.len() as f64;
        let mean = row.iter().sum::<f64>() / count;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let scaled = |at: usize| (row[at] - mean) / (variance + 1e-12).sqrt();
        let place = |at| scaled(at) * own(&format!("{name}.weight"), at) + own(&format!("{name}.bias"), at);
        (0..row.len()).map(place).collect()
    };
    let add = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let embedded = |(position, token): (usize, &u32)| {
        let sum = |at: usize| {
            own("embeddings.word_embeddings.weight", *token as usize * hidden + at)
                + own("embeddings.position_embeddings.weight", position * hidden + at)
                + own("embeddings.token_type_embeddings.weight", at)
        };
        norm("embeddings.LayerNorm", &(0..hidden).map(sum).collect::<Vec<_>>())
    };
    let mut rows: Vec<Vec<f64>> = tokens.iter().enumerate().map(embedded).collect();
    for layer in 0..layers {
        let named = |part: &str| format!("encoder.layer.{layer}.{part}");
        let all = |part: &str| -> Vec<Vec<f64>> {
            rows.iter().map(|row| linear(&named(part), hidden, row)).collect()
        };
        let [query, key, value] =
            ["query", "key", "value"].map(|part| all(&format!("attention.self.{part}")));
        let width = hidden / heads;
        let attended = |token: usize| -> Vec<f64> {
            let component = |at: usize| {
                let places = at / width * width..at / width * width + width;
                let fit = |other: usize| {
                    let product: f64 = places.clone().map(|at| query[token][at] * key[other][at]).sum();
                    (product / (width as f64).sqrt()).exp()
                };
                let sum: f64 = (0..rows.len()).map(fit).sum();
                (0..rows.len()).map(|other| fit(other) / sum * value[other][at]).sum::<f64>()
            };
            (0..hidden).map(component).collect()
        };
        let next = |token: usize| {
            let out = linear(&named("attention.output.dense"), hidden, &attended(token));
            let out = norm(&named("attention.output.LayerNorm"), &add(&out, &rows[token]));
            let gelu = |x: f64| 0.5 * x * (1.0 + libm::erf(x / 2_f64.sqrt()));
            let within: Vec<f64> =
                linear(&named("intermediate.dense"), inner, &out).into_iter().map(gelu).collect();
            norm(&named("output.LayerNorm"), &add(&linear(&named("output.dense"), hidden, &within), &out))
        };
        rows = (0..rows.len()).map(next).collect();
    }
    let mean = |at: usize| rows.iter().map(|row| row[at]).sum::<f64>() / rows.len() as f64;
    (0..hidden).map(|at| mean(at) as f32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn vectors_are_those_of_plain_loops(
        seed: u64, heads in 1..4_usize, width in 1..9_usize, inner in 1..20_usize, layers in 0..3_usize,
        text in "((how|do|change|30|中|orders|xyz|a\\.) ){0,12}",
    ) {
        let shape = Shape { hidden: heads * width, inner, heads, layers, positions: 9 };
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), seed, shape);
        let model = Model::load(folder.path()).expect("a model");
        let tokens = model.tokenizer.encode(&text, model.max_tokens);
        prop_assert!(tokens.len() <= 9);
        let (found, wanted) = (model.embed(&text), by_loops(&weights(seed, shape), shape, &tokens));
        let scale = wanted.iter().fold(1_f32, |most, own| most.max(own.abs()));
        for (found, wanted) in found.iter().zip(&wanted) {
            prop_assert!((found - wanted).abs() <= 1e-3 * scale, "{found} and not {wanted}");
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let folder = folder();
        let vector = model(&folder).embed(&text);
        prop_assert!(vector.iter().all(|own| own.is_finite()));
    }
}

#[test]
fn long_texts_are_cut_at_what_the_folder_says() {
    let folder = folder();
    let tokens = |folder: &TempDir| {
        let model = model(folder);
        model.tokenizer.encode(&"how ".repeat(100), model.max_tokens).len()
    };
    assert_eq!(tokens(&folder), SHAPE.positions);
    for (said, wanted) in
        [(json!(5), 5), (json!(500), SHAPE.positions), (json!(0), 3), (Value::Null, SHAPE.positions)]
    {
        write_json(folder.path(), "sentence_bert_config.json", &json!({"max_seq_length": said}));
        assert_eq!(tokens(&folder), wanted, "{said}");
    }
}

#[test]
fn a_broken_folder_is_an_error_that_says_what_is_wrong() {
    let changed = |name: &'static str, whole: Value, pointer: &'static str, value: Value| {
        fault(move |folder| {
            let mut whole = whole.clone();
            *whole.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone();
            write_json(folder, name, &whole);
        })
    };
    let configured = |key: &'static str, value: Value| changed("config.json", config(SHAPE), key, value);
    let tokenized = |key: &'static str, value: Value| changed("tokenizer.json", tokenizer(), key, value);
    let without =
        |name: &'static str| fault(move |folder| fs::remove_file(folder.join(name)).expect("a file"));
    let weighed = |change: fn(&mut Vec<u8>)| {
        fault(move |folder| {
            let path = folder.join("model.safetensors");
            let mut bytes = fs::read(&path).expect("a file");
            change(&mut bytes);
            fs::write(path, bytes).expect("a file");
        })
    };
    let modules = |kind: &str, pooling: Value| {
        let modules = json!([{"idx": 0, "name": "0", "path": "1_Pooling", "type": kind}]);
        fault(move |folder| {
            write_json(folder, "modules.json", &modules);
            fs::create_dir(folder.join("1_Pooling")).expect("a folder");
            write_json(folder, "1_Pooling/config.json", &pooling);
        })
    };
    assert_eq!(fault(|_| {}), "nothing");
    for (found, wanted) in [
        (without("config.json"), "/config.json: No such file"),
        (without("tokenizer.json"), "/tokenizer.json: No such file"),
        (without("model.safetensors"), "/model.safetensors: No such file"),
        (
            configured("/model_type", json!("mpnet")),
            "/config.json: model_type is \"mpnet\", and only \"bert\" is known",
        ),
        (configured("/hidden_act", json!("relu")), "/config.json: hidden_act is \"relu\""),
        (configured("/num_attention_heads", json!(3)), "/config.json: 16 dimensions, 3 heads"),
        (configured("/num_attention_heads", json!(0)), "/config.json: 16 dimensions, 0 heads"),
        (configured("/hidden_size", json!(0)), "/config.json: 0 dimensions"),
        (configured("/max_position_embeddings", json!(2)), "and 2 positions do not fit"),
        (configured("/hidden_size", json!(-1)), "/config.json: invalid value"),
        (
            configured("/hidden_size", json!(32)),
            "/model.safetensors: embeddings.token_type_embeddings.weight has the shape [2, 16]",
        ),
        (
            configured("/type_vocab_size", json!(0)),
            "/model.safetensors: embeddings.token_type_embeddings.weight has the shape",
        ),
        (
            configured("/num_hidden_layers", json!(3)),
            "/model.safetensors: there is no tensor encoder.layer.2.",
        ),
        (
            configured("/vocab_size", json!(39)),
            "/tokenizer.json: \"not\" has the number 39, and the model knows 39 words",
        ),
        (
            tokenized("/model/type", json!("BPE")),
            "/tokenizer.json: model is \"BPE\", and only \"WordPiece\" is known",
        ),
        (tokenized("/normalizer/type", json!("Lowercase")), "/tokenizer.json: normalizer is \"Lowercase\""),
        (
            tokenized("/pre_tokenizer/type", json!("Whitespace")),
            "/tokenizer.json: pre_tokenizer is \"Whitespace\"",
        ),
        (tokenized("/model/unk_token", json!("?!")), "/tokenizer.json: \"?!\" is not in the vocabulary"),
        (tokenized("/post_processor/single", json!([])), "/tokenizer.json: post_processor does not put"),
        (tokenized("/model/vocab", json!(7)), "/tokenizer.json: is no tokenizer of a BERT: invalid type"),
        (weighed(|bytes| bytes.truncate(bytes.len() / 2)), "/model.safetensors: "),
        (weighed(Vec::clear), "/model.safetensors: "),
        (weighed(|bytes| bytes[..8].fill(0xff)), "/model.safetensors: "),
        (
            weighed(|bytes| {
                let end = bytes.len();
                bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            }),
            "has infinite numbers",
        ),
        (modules("a.Dense", json!({})), "/modules.json: the step \"a.Dense\" is not known"),
        (modules("a.Pooling", json!({})), "/1_Pooling/config.json: neither the mean nor the first token"),
        (
            modules("a.Pooling", json!({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true})),
            "/1_Pooling/config.json: neither the mean nor the first token",
        ),
    ] {
        assert!(found.contains(wanted), "{wanted} is not in: {found}");
    }
}

#[tokio::test]
async fn it_runs_on_threads_of_its_own() {
    let folder = folder();
    let local = Local::open(folder.path()).unwrap_or_else(|error| panic!("{error}"));
    let wanted = model(&folder).embed("30 days");
    let texts: Vec<String> = (0..40).map(|number| format!("how {number}")).collect();
    let calls = texts.iter().map(|text| local.call(text));
    let all = futures_util::future::join_all(calls).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(local.call("30 days").await, Ok(wanted.clone()));
    assert_eq!(Vector::new(&wanted).map(|vector| vector.dimension()), Some(SHAPE.hidden));
    let missing = Local::open(&folder.path().join("no-such-folder")).expect_err("no folder");
    assert!(missing.to_string().starts_with("semantic.model_dir: "), "{missing}");
}

#[tokio::test]
async fn a_full_queue_is_busy_and_threads_end_with_their_queue() {
    let (queue, jobs) = sync_channel(2);
    let local = Local { queue };
    let [mut deserted, mut second] = ["how", "do"].map(|text| Box::pin(local.call(text)));
    assert!([&mut deserted, &mut second].into_iter().all(|call| call.now_or_never().is_none()));
    assert_eq!(local.call("i").await, Err(CallError::Busy));
    drop(deserted);
    let model = model(&folder());
    let thread = thread::spawn(move || work(&model, &Mutex::new(jobs)));
    assert!(second.as_mut().await.is_ok());
    drop(second);
    drop(local);
    thread.join().expect("the thread ends");
}
