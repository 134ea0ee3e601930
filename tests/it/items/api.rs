//! The APIs: how each writes a request with several inputs, and how a service answers it. The answers are written in a
//! way that a re-serialisation would change.

use serde_json::{Value, json};

/// An API, by its server and its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    TeiEmbed,
    TeiEmbedSparse,
    CohereEmbed,
    GeminiEmbed,
    GeminiBatchEmbed,
    Moderations,
    CohereRerank,
    JinaRerank,
    VoyageRerank,
    VllmRerank,
    LlamaCppRerank,
    TeiRerank,
    Score,
    ScoreOfQueries,
}

/// What a request says besides its inputs.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// Tells requests apart whose inputs have nothing to do with each other.
    pub(super) variant: u8,
    /// How many results it wants at most.
    pub(super) limit: Option<u8>,
    /// Whether the answer repeats the documents, or has a second kind of vectors.
    pub(super) with_more: bool,
    /// Whether one input is written without a list, where that means the same.
    pub(super) is_bare: bool,
}

/// Scores, as a service writes them. Some are equal, in other words too.
const SCORES: [&str; 9] =
    ["0.97", "1.9248969554901123", "-0.9589390754699707", "1e-7", "0.5", "0.50", "12", "5E-1", "0.0"];

impl Api {
    pub(super) const ALL: [Self; 14] = [
        Self::TeiEmbed,
        Self::TeiEmbedSparse,
        Self::CohereEmbed,
        Self::GeminiEmbed,
        Self::GeminiBatchEmbed,
        Self::Moderations,
        Self::CohereRerank,
        Self::JinaRerank,
        Self::VoyageRerank,
        Self::VllmRerank,
        Self::LlamaCppRerank,
        Self::TeiRerank,
        Self::Score,
        Self::ScoreOfQueries,
    ];

    pub(super) const fn target(self) -> &'static str {
        match self {
            Self::TeiEmbed => "/embed",
            Self::TeiEmbedSparse => "/embed_sparse",
            Self::CohereEmbed => "/v2/embed",
            Self::GeminiEmbed => "/v1beta/models/e:embedContent",
            Self::GeminiBatchEmbed => "/v1/models/e:batchEmbedContents",
            Self::Moderations => "/v1/moderations",
            Self::CohereRerank => "/v2/rerank",
            // The service tells them apart by what they ask for.
            Self::JinaRerank | Self::VoyageRerank => "/v1/rerank",
            Self::VllmRerank | Self::TeiRerank => "/rerank",
            Self::LlamaCppRerank => "/v1/reranking",
            Self::Score => "/score",
            Self::ScoreOfQueries => "/v1/score",
        }
    }

    /// The API of a request to `target`.
    pub(super) fn of(target: &str, body: &Value) -> Self {
        let mut found = Self::ALL.into_iter().filter(|api| api.target() == target);
        match found.clone().count() {
            1 => found.next(),
            _ if body.get("texts").is_some() => Some(Self::TeiRerank),
            _ if target == "/rerank" => Some(Self::VllmRerank),
            _ if body["model"] == "voyage" => Some(Self::VoyageRerank),
            _ => Some(Self::JinaRerank),
        }
        .unwrap_or_else(|| panic!("{target}"))
    }

    /// The kind of its entries.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Moderations => "query",
            _ if self.is_of_scores() => "rerank",
            _ => "embedding",
        }
    }

    /// Why an answer that does not fit is not stored.
    pub(super) const fn unread(self) -> &'static str {
        match self {
            Self::Moderations => "unread-batch",
            _ if self.is_of_scores() => "unread-scores",
            _ => "unread-vectors",
        }
    }

    pub(super) const fn is_of_scores(self) -> bool {
        !matches!(
            self,
            Self::TeiEmbed
                | Self::TeiEmbedSparse
                | Self::CohereEmbed
                | Self::GeminiEmbed
                | Self::GeminiBatchEmbed
                | Self::Moderations
        )
    }

    /// Whether its results say which input they are for, and come sorted.
    pub(super) const fn is_ranked(self) -> bool {
        self.is_of_scores() && !matches!(self, Self::Score | Self::ScoreOfQueries)
    }

    /// Whether an answer has several parts.
    pub(super) fn is_list(self) -> bool {
        self != Self::GeminiEmbed
    }

    /// The member with the inputs.
    pub(super) const fn holder(self) -> &'static str {
        match self {
            Self::TeiEmbed | Self::TeiEmbedSparse => "inputs",
            Self::CohereEmbed | Self::TeiRerank => "texts",
            Self::GeminiEmbed => "content",
            Self::GeminiBatchEmbed => "requests",
            Self::Moderations => "input",
            Self::Score => "text_2",
            Self::ScoreOfQueries => "items",
            _ => "documents",
        }
    }

    /// The member that limits the results.
    pub(super) const fn limit(self) -> Option<&'static str> {
        match self {
            Self::VoyageRerank => Some("top_k"),
            Self::CohereRerank | Self::JinaRerank | Self::VllmRerank | Self::LlamaCppRerank => Some("top_n"),
            _ => None,
        }
    }

    /// An input with this number.
    pub(super) fn input(self, number: u8) -> Value {
        let text = format!("the \"{number}\"th, \u{e9}\\n");
        match self {
            Self::TeiEmbed if number.is_multiple_of(3) => json!([number, 1000]),
            Self::GeminiEmbed => json!({"parts": [{"text": text}]}),
            Self::GeminiBatchEmbed => {
                json!({"model": "models/e", "content": {"parts": [{"text": text}]}, "taskType": "CLUSTERING"})
            }
            Self::CohereRerank | Self::JinaRerank if number.is_multiple_of(2) => {
                json!({"text": text, "n": 1.50})
            }
            _ => json!(text),
        }
    }

    /// A request for these inputs. The API may take no lists, or none of several kinds.
    pub(super) fn request(self, inputs: &[Value], options: &Options) -> Value {
        let Options { variant, with_more, .. } = options;
        let name = format!("variant {variant}");
        let mut body = match self {
            Self::TeiEmbed | Self::TeiEmbedSparse => json!({"prompt_name": name}),
            Self::CohereEmbed => {
                let types = if *with_more { json!(["int8", "float", "base64"]) } else { json!(["float"]) };
                json!({"model": name, "input_type": "search_query", "embedding_types": types})
            }
            Self::GeminiEmbed => json!({"title": name}),
            Self::GeminiBatchEmbed => json!({"more": name}),
            Self::Moderations => json!({"model": name}),
            Self::VoyageRerank => json!({"model": "voyage", "query": name, "return_documents": with_more}),
            Self::TeiRerank => json!({"query": name, "return_text": with_more}),
            Self::Score => json!({"model": "s", "text_1": name}),
            Self::ScoreOfQueries => json!({"queries": {"content": name}}),
            _ => json!({"model": "r", "query": name, "return_documents": with_more}),
        };
        if let (Some(member), Some(limit)) = (self.limit(), options.limit) {
            body[member] = json!(limit);
        }
        let takes_bare =
            matches!(self, Self::TeiEmbed | Self::TeiEmbedSparse | Self::Moderations | Self::Score);
        let is_bare = !self.is_list() || (takes_bare && options.is_bare && inputs.len() == 1);
        body[self.holder()] = if is_bare { inputs[0].clone() } else { json!(inputs) };
        body
    }

    /// The inputs of a request, one by one.
    pub(super) fn inputs(self, request: &Value) -> Vec<Value> {
        match &request[self.holder()] {
            Value::Array(items) if !items[0].is_number() => items.clone(),
            one => vec![one.clone()],
        }
    }

    /// What tells an input of a request from any other: what its entry is found by.
    pub(super) fn name(self, request: &Value, input: &Value) -> String {
        let mut shared = request.clone();
        let members = shared.as_object_mut().expect("an object");
        for member in [self.holder(), "top_n", "top_k"] {
            members.remove(member);
        }
        format!("{self:?} {shared} {input}")
    }

    /// What a service answers to a request, if it bills for these inputs.
    pub(super) fn answer(self, request: &Value, billed: &[Value]) -> String {
        let inputs = self.inputs(request);
        let parts: Vec<_> = inputs.iter().map(|input| self.part(request, input)).collect();
        let cost: usize = billed.iter().map(|input| input.to_string().len()).sum();
        self.written(request, &self.in_order(request, &parts), cost)
    }

    /// What belongs to one input, with `#` for its number.
    fn part(self, request: &Value, input: &Value) -> String {
        let hash = blake3::hash(self.name(request, input).as_bytes());
        let [a, b, c, ..] = *hash.as_bytes();
        let score = SCORES[usize::from(c) % SCORES.len()];
        let has_document = request["return_documents"] == true || request["return_text"] == true;
        match self {
            Self::TeiEmbed => format!("[{a}.{b}0, -1e-{a} ]"),
            Self::TeiEmbedSparse => {
                let entries = (0..a % 3).map(|index| format!("{{\"index\":{index}, \"value\":0.{b}0}}"));
                format!("[{}]", entries.collect::<Vec<_>>().join(","))
            }
            Self::CohereEmbed => format!("{a} {b} {}", hash.to_hex()),
            Self::GeminiEmbed | Self::GeminiBatchEmbed => format!("{{ \"values\": [{a}.{b}0,1e-{b}]}}"),
            Self::Moderations => {
                format!("{{\"flagged\" :{}, \"category_scores\":{{\"hate\":{a}.{b}0e-3}}}}", a % 2 == 0)
            }
            Self::TeiRerank if has_document => format!("{{\"index\":#,\"text\":{input},\"score\":{score}}}"),
            Self::TeiRerank => format!("{{\"index\": # ,\"score\":{score}}}"),
            Self::Score | Self::ScoreOfQueries => {
                format!("{{\"index\":#,\"object\":\"score\",\"score\":{score}}}")
            }
            _ if has_document => {
                format!("{{\"relevance_score\" :{score},\"document\": {input}, \"index\":#}}")
            }
            _ => format!("{{\"index\": #,\"relevance_score\":{score} }}"),
        }
    }

    /// The parts as the service sorts and numbers them.
    fn in_order(self, request: &Value, parts: &[String]) -> Vec<String> {
        let mut order: Vec<_> = (0..parts.len()).collect();
        if self.is_ranked() {
            let score = |at: &usize| -> f64 {
                let rest =
                    parts[*at].split("score\"").nth(1).expect("a score").trim_start_matches([' ', ':']);
                rest.split([',', '}', ' ']).next().and_then(|text| text.parse().ok()).expect("a number")
            };
            if self == Self::TeiRerank {
                order.sort_by(|one, other| score(one).partial_cmp(&score(other)).expect("numbers"));
                order.reverse();
            } else {
                order.sort_by(|one, other| score(other).partial_cmp(&score(one)).expect("numbers"));
            }
        }
        let limit = self.limit().and_then(|member| request[member].as_u64()).unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let numbered = |at: usize| parts[at].replacen('#', &at.to_string(), 1);
        order.into_iter().take(limit).map(numbered).collect()
    }

    /// The answer with these parts, which took so much.
    pub(super) fn written(self, request: &Value, parts: &[String], cost: usize) -> String {
        let list = parts.join(",");
        match self {
            Self::TeiEmbed | Self::TeiEmbedSparse | Self::TeiRerank => format!("[{list}]"),
            Self::CohereEmbed => cohere(request, parts, cost),
            Self::GeminiEmbed => {
                format!("{{\"embedding\" :{list}, \"usageMetadata\":{{\"promptTokenCount\":{cost}}}}}")
            }
            Self::GeminiBatchEmbed => {
                format!("{{\"embeddings\": [{list}],\"usageMetadata\":{{\"promptTokenCount\":{cost}}}}}")
            }
            Self::Moderations => format!("{{\"id\":\"modr-1\",\"model\":\"m\", \"results\":[{list}] }}"),
            Self::CohereRerank => format!(
                "{{\"id\":\"r-1\",\"results\" :[{list}],\"meta\":{{\"api_version\":{{\"version\":\"2\"}},\
                 \"billed_units\":{{\"search_units\":{cost}}}}}}}"
            ),
            Self::VoyageRerank | Self::Score | Self::ScoreOfQueries => format!(
                "{{\"object\":\"list\",\"data\":[{list}],\"model\":\"r-2\",\"usage\":{{\"total_tokens\":{cost}}}}}"
            ),
            _ => format!(
                "{{\"model\":\"r-2\",\"usage\":{{\"prompt_tokens\":{cost},\"total_tokens\":{cost}}}, \
                 \"results\":[{list}]}}"
            ),
        }
    }
}

/// Vectors side by side, and the texts.
fn cohere(request: &Value, parts: &[String], cost: usize) -> String {
    let words: Vec<Vec<_>> = parts.iter().map(|part| part.split(' ').collect()).collect();
    let list = |write: &dyn Fn(&[&str]) -> String| {
        words.iter().map(|words| write(words)).collect::<Vec<_>>().join(",")
    };
    let float = list(&|words| format!("[{}.{}0, 1e-{}]", words[0], words[1], words[0]));
    let mut lists = format!("\"float\":[{float}]");
    if request["embedding_types"][2] == "base64" {
        let bytes = list(&|words| format!("[{},-{}]", words[0], words[1]));
        let base64 = list(&|words| format!("\"{}/+==\"", &words[2][..16]));
        lists = format!("\"int8\" : [{bytes}],{lists}, \"base64\":[{base64}]");
    }
    let texts = &request["texts"];
    format!(
        "{{\"id\":\"e-1\",\"texts\":{texts},\"embeddings\":{{{lists}}},\"images\":[],\"meta\":{{\"billed_units\":\
         {{\"input_tokens\":{cost}}}}},\"response_type\":\"embeddings_by_type\"}}"
    )
}
