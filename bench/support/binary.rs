//! The program that is measured: Cargo builds it for the targets of its own package only, and not for benchmarks.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// The project's `Cargo.toml`.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");

/// The `sidecache` of these sources, which the first who asks builds: with the profile and in the target folder of the
/// benchmark, so that it is never an older one that is measured.
pub fn built() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(build);
    &BUILT
}

#[allow(clippy::print_stderr, reason = "else a build looks like a benchmark that hangs")]
fn build() -> PathBuf {
    let benchmark = env::current_exe().expect("the path of this program");
    // In `deps`, in the folder of the profile, in the target folder.
    let folder = benchmark.ancestors().nth(2).expect("the folder of a profile");
    let target = folder.parent().expect("a target folder");
    let name = folder.file_name().and_then(|name| name.to_str()).expect("the name of a profile");
    let profile = if name == "debug" { "dev" } else { name };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "--bin", "sidecache", "--profile", profile]);
    cargo.args(["--manifest-path", MANIFEST]).arg("--target-dir").arg(target);
    // What Cargo tells this program of its own package would have crates built once more that look at it.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(&*name);
        }
    }
    eprintln!("building the sidecache that is measured: {cargo:?}");
    let built = cargo.status();
    assert!(built.as_ref().is_ok_and(|status| status.success()), "{cargo:?} fails: {built:?}");
    let binary = folder.join("sidecache");
    assert!(binary.is_file(), "{cargo:?} has made no {}", binary.display());
    binary
}
