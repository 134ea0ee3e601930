//! A BERT-type sentence-transformer in this process, on threads of its own.
//!
//! `candle` with `tokenizers` does the same. They need 74 crates that are not here otherwise, one of them unmaintained, and
//! 104 s of CPU for a first build, where the four that this folder uses take 13.
//! A BERT that only encodes is a page of matrix products, which `ndarray` computes. On 20 texts the vectors of
//! all-MiniLM-L6-v2 have a cosine similarity of 1 - 1e-12 to those of the same computed by numpy in 64 bits, and for 4,000
//! texts in ten scripts the tokens are those of `tokenizers`.

mod bert;
mod files;
mod tensors;
#[cfg(test)]
mod tests;
mod word_piece;

use std::{
    fmt,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use ndarray::Array1;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::{bert::Bert, files::Folder, word_piece::WordPiece};
use super::{
    EmbedderError,
    calls::{CallError, MAX_CALLS},
};

/// The most threads. Each takes a core while it computes.
const MAX_THREADS: usize = 4;

/// A model's threads. They end once this is dropped.
#[derive(Debug)]
pub(super) struct Local {
    queue: SyncSender<Job>,
}

struct Job {
    text: String,
    reply: oneshot::Sender<Result<Vec<f32>, CallError>>,
}

/// A sentence-transformer: text, tokens, vectors of the tokens, one vector.
struct Model {
    tokenizer: WordPiece,
    bert: Bert,
    pooling: Pooling,
    max_tokens: usize,
}

/// What of the vectors of the tokens becomes the vector of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pooling {
    Mean,
    /// That of the first token.
    First,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

impl Local {
    /// Loads the model in `folder`, and begins its threads.
    ///
    /// # Errors
    /// What is wrong with the folder.
    pub(super) fn open(folder: &Path) -> Result<Self, EmbedderError> {
        let named = |reason: String| EmbedderError(format!("semantic.model_dir: {reason}"));
        let model = Arc::new(Model::load(folder).map_err(named)?);
        // All calls that may run, and the probe.
        let (queue, jobs) = sync_channel(MAX_CALLS + 1);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads() {
            let (model, jobs) = (Arc::clone(&model), Arc::clone(&jobs));
            let thread = thread::Builder::new().name(format!("embedder-{number}"));
            let begun = thread.spawn(move || work(&model, &jobs));
            begun.map_err(|error| named(format!("no thread for the model: {error}")))?;
        }
        Ok(Self { queue })
    }

    /// The vector of `text`.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn call(&self, text: &str) -> Result<Vec<f32>, CallError> {
        let (reply, vector) = oneshot::channel();
        let job = Job { text: text.to_owned(), reply };
        self.queue.try_send(job).map_err(|_| CallError::Busy)?;
        vector.await.unwrap_or_else(|_| Err(CallError::Failed("the model's thread has ended".to_owned())))
    }
}

/// Half of the cores: the others serve requests.
fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (cores / 2).clamp(1, MAX_THREADS)
}

/// Embeds texts until nobody asks any more.
fn work(model: &Model, jobs: &Mutex<Receiver<Job>>) {
    loop {
        // In a statement of its own: the lock ends with it.
        let next = jobs.lock().recv();
        let Ok(Job { text, reply }) = next else { return };
        // Whoever asked may have left.
        if !reply.is_closed() {
            let embedded = catch_unwind(AssertUnwindSafe(|| model.embed(&text)));
            let failed = |_| CallError::Failed("the model cannot embed a text".to_owned());
            // Whoever asked may leave at any time.
            let _ = reply.send(embedded.map_err(failed));
        }
    }
}

impl Model {
    /// # Errors
    /// What is wrong with the folder, and where.
    fn load(folder: &Path) -> Result<Self, String> {
        let files = Folder::read(folder)?;
        let tokenizer = WordPiece::parse(&files.tokenizer, files.config.vocab_size)
            .map_err(|reason| format!("{}: {reason}", folder.join("tokenizer.json").display()))?;
        let bert = Bert::load(&files.config, &files.weights)
            .map_err(|reason| format!("{}: {reason}", folder.join("model.safetensors").display()))?;
        Ok(Self { tokenizer, bert, pooling: files.pooling, max_tokens: files.max_tokens })
    }

    fn embed(&self, text: &str) -> Vec<f32> {
        let tokens = self.tokenizer.encode(text, self.max_tokens);
        let vectors = self.bert.forward(&tokens);
        let pooled: Array1<f32> = match self.pooling {
            // All tokens are the text's: there is one text, and nothing is padded.
            Pooling::Mean => vectors.sum_axis(ndarray::Axis(0)) / tokens.len() as f32,
            Pooling::First => vectors.row(0).to_owned(),
        };
        // To length one is what a vector is brought anyhow.
        pooled.to_vec()
    }
}
