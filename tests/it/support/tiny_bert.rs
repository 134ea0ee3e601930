//! Writes the folder of a tiny BERT with pseudo-random weights: a sentence-transformer that needs no download.

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

/// The words that it knows. Their numbers are their places.
pub(crate) const VOCABULARY: [&str; 40] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "how", "do", "i", "change", "an", "order", "##er", "##s",
    "ch", "##ange", "a", "##b", "##c", "b", "c", "!", "?", "30", "3", "##0", "days", "the", "cafe", "中",
    "国", ".", "-", "de", "##lete", "co", "##op", "to", "be", "$", "not",
];

/// The shape of the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) hidden: usize,
    pub(crate) inner: usize,
    pub(crate) heads: usize,
    pub(crate) layers: usize,
    pub(crate) positions: usize,
}

pub(crate) const SHAPE: Shape = Shape { hidden: 16, inner: 24, heads: 4, layers: 2, positions: 12 };

/// The number at place `at` of the tensor `tensor` of a model with this seed: from -0.5 to 0.5.
pub(crate) fn number(seed: u64, tensor: u64, at: u64) -> f32 {
    // SplitMix64 (https://prng.di.unimi.it/splitmix64.c).
    let mut z = seed
        .wrapping_mul(0xD6E8_FEB8_6659_FD93)
        .wrapping_add(tensor.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(at.wrapping_mul(0xBF58_476D_1CE4_E5B9));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
}

/// The names and the shapes of all tensors, in their order.
pub(crate) fn tensors(shape: Shape) -> Vec<(String, Vec<usize>)> {
    let Shape { hidden, inner, layers, positions, .. } = shape;
    let mut tensors = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![VOCABULARY.len(), hidden]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![positions, hidden]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, hidden]),
        ("embeddings.LayerNorm.weight".to_owned(), vec![hidden]),
        ("embeddings.LayerNorm.bias".to_owned(), vec![hidden]),
    ];
    for layer in 0..layers {
        for (part, outputs, inputs) in [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("attention.output.LayerNorm", hidden, 0),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
            ("output.LayerNorm", hidden, 0),
        ] {
            let weight = if inputs == 0 { vec![outputs] } else { vec![outputs, inputs] };
            tensors.push((format!("encoder.layer.{layer}.{part}.weight"), weight));
            tensors.push((format!("encoder.layer.{layer}.{part}.bias"), vec![outputs]));
        }
    }
    tensors
}

/// The numbers of all tensors by their names. The weights of norms are around one.
pub(crate) fn weights(seed: u64, shape: Shape) -> BTreeMap<String, Vec<f32>> {
    let numbers = |(tensor, (name, shape)): (usize, (String, Vec<usize>))| {
        let around = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        let count = shape.iter().product::<usize>();
        let numbers = (0..count).map(|at| around + number(seed, tensor as u64, at as u64)).collect();
        (name, numbers)
    };
    tensors(shape).into_iter().enumerate().map(numbers).collect()
}

/// Writes a model into `folder`, which is there.
pub(crate) fn write(folder: &Path, seed: u64, shape: Shape) {
    write_json(folder, "config.json", &config(shape));
    write_json(folder, "tokenizer.json", &tokenizer());
    let weights = weights(seed, shape);
    let bytes = |name: &str| weights[name].iter().flat_map(|own| own.to_le_bytes()).collect::<Vec<u8>>();
    let all: Vec<_> = tensors(shape).into_iter().map(|(name, shape)| (bytes(&name), name, shape)).collect();
    let views = all.iter().map(|(bytes, name, shape)| {
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"))
    });
    let file = safetensors::serialize(views, None).expect("tensors");
    fs::write(folder.join("model.safetensors"), file).expect("a folder");
}

pub(crate) fn write_json(folder: &Path, name: &str, value: &Value) {
    fs::write(folder.join(name), value.to_string()).expect("a folder");
}

pub(crate) fn config(shape: Shape) -> Value {
    json!({
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": shape.hidden, "intermediate_size": shape.inner,
        "num_attention_heads": shape.heads, "num_hidden_layers": shape.layers, "layer_norm_eps": 1e-12,
        "max_position_embeddings": shape.positions, "type_vocab_size": 2, "vocab_size": VOCABULARY.len(),
    })
}

pub(crate) fn tokenizer() -> Value {
    let vocabulary: BTreeMap<_, _> = VOCABULARY.iter().enumerate().map(|(id, word)| (*word, id)).collect();
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    json!({
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary,
        },
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")],
            "pair": [], "special_tokens": {},
        },
    })
}
