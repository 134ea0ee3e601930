//! The encoder of BERT (<https://arxiv.org/abs/1810.04805>), as the library `transformers` computes it.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use super::{files::BertConfig, tensors::Tensors};

pub(super) struct Bert {
    words: Array2<f32>,
    positions: Array2<f32>,
    /// The vector of the first type of texts. There is only one text.
    text_type: Array1<f32>,
    embedded: Norm,
    layers: Vec<Layer>,
}

/// A layer: each token looks at the others, then at itself.
struct Layer {
    heads: usize,
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: Norm,
    inner: Linear,
    outer: Linear,
    outer_norm: Norm,
}

/// A matrix of outputs by inputs, and what is added.
struct Linear {
    weight: Array2<f32>,
    bias: Array1<f32>,
}

/// Brings each row to mean 0 and variance 1, then to a scale of its own.
struct Norm {
    weight: Array1<f32>,
    bias: Array1<f32>,
    epsilon: f32,
}

impl Bert {
    /// # Errors
    /// Which tensor is missing or does not fit.
    pub(super) fn load(config: &BertConfig, weights: &[u8]) -> Result<Self, String> {
        let tensors = Tensors::parse(weights)?;
        let hidden = config.hidden_size;
        let types = "embeddings.token_type_embeddings.weight";
        let types = tensors.matrix(types, config.type_vocab_size, hidden)?;
        if types.is_empty() {
            return Err("there is no type of texts".to_owned());
        }
        Ok(Self {
            words: tensors.matrix("embeddings.word_embeddings.weight", config.vocab_size, hidden)?,
            positions: tensors.matrix(
                "embeddings.position_embeddings.weight",
                config.max_position_embeddings,
                hidden,
            )?,
            text_type: types.row(0).to_owned(),
            embedded: Norm::load(&tensors, "embeddings.LayerNorm", config)?,
            layers: (0..config.num_hidden_layers)
                .map(|number| Layer::load(&tensors, &format!("encoder.layer.{number}"), config))
                .collect::<Result<_, _>>()?,
        })
    }

    /// A vector for each of `tokens`, which are words of the vocabulary, no more than there are positions.
    pub(super) fn forward(&self, tokens: &[u32]) -> Array2<f32> {
        let words: Vec<usize> = tokens.iter().map(|token| *token as usize).collect();
        let mut hidden = self.words.select(Axis(0), &words);
        hidden += &self.positions.slice(s![..tokens.len(), ..]);
        hidden += &self.text_type;
        self.embedded.apply(&mut hidden);
        for layer in &self.layers {
            hidden = layer.apply(hidden);
        }
        hidden
    }
}

impl Layer {
    fn load(tensors: &Tensors<'_>, name: &str, config: &BertConfig) -> Result<Self, String> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear =
            |part: &str, outputs, inputs| Linear::load(tensors, &format!("{name}.{part}"), outputs, inputs);
        let norm = |part: &str| Norm::load(tensors, &format!("{name}.{part}"), config);
        Ok(Self {
            heads: config.num_attention_heads,
            query: linear("attention.self.query", hidden, hidden)?,
            key: linear("attention.self.key", hidden, hidden)?,
            value: linear("attention.self.value", hidden, hidden)?,
            attended: linear("attention.output.dense", hidden, hidden)?,
            attended_norm: norm("attention.output.LayerNorm")?,
            inner: linear("intermediate.dense", inner, hidden)?,
            outer: linear("output.dense", hidden, inner)?,
            outer_norm: norm("output.LayerNorm")?,
        })
    }

    fn apply(&self, hidden: Array2<f32>) -> Array2<f32> {
        let mut attended = self.attended.apply(&self.attend(&hidden).view()) + hidden;
        self.attended_norm.apply(&mut attended);
        let mut inner = self.inner.apply(&attended.view());
        inner.mapv_inplace(gelu);
        let mut outer = self.outer.apply(&inner.view()) + attended;
        self.outer_norm.apply(&mut outer);
        outer
    }

    /// For each head and each token, the mean of all tokens' values, by how well their keys fit its query.
    fn attend(&self, hidden: &Array2<f32>) -> Array2<f32> {
        let [query, key, value] =
            [&self.query, &self.key, &self.value].map(|linear| linear.apply(&hidden.view()));
        let width = hidden.ncols() / self.heads;
        let scale = (width as f32).sqrt().recip();
        let mut attended = Array2::zeros(hidden.raw_dim());
        for head in 0..self.heads {
            let own = s![.., head * width..(head + 1) * width];
            let mut shares = query.slice(own).dot(&key.slice(own).t());
            shares *= scale;
            softmax(&mut shares);
            attended.slice_mut(own).assign(&shares.dot(&value.slice(own)));
        }
        attended
    }
}

impl Linear {
    fn load(tensors: &Tensors<'_>, name: &str, outputs: usize, inputs: usize) -> Result<Self, String> {
        let weight = tensors.matrix(&format!("{name}.weight"), outputs, inputs)?;
        Ok(Self { weight, bias: tensors.vector(&format!("{name}.bias"), outputs)? })
    }

    fn apply(&self, rows: &ArrayView2<'_, f32>) -> Array2<f32> {
        rows.dot(&self.weight.t()) + &self.bias
    }
}

impl Norm {
    fn load(tensors: &Tensors<'_>, name: &str, config: &BertConfig) -> Result<Self, String> {
        Ok(Self {
            weight: tensors.vector(&format!("{name}.weight"), config.hidden_size)?,
            bias: tensors.vector(&format!("{name}.bias"), config.hidden_size)?,
            epsilon: config.layer_norm_eps,
        })
    }

    fn apply(&self, rows: &mut Array2<f32>) {
        for mut row in rows.rows_mut() {
            let count = row.len() as f32;
            let mean = row.sum() / count;
            row -= mean;
            let variance = row.iter().map(|own| own * own).sum::<f32>() / count;
            row *= (variance + self.epsilon).sqrt().recip();
            row *= &self.weight;
            row += &self.bias;
        }
    }
}

/// The smooth step of <https://arxiv.org/abs/1606.08415>.
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Makes shares of each row that add up to one.
fn softmax(rows: &mut Array2<f32>) {
    for mut row in rows.rows_mut() {
        let most = row.fold(f32::NEG_INFINITY, |most, own| most.max(*own));
        row.mapv_inplace(|own| (own - most).exp());
        let sum = row.sum();
        row /= sum;
    }
}
