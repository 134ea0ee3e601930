//! The settings of hits by meaning.

use std::{path::PathBuf, time::Duration};

use super::{
    parsers::PATH,
    settings_reader::SettingsReader,
    target_url::TargetUrl,
    units::show_duration,
    value::{Format, LIMIT, Percent, TEXT, TIMEOUT, one_of},
};

/// The longest wait for a vector: a request waits for it before the service is asked.
const MAX_TIMEOUT: Duration = Duration::from_secs(5);

/// The highest rate of false hits that can be asked for.
const MAX_FALSE_HITS: Percent = Percent::whole(20);

/// At most 40 hits come between two audits, so that a broken bound shows within 50 hits: one in 40 is audited at least.
const MIN_AUDIT: Percent = Percent::hundredths(250);

/// How hits by meaning are found, and what bounds them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SemanticConfig {
    pub(crate) mode: SemanticMode,
    /// The highest rate of false hits among those served by meaning, at 95 % confidence; between 0 and 1.
    pub(crate) max_false_hits: f64,
    pub(crate) embeddings: EmbeddingSource,
    /// The rate of hits by meaning that are asked of the service all the same; between 0 and 1.
    pub(crate) audit: f64,
    /// The most vectors in all.
    pub(crate) max_entries: usize,
    /// How long a vector is waited for.
    pub(crate) timeout: Duration,
    /// Says whether two answers are the same, where nothing else can.
    pub(crate) judge: Option<ModelEndpoint>,
    /// Where labels and index are kept from one process to the next, without Redis.
    pub(crate) state: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SemanticMode {
    /// Neighbours are found and labelled; nothing is served by meaning.
    Shadow,
    Serve,
}

/// Where vectors come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EmbeddingSource {
    /// An endpoint that is compatible with OpenAI's embeddings.
    Endpoint(ModelEndpoint),
    /// A folder with a BERT-type model: `config.json`, `model.safetensors`, `tokenizer.json`.
    Local(PathBuf),
}

/// An endpoint of an API that is compatible with OpenAI's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelEndpoint {
    pub(crate) url: TargetUrl,
    pub(crate) model: String,
    /// A file with the bearer token; read at every call, so that it may change.
    pub(crate) api_key_file: Option<PathBuf>,
}

impl ModelEndpoint {
    /// Whether whoever is on the way could read the token.
    pub(crate) fn shows_its_key(&self) -> bool {
        self.api_key_file.is_some() && self.url.is_exposed()
    }
}

impl SemanticConfig {
    /// What a reload makes of the running settings: those that need a restart stay.
    pub(crate) fn reloaded(self, running: &Self) -> Self {
        Self {
            embeddings: running.embeddings.clone(),
            max_entries: running.max_entries,
            judge: running.judge.clone(),
            state: running.state.clone(),
            ..self
        }
    }
}

const MODE: Format<Option<SemanticMode>> = Format {
    parse: |value| one_of(value, &MODES),
    show: |mode| MODES.iter().find(|(_, own)| own == mode).map_or("", |(name, _)| name).to_owned(),
};

const MODES: [(&str, Option<SemanticMode>); 3] =
    [("off", None), ("shadow", Some(SemanticMode::Shadow)), ("serve", Some(SemanticMode::Serve))];

const FALSE_HITS: Format<Percent> = Format {
    parse: |value| match Percent::parse(value)? {
        Percent::ZERO => {
            Err("must be more than 0: no number of labels can show that hits are never wrong".to_owned())
        }
        percent if percent > MAX_FALSE_HITS => {
            Err(format!("{percent} is more than {MAX_FALSE_HITS}; write less, as in \"1%\""))
        }
        percent => Ok(percent),
    },
    show: Percent::to_string,
};

const AUDIT: Format<Percent> = Format {
    parse: |value| match Percent::parse(value)? {
        percent if percent < MIN_AUDIT => Err(format!(
            "{percent} is less than {MIN_AUDIT}, and a broken bound would show too late; write more, as in \"5%\""
        )),
        percent if percent > Percent::whole(100) => Err(format!("{percent} is more than 100%")),
        percent => Ok(percent),
    },
    show: Percent::to_string,
};

const WAIT: Format<Duration> = Format {
    parse: |value| match (TIMEOUT.parse)(value)? {
        wait if wait > MAX_TIMEOUT => Err(format!(
            "{} is longer than {}, and requests wait for it; write less, as in \"100ms\"",
            show_duration(wait),
            show_duration(MAX_TIMEOUT)
        )),
        wait => Ok(wait),
    },
    show: TIMEOUT.show,
};

const EMBEDDINGS: Format<TargetUrl> = Format {
    parse: |value| {
        endpoint(value.text("the URL of an endpoint")?, "embeddings", "http://HOST:PORT/v1/embeddings")
    },
    show: TargetUrl::to_string,
};

const JUDGE: Format<TargetUrl> = Format {
    parse: |value| {
        endpoint(value.text("the URL of an endpoint")?, "a judge", "http://HOST:PORT/v1/chat/completions")
    },
    show: TargetUrl::to_string,
};

/// The URL of an endpoint, which has a path: its base alone would answer with a 404.
fn endpoint(text: &str, what: &str, example: &str) -> Result<TargetUrl, String> {
    let url = TargetUrl::parse(text, what, example)?;
    if url.path() == "/" { Err(format!("has no path; write {example}")) } else { Ok(url) }
}

/// The settings of an endpoint: its URL, its model, and the file with its token.
const EMBEDDER: [&str; 3] = ["semantic.embeddings", "semantic.model", "semantic.api_key_file"];
const JUDGING: [&str; 3] = ["semantic.judge", "semantic.judge_model", "semantic.judge_api_key_file"];

impl SemanticConfig {
    /// `None` if they are off.
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let mode = reader.need("semantic.mode", &MODE);
        let max_false_hits = reader.need("semantic.max_false_hits", &FALSE_HITS);
        let endpoint = read_endpoint(reader, EMBEDDER, &EMBEDDINGS);
        let model_dir = reader.take("semantic.model_dir", &PATH);
        let audit = reader.need("semantic.audit", &AUDIT);
        let max_entries = reader.need("semantic.max_entries", &LIMIT);
        let timeout = reader.need("semantic.timeout", &WAIT);
        let judge = read_endpoint(reader, JUDGING, &JUDGE);
        let state = reader.take("semantic.state", &PATH);
        if state.is_some() && reader.is_given("store.redis") {
            let why = "is of no use with store.redis: replicas share what they learn there; leave it out";
            reader.fault("semantic.state", why);
        }
        let mode = mode.flatten();
        refuse_other_than_one_embedder(reader, mode);
        let embeddings = match (endpoint, model_dir) {
            (Some(endpoint), None) => EmbeddingSource::Endpoint(endpoint),
            (None, Some(folder)) => EmbeddingSource::Local(folder),
            _ => return None,
        };
        Some(Self {
            mode: mode?,
            max_false_hits: max_false_hits?.share(),
            embeddings,
            audit: audit?.share(),
            max_entries: max_entries?.get(),
            timeout: timeout?,
            judge,
            state,
        })
    }
}

/// Reads the settings of an endpoint; `None` if it has no URL, or no model, which is a fault.
fn read_endpoint(
    reader: &mut SettingsReader,
    [url, model, key_file]: [&'static str; 3],
    format: &Format<TargetUrl>,
) -> Option<ModelEndpoint> {
    let has_url = reader.is_given(url);
    let endpoint = reader.take(url, format);
    let name = reader.take(model, &TEXT);
    let api_key_file = reader.take(key_file, &PATH);
    if has_url && !reader.is_given(model) {
        reader.fault(url, &format!("needs {model}: what the endpoint calls the model"));
    }
    for setting in [model, key_file] {
        if !has_url && reader.is_given(setting) {
            reader.fault(setting, &format!("is of no use without {url}"));
        }
    }
    Some(ModelEndpoint { url: endpoint?, model: name?, api_key_file })
}

fn refuse_other_than_one_embedder(reader: &mut SettingsReader, mode: Option<SemanticMode>) {
    let [endpoint, folder] = ["semantic.embeddings", "semantic.model_dir"].map(|key| reader.is_given(key));
    if endpoint && folder {
        reader.fault(
            "semantic.model_dir",
            "and semantic.embeddings both say where vectors come from; leave one of them out",
        );
    }
    if mode.is_some() && !endpoint && !folder {
        let how = "needs vectors: set semantic.embeddings and semantic.model for an endpoint, or semantic.model_dir for a \
                   model in this process";
        reader.fault("semantic.mode", how);
    }
}
