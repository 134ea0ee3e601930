//! What is asked: sidecache, and the caches that it stands beside.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{
    http::{get, post},
    nginx,
    process::{Listening, is_installed},
    sidecache,
    upstream::Plan,
};

/// A cache that runs.
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
    let options = sidecache::Options { upstream, redis: None, log_level: "ERROR" };
    Some(Target { process: sidecache::start(folder, options), by_get: false })
}

fn nginx(folder: &Path, upstream: u16) -> Option<Target> {
    nginx::start(folder, upstream).map(|process| Target { process, by_get: false })
}

fn varnish(folder: &Path, upstream: u16) -> Option<Target> {
    is_installed("varnishd").then(|| {
        let process = Listening::start("varnishd", |port| {
            let home = folder.join(format!("varnish-{port}"));
            fs::create_dir_all(&home).expect("a folder of its own");
            let settings = home.join("default.vcl");
            fs::write(&settings, vcl(upstream)).expect("its settings");
            let mut command = Command::new("varnishd");
            command.args(["-F", "-j", "none", "-s", "malloc,256m", "-a", &format!("127.0.0.1:{port}")]);
            // It tells there what it does.
            command.stderr(Stdio::null());
            command.arg("-n").arg(&home).arg("-f").arg(settings);
            command
        });
        Target { process, by_get: true }
    })
}

fn vcl(upstream: u16) -> String {
    format!("vcl 4.1;\nbackend default {{ .host = \"127.0.0.1\"; .port = \"{upstream}\"; }}\n")
}
