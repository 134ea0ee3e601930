//! The promise: a question in other words is answered from the store only where labels have shown that this is right often
//! enough, never across a guard, a partition or an invalidation, and no miss waits for it.

mod audit;
mod embedder;
mod judge;
mod refusals;
mod replicas;
mod restart;
mod seen;
mod served;
mod settings;
mod shadow;
mod sharing;
mod site;
mod step_back;
mod stored;
pub(crate) mod world;
mod wrong;

use self::world::{Mood, SERVING, World, chat, question};
