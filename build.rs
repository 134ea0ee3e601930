//! Tells the compiler what `sidecache --version` prints: the version, with the commit where that is known. The commit
//! alone is a label of a metric.
//!
//! `SIDECACHE_COMMIT` in the build's environment wins, for builds without a repository; if it is empty, no commit is
//! named. Without git, or outside a repository, there is the version alone.

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::Command,
};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "cargo:rerun-if-changed=build.rs")?;
    writeln!(out, "cargo:rerun-if-env-changed=SIDECACHE_COMMIT")?;
    let commit = match env::var("SIDECACHE_COMMIT") {
        Ok(commit) => Some(commit.trim().to_owned()),
        Err(_) if git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty()) => {
            // The log of HEAD grows with each commit and each checkout.
            for place in ["HEAD", "logs/HEAD"] {
                if let Some(path) =
                    git(&["rev-parse", "--git-path", place]).filter(|path| Path::new(path).exists())
                {
                    writeln!(out, "cargo:rerun-if-changed={path}")?;
                }
            }
            git(&["rev-parse", "--short=7", "HEAD"])
        }
        // The source is in a folder of another repository, or in none.
        Err(_) => None,
    };
    let is_plain =
        |commit: &String| !commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    match commit.filter(is_plain) {
        Some(commit) => {
            writeln!(out, "cargo:rustc-env=SIDECACHE_COMMIT={commit}")?;
            writeln!(out, "cargo:rustc-env=SIDECACHE_VERSION={version} ({commit})")
        }
        None => writeln!(out, "cargo:rustc-env=SIDECACHE_VERSION={version}"),
    }
}

/// What git prints, if it succeeds. A build script runs in the package's folder.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
