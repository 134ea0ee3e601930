//! The caches that are compared: sidecache, nginx and Varnish.

use std::path::Path;

use support::{
    http::{get, post},
    nginx,
    process::Listening,
    sidecache,
    upstream::Plan,
    varnish,
};

/// A running cache.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its process.
    pub(crate) process: Listening,
    by_get: bool,
}

/// Starts a target in a folder, in front of an upstream's port; `None` where it is not installed.
pub(crate) type Start = fn(&Path, u16) -> Option<Target>;

/// All of them; sidecache first.
pub(crate) const ALL: &[(&str, Start)] = &[("sidecache", sidecache), ("nginx", nginx), ("Varnish", varnish)];

impl Target {
    /// A request for an answer like `plan`; one mark, one key.
    pub(crate) fn request(&self, plan: &Plan) -> Vec<u8> {
        if self.by_get { get(&plan.path()) } else { question(plan) }
    }
}

/// The question for an answer like `plan`.
pub(crate) fn question(plan: &Plan) -> Vec<u8> {
    post("/v1/chat/completions", &plan.question("What does everybody ask?"))
}

fn sidecache(folder: &Path, upstream: u16) -> Option<Target> {
    let process = sidecache::start(folder, sidecache::Options::to(upstream));
    Some(Target { process, by_get: false })
}

fn nginx(folder: &Path, upstream: u16) -> Option<Target> {
    nginx::start(folder, upstream).map(|process| Target { process, by_get: false })
}

fn varnish(folder: &Path, upstream: u16) -> Option<Target> {
    varnish::start(folder, upstream).map(|process| Target { process, by_get: true })
}
