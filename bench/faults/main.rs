//! What faults cost callers: a Redis that fails in twenty ways, and a hundred times the callers that can be served.
//!
//! ```text
//! cargo bench -p sidecache-bench --bench faults                       # about three minutes
//! cargo bench -p sidecache-bench --bench faults -- --only load
//! ```

mod overload;
mod redis;
mod test_support;

use std::time::Duration;

use support::{arguments::Arguments, machine, upstream::Upstream};

/// The path of a question.
const CHAT: &str = "/v1/chat/completions";

/// How long each case is watched.
const WINDOW: Duration = Duration::from_secs(6);

/// The same in a run without `--bench`, which is a test's and only shows that this works.
const SMOKE: Duration = Duration::from_millis(300);

#[allow(clippy::print_stdout, reason = "the result")]
fn main() {
    let arguments = Arguments::read();
    let (window, faults) = if arguments.is_bench() { (WINDOW, usize::MAX) } else { (SMOKE, 3) };
    let only: Option<String> = arguments.value("--only");
    let runs = |case| only.as_deref().is_none_or(|only| only == case);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let upstream = Upstream::start();
    println!("faults: commit {}, {}, load {}", machine::commit(), machine::line(), machine::load());
    if runs("redis") {
        redis::run(folder.path(), upstream.port, window, faults);
    }
    if runs("load") {
        overload::run(folder.path(), upstream.port, window);
    }
}
