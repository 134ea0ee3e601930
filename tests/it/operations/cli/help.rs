//! What the binary says of itself: help, version, completions, the manual.

use std::process::Command;

use super::{Ended, command};
use crate::support::{Setup, Sidecache, run};

/// Runs `sidecache` with these arguments and nothing else.
fn bare(arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_sidecache")).args(arguments).output().expect("the binary");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { success: output.status.success(), output: text(output.stdout), complaint: text(output.stderr) }
}

/// The names of all commands, from the help.
fn commands() -> Vec<String> {
    let help = bare(&["--help"]).output;
    let (_, list) = help.split_once("Commands:\n").expect("a list");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    let names: Vec<_> = names.filter(|name| name != "help").collect();
    assert!(names.len() > 10 && names.iter().any(|name| name == "simulate"), "{names:?}");
    names
}

/// Whether a tool has nothing to say against `input`, in a file that its last argument names.
#[track_caller]
fn accepts(tool: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("input");
    std::fs::write(&path, input).expect("a file");
    let output = Command::new(tool)
        .args(arguments)
        .arg(&path)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() && complaint.is_empty() { Ok(()) } else { Err(complaint) }
}

#[test]
fn each_command_has_an_example() {
    for name in commands().iter().map(|name| vec![&**name]).chain([vec![]]) {
        for flag in ["--help", "-h"] {
            let help = bare(&[&name[..], &[flag]].concat());
            assert!(help.success, "{name:?}: {}", help.complaint);
            let (_, examples) = help
                .output
                .split_once("\nExamples:\n")
                .unwrap_or_else(|| panic!("{name:?}: {}", help.output));
            let of_it = ["sidecache"].iter().chain(&name).copied().collect::<Vec<_>>().join(" ") + " ";
            let mut lines = examples.lines().map(|line| format!("{} ", line.trim()));
            assert!(lines.any(|line| line.starts_with(&of_it)), "{name:?}: {examples}");
        }
    }
}

#[test]
fn the_version_may_name_a_commit() {
    let version = bare(&["--version"]).output;
    let plain = format!("sidecache {}", env!("CARGO_PKG_VERSION"));
    let rest = version.trim_end().strip_prefix(&plain).unwrap_or_else(|| panic!("{version}"));
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    let is_commit = commit.is_some_and(|commit| commit.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert!(rest.is_empty() || is_commit, "{version}");
    run(async {
        let sidecache = Sidecache::start("http://127.0.0.1:9").await;
        assert_eq!(sidecache.health().await["version"], env!("CARGO_PKG_VERSION"));
    });
}

#[test]
fn each_shell_gets_a_script_with_all_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = bare(&["completions", shell]);
        assert!(script.success, "{shell}: {}", script.complaint);
        for name in commands() {
            assert!(script.output.contains(&name), "{shell}: {name}");
        }
        assert!(script.output.contains("max-memory"), "{shell}");
        if shell == "bash" {
            assert_eq!(accepts("bash", &["-n"], &script.output), Ok(()));
        }
    }
    let other = command(&Setup::bare().arguments(&["completions", "abacus"]), "");
    assert!(!other.success && other.complaint.contains("bash"), "{}", other.complaint);
}

#[test]
fn each_command_has_a_manual_page() {
    let has_groff = Command::new("groff").arg("--version").output().is_ok();
    for name in commands().iter().map(Some).chain([None]) {
        let arguments: Vec<_> = ["man"].into_iter().chain(name.map(String::as_str)).collect();
        let page = bare(&arguments);
        assert!(page.success, "{name:?}: {}", page.complaint);
        let title = name.map_or_else(|| "sidecache".to_owned(), |name| format!("sidecache-{name}"));
        assert!(page.output.contains(&format!(".TH {title} 1 ")), "{name:?}: {}", page.output);
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"] {
            assert!(page.output.contains(&format!("\n.SH {heading}\n")), "{name:?}: {heading}");
        }
        // A line that begins with a point is a macro.
        let macros = page.output.lines().filter_map(|line| line.strip_prefix('.'));
        for of_page in macros.filter_map(|line| line.split(' ').next()) {
            assert!(
                ["TH", "SH", "PP", "TP", "IP", "RS", "RE", "br", "nf", "ie", "el"].contains(&of_page),
                "{name:?}: .{of_page}"
            );
        }
        if has_groff {
            assert_eq!(accepts("groff", &["-man", "-ww", "-z", "-Tutf8"], &page.output), Ok(()), "{name:?}");
        }
    }
    let whole = bare(&["man"]).output;
    for name in commands() {
        assert!(whole.contains(&format!("sidecache\\-{name}(1)")), "{name}: {whole}");
    }
    let ended = bare(&["man", "abacus"]);
    assert!(ended.one_complaint().contains("simulate"), "{}", ended.complaint);
}
