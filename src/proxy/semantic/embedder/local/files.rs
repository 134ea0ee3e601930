//! The files of a sentence-transformer's folder.

use std::{fs, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

use super::Pooling;

/// What the files say.
pub(super) struct Folder {
    pub(super) config: BertConfig,
    pub(super) tokenizer: Vec<u8>,
    pub(super) weights: Vec<u8>,
    pub(super) pooling: Pooling,
    /// The most tokens of a text, with those at its beginning and its end.
    pub(super) max_tokens: usize,
}

/// `config.json`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct BertConfig {
    model_type: String,
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) type_vocab_size: usize,
    pub(super) vocab_size: usize,
    pub(super) layer_norm_eps: f32,
}

fn absolute() -> String {
    "absolute".to_owned()
}

/// `modules.json`: the steps from text to vector.
#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

/// `1_Pooling/config.json`.
#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

/// `sentence_bert_config.json`.
#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

impl Folder {
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let config: BertConfig = parse(folder, "config.json")?;
        config.check().map_err(|reason| format!("{}: {reason}", folder.join("config.json").display()))?;
        let pooling = read_pooling(folder)?;
        let sentence: Option<SentenceConfig> = parse_if_there(folder, "sentence_bert_config.json")?;
        let most = config.max_position_embeddings;
        let max_tokens =
            sentence.and_then(|sentence| sentence.max_seq_length).map_or(most, |own| own.clamp(3, most));
        let tokenizer = read(folder, "tokenizer.json")?;
        let weights = read(folder, "model.safetensors")?;
        Ok(Self { config, tokenizer, weights, pooling, max_tokens })
    }
}

impl BertConfig {
    fn check(&self) -> Result<(), String> {
        for (key, found, known) in [
            ("model_type", &self.model_type, "bert"),
            ("hidden_act", &self.hidden_act, "gelu"),
            ("position_embedding_type", &self.position_embedding_type, "absolute"),
        ] {
            if found != known {
                return Err(format!(
                    "{key} is {found:?}, and only {known:?} is known; take another model, or an endpoint"
                ));
            }
        }
        let Self { hidden_size, num_attention_heads: heads, max_position_embeddings: positions, .. } = *self;
        if hidden_size == 0 || heads == 0 || !hidden_size.is_multiple_of(heads) || positions < 3 {
            return Err(format!(
                "{hidden_size} dimensions, {heads} heads and {positions} positions do not fit together"
            ));
        }
        Ok(())
    }
}

/// The pooling that the steps name; without `modules.json`, the mean.
fn read_pooling(folder: &Path) -> Result<Pooling, String> {
    let Some(modules) = parse_if_there::<Vec<Module>>(folder, "modules.json")? else {
        return Ok(Pooling::Mean);
    };
    let mut pooling = Pooling::Mean;
    for Module { kind, path } in modules {
        match kind.rsplit('.').next().unwrap_or_default() {
            // What comes of it is brought to length one in any case.
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                let name = Path::new(&path).join("config.json");
                pooling = parse::<PoolingConfig>(folder, &name)?.pooling().ok_or_else(|| {
                    format!("{}: neither the mean nor the first token", folder.join(&name).display())
                })?;
            }
            _ => {
                let place = folder.join("modules.json");
                return Err(format!("{}: the step {kind:?} is not known", place.display()));
            }
        }
    }
    Ok(pooling)
}

impl PoolingConfig {
    fn pooling(&self) -> Option<Pooling> {
        let others = [
            self.pooling_mode_max_tokens,
            self.pooling_mode_mean_sqrt_len_tokens,
            self.pooling_mode_weightedmean_tokens,
            self.pooling_mode_lasttoken,
        ];
        match (self.pooling_mode_mean_tokens, self.pooling_mode_cls_token, others.contains(&true)) {
            (true, false, false) => Some(Pooling::Mean),
            (false, true, false) => Some(Pooling::First),
            _ => None,
        }
    }
}

fn read(folder: &Path, name: impl AsRef<Path>) -> Result<Vec<u8>, String> {
    let path = folder.join(name);
    fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn parse<T: DeserializeOwned>(folder: &Path, name: impl AsRef<Path>) -> Result<T, String> {
    let text = read(folder, &name)?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", folder.join(name).display()))
}

fn parse_if_there<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>, String> {
    if folder.join(name).exists() { parse(folder, name).map(Some) } else { Ok(None) }
}
