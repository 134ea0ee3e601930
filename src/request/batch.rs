//! The inputs of one request. Each has a key and an entry of its own, and inputs that mean the same share both.
//! Pure.

use std::collections::{HashMap, hash_map};

use bytes::Bytes;

use crate::{
    cache::{
        entry::Entry,
        key::{Key, KeyId},
    },
    dialect::{Answers, Ask, Inputs, Shape, usage::Usage},
    http::headers::forget_body,
    reason::Reason,
};

/// The inputs of a request, each once.
#[derive(Debug)]
pub(crate) struct Batch {
    inputs: Inputs,
    shape: Shape,
    /// Of the distinct inputs, in the order in which they first come.
    keys: Vec<Key>,
    /// Where each distinct input comes first among all inputs.
    firsts: Vec<usize>,
    /// For each input, which distinct input it is.
    order: Vec<usize>,
}

impl Batch {
    /// `of_inputs` has the key of each input.
    pub(crate) fn new(inputs: Inputs, of_inputs: Vec<Key>) -> Self {
        let shape = inputs.shape();
        let mut keys = Vec::new();
        let mut firsts = Vec::new();
        let mut order = Vec::new();
        let mut known: HashMap<KeyId, usize> = HashMap::with_capacity(of_inputs.len());
        for (place, key) in of_inputs.into_iter().enumerate() {
            let number = match known.entry(key.id()) {
                hash_map::Entry::Occupied(known) => *known.get(),
                hash_map::Entry::Vacant(new) => {
                    keys.push(key);
                    firsts.push(place);
                    *new.insert(keys.len() - 1)
                }
            };
            order.push(number);
        }
        Self { inputs, shape, keys, firsts, order }
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// How its answers are written.
    pub(crate) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// For each input, which distinct input it is.
    pub(crate) fn order(&self) -> &[usize] {
        &self.order
    }

    /// How many results the answer has, if that is fewer than there are inputs.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.inputs.limit()
    }

    /// The request `body` with only the `chosen` distinct inputs, each once, and for all of their results. If
    /// those are all, none comes twice, and all results are wanted, that is `body` itself.
    pub(crate) fn request(&self, body: &Bytes, chosen: &[usize]) -> Bytes {
        let places: Vec<_> = chosen.iter().map(|number| self.firsts[*number]).collect();
        self.inputs.request(body, &places)
    }

    /// The `chosen` distinct inputs, to ask the upstream for.
    pub(crate) fn wanted(&self, chosen: &[usize]) -> Wanted {
        let lengths: Vec<_> = self.inputs.lengths().collect();
        Wanted {
            keys: chosen.iter().map(|number| self.keys[*number].clone()).collect(),
            shape: self.shape.clone(),
            lengths: chosen.iter().map(|number| lengths[self.firsts[*number]] as u64).collect(),
        }
    }
}

/// Distinct inputs that one request asks the upstream for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    keys: Vec<Key>,
    shape: Shape,
    /// How many bytes of the request each takes.
    lengths: Vec<u64>,
}

impl Wanted {
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// How their answer is written.
    pub(crate) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The entry of each input, from `whole`, the answer to all of them.
    ///
    /// # Errors
    /// If an entry would be larger than `max_entry` bytes, or `whole` does not answer these inputs.
    pub(crate) fn entries(&self, whole: &Entry, max_entry: usize) -> Result<Vec<(Key, Entry)>, Reason> {
        let ask = Ask { inputs: self.keys.len(), takes_base64: true, ..Ask::default() };
        let answers = match Answers::read(&self.shape, &whole.body, &ask) {
            // Its places are those of the whole answer.
            Ok(answers) if whole.slots.is_empty() => answers,
            Ok(_) => return Err(Reason::UnreadBatch),
            Err(fault) => return Err(self.shape.reason(fault)),
        };
        let shares = self.shares(whole.usage.unwrap_or_default());
        let entry = |((place, key), usage): ((usize, &Key), Usage)| {
            let body = answers.alone(place);
            if body.len() > max_entry {
                return Err(Reason::TooLarge);
            }
            let usage = whole.usage.is_some().then_some(usage);
            let mut headers = whole.headers.clone();
            forget_body(&mut headers);
            Ok((key.clone(), Entry { body, usage, headers, ..whole.clone() }))
        };
        self.keys.iter().enumerate().zip(shares).map(entry).collect()
    }

    /// The tokens of each input, by its length: the upstream reports only the sum.
    fn shares(&self, usage: Usage) -> Vec<Usage> {
        let all: u64 = self.lengths.iter().sum::<u64>().max(1);
        let mut before = 0;
        let share = |length: &u64| {
            let until = before + length;
            let part = |tokens: u64| portion(tokens, until, all) - portion(tokens, before, all);
            let share = usage.map(part);
            before = until;
            share
        };
        self.lengths.iter().map(share).collect()
    }
}

/// The share of `tokens` that `part` is of `all`.
fn portion(tokens: u64, part: u64, all: u64) -> u64 {
    u64::try_from(u128::from(tokens) * u128::from(part) / u128::from(all)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        cache::route::kind::Kind,
        dialect::{Dialect, Division},
        json::Json,
    };

    fn batch(texts: &[&str]) -> Batch {
        let body = serde_json::json!({ "input": texts }).to_string();
        let api = Dialect::Embedding.batch_api().expect("an API");
        let json = Json::parse(body.as_bytes()).expect("JSON");
        let inputs = Inputs::find(Division::Api(api), body.as_bytes(), &json);
        let key = |text: &&str| Key::new("ns".into(), Kind::Embedding, blake3::hash(text.as_bytes()));
        Batch::new(inputs.expect("inputs"), texts.iter().map(key).collect())
    }

    #[test]
    fn each_distinct_input_is_known_once() {
        let batch = batch(&["b", "a", "b", "c", "a"]);
        assert_eq!(batch.keys().len(), 3);
        assert_eq!(batch.order(), [0, 1, 0, 2, 1]);
        let body = Bytes::from_static(br#"{"input":["b","a","b","c","a"]}"#);
        assert_eq!(batch.request(&body, &[0, 1, 2]), r#"{"input":["b","a","c"]}"#);
        assert_eq!(batch.request(&body, &[1]), r#"{"input":["a"]}"#);
        assert_eq!(batch.wanted(&[2, 1]).keys(), [batch.keys()[2].clone(), batch.keys()[1].clone()]);
    }

    #[test]
    fn an_entry_is_the_answer_to_its_input_alone() {
        let wanted = batch(&["aa", "b"]).wanted(&[0, 1]);
        let body = r#"{"data":[{"index":1,"embedding":[1]},{"index":0,"embedding":[0]}],"usage":{"total_tokens":7}}"#;
        let headers =
            ["etag", "x-some"].map(|name| (name.parse().expect("a name"), "1".parse().expect("a value")));
        let usage = Some(Usage { total: Some(7), ..Usage::default() });
        let whole =
            Entry { usage, ..Entry::new(StatusCode::OK, headers.into_iter().collect(), Bytes::from(body)) };
        let entries = wanted.entries(&whole, 1000).expect("entries");
        let shares: Vec<_> = entries.iter().map(|(_, entry)| (&entry.body[..], entry.usage)).collect();
        let usage = |total| Some(Usage { total: Some(total), ..Usage::default() });
        let [first, second] = [0, 1].map(|vector| {
            format!(r#"{{"data":[{{"index":0,"embedding":[{vector}]}}],"usage":{{"total_tokens":0}}}}"#)
        });
        assert_eq!(shares, [(first.as_bytes(), usage(4)), (second.as_bytes(), usage(3))]);
        assert!(entries.iter().all(|(_, entry)| entry.headers.len() == 1));
        assert_eq!(wanted.entries(&whole, 10).err(), Some(Reason::TooLarge));
        let other = Entry { body: Bytes::from_static(b"{}"), ..whole };
        assert_eq!(wanted.entries(&other, 1000).err(), Some(Reason::UnreadVectors));
    }

    proptest! {
        /// What the inputs took is what all of them took.
        #[test]
        fn shares_add_up(lengths in proptest::collection::vec(1..10_000_u64, 1..20), total: u64) {
            let shape = Shape::Api(Dialect::Embedding.batch_api().expect("an API"));
            let wanted = Wanted { keys: Vec::new(), shape, lengths };
            let usage = Usage { prompt: Some(total), total: Some(total), ..Usage::default() };
            let shares = wanted.shares(usage);
            prop_assert_eq!(shares.into_iter().reduce(Usage::plus), Some(usage));
        }
    }
}
