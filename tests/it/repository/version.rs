//! `build.rs`: which commit a build names, in and outside a repository.

use std::{fs, path::Path, process::Command};

const VERSION: &str = "1.2.3";

/// The line about the version that the build script prints in `folder`.
#[track_caller]
fn version(script: &Path, folder: &Path, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(script);
    command.current_dir(folder).env_remove("SIDECACHE_COMMIT").env("CARGO_PKG_VERSION", VERSION);
    // No repository around the temporary folder counts.
    command.env("GIT_CEILING_DIRECTORIES", folder.parent().expect("a folder"));
    let output = command.envs(environment.iter().copied()).output().expect("the script");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut versions =
        text.lines().filter_map(|line| line.strip_prefix("cargo:rustc-env=SIDECACHE_VERSION="));
    let version = versions.next().unwrap_or_else(|| panic!("{text}")).to_owned();
    assert!(versions.next().is_none(), "{text}");
    version
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]);
    let output = command.args(arguments).current_dir(folder).output().expect("git");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[test]
fn a_build_names_its_commit_where_it_is_known() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("script");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&script).arg(source).status();
    assert!(compiled.expect("rustc").success());

    let outside = dir.path().join("outside");
    fs::create_dir(&outside).expect("a folder");
    assert_eq!(version(&script, &outside, &[]), VERSION);
    for (commit, expected) in [
        ("abc1234", "1.2.3 (abc1234)"),
        (" v2 ", "1.2.3 (v2)"),
        ("", VERSION),
        ("two words", VERSION),
        ("two\nlines", VERSION),
    ] {
        assert_eq!(version(&script, &outside, &[("SIDECACHE_COMMIT", commit)]), expected, "{commit:?}");
    }

    if Command::new("git").arg("--version").output().is_err() {
        return;
    }
    let inside = dir.path().join("inside");
    fs::create_dir_all(inside.join("vendor")).expect("a folder");
    git(&inside, &["init", "-q"]);
    assert_eq!(version(&script, &inside, &[]), VERSION, "without a commit");
    git(&inside, &["commit", "-q", "--allow-empty", "-m", "one"]);
    let named = format!("{VERSION} ({})", git(&inside, &["rev-parse", "--short=7", "HEAD"]));
    assert_eq!(version(&script, &inside, &[]), named);
    assert_eq!(version(&script, &inside, &[("PATH", "/nowhere")]), VERSION, "without git");
    assert_eq!(version(&script, &inside.join("vendor"), &[]), VERSION, "a folder of another repository");
    assert_eq!(version(&script, &inside, &[("SIDECACHE_COMMIT", "")]), VERSION);
}
