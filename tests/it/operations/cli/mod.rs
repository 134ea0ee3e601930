//! The commands besides `serve` and `check`, run as child processes.

mod entries;
mod explain;
mod health;
mod help;
mod purge;
mod reload;
mod simulate;
mod stats;
mod tail;
mod terminal;
mod warm;

use std::{
    io::Write,
    process::{Output, Stdio},
    thread,
};

use serde_json::Value;

use crate::support::Setup;

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) output: String,
    pub(crate) complaint: String,
}

impl Ended {
    /// What it printed, as JSON; it must have succeeded.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert!(self.success, "{}{}", self.output, self.complaint);
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {}", self.output))
    }

    /// Its error message, which must be one line.
    #[track_caller]
    pub(crate) fn one_complaint(&self) -> &str {
        let complaint = self.complaint.trim_end();
        assert!(!self.success && complaint.lines().count() == 1, "{}{complaint}", self.output);
        complaint
    }
}

/// Runs a command to its end, with `input` as its standard input.
pub(crate) fn command(setup: &Setup, input: &str) -> Ended {
    let mut child = setup.command().stdin(Stdio::piped()).spawn().expect("the binary");
    let mut stdin = child.stdin.take().expect("its input");
    let input = input.to_owned();
    // A command that reads nothing may be gone before it is written.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let Output { status, stdout, stderr } = child.wait_with_output().expect("its end");
    writer.join().expect("the writer ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { success: status.success(), output: text(stdout), complaint: text(stderr) }
}

/// The key of a `POST` by `explain`.
#[track_caller]
pub(crate) fn explain_key(path: &str, body: &Value) -> String {
    let setup = Setup::bare().arguments(&["explain", "--path", path, "--json"]);
    let received = command(&setup, &body.to_string()).json();
    received["key"].as_str().expect("a key").to_owned()
}

#[test]
fn a_wrong_command_line_is_reported_with_exit_code_2() {
    for (arguments, place, mend) in [
        (&["stats", "--admin", "foo"][..], "--admin", "did you mean http://foo?"),
        (&["purge", "--all", "--admin", "127.0.0.1:8081"], "--admin", "did you mean http://127.0.0.1:8081"),
        (&["warm", "requests.jsonl", "--proxy", "foo"], "--proxy", "did you mean http://foo?"),
        (&["purge", "--kind", "quer"], "--kind", "query"),
    ] {
        let ended = Setup::bare().arguments(arguments).command().output().expect("it runs");
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(place) && complaint.contains(mend), "{complaint}");
    }
}
