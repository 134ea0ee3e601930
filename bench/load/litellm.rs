//! LiteLLM's proxy with its answers in Redis, where it is installed.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use support::{
    process::{Listening, is_installed},
    sidecache::{Options, redis_url},
};

use crate::{
    Scale,
    comparison::Comparison,
    environment::{Environment, hits},
    hits::SHORT,
    numbered_request::NumberedRequest,
};

/// Names the program where it is not on the `PATH`.
const PROGRAM: &str = "LITELLM";

/// Each from a Redis of its own; sidecache as it comes, with its tier in front, and without that.
pub(crate) fn beside(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let named = std::env::var(PROGRAM).ok();
    let program = named.or_else(|| is_installed("litellm").then(|| "litellm".to_owned()))?;
    let (own, other) = (environment.redis()?, environment.redis()?);
    let url = &redis_url(own.port);
    let near = environment.sidecache(|options| Options { redis: Some(url), near_memory: "64MiB", ..options });
    let far = environment.sidecache(|options| Options { redis: Some(url), ..options });
    let litellm = start(&program, environment.folder(), environment.service.port(), other.port);
    let question = || NumberedRequest::json("", SHORT);
    let case = Comparison::new("a hit in Redis, beside LiteLLM's proxy")
        .with("sidecache, as it comes", hits(&near, question()))
        .with("LiteLLM", hits(&litellm, question()))
        .bounds(200.0, 400.0)
        .with("sidecache, no tier in front", hits(&far, question()));
    Some(case.keep(near).keep(far).keep(litellm).keep(own).keep(other))
}

fn start(program: &str, folder: &Path, upstream: u16, redis: u16) -> Listening {
    let settings = folder.join("litellm.yaml");
    fs::write(&settings, yaml(upstream, redis)).expect("its settings");
    // As its documentation advises: a process for each core.
    let workers = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    Listening::start("litellm", |port| {
        let mut command = Command::new(program);
        command.arg("--config").arg(&settings).args(["--host", "127.0.0.1"]);
        command.args(["--run_gunicorn", "--num_workers", &workers]);
        command.args(["--port", &port.to_string(), "--telemetry", "False"]);
        // It would ask the network for prices.
        command.current_dir(folder).env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("LITELLM_LOG", "ERROR");
        command.stderr(Stdio::null());
        command
    })
}

fn yaml(upstream: u16, redis: u16) -> String {
    format!(
        "model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: none
litellm_settings:
  cache: true
  cache_params:
    type: redis
    host: 127.0.0.1
    port: {redis}
general_settings:
  dangerously_permit_weak_or_unset_master_key: true
"
    )
}
