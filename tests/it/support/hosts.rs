//! A name whose addresses a test can change for its sidecache.

use std::{fs, net::IpAddr, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::Setup;

/// The name.
pub(crate) const MOVING: &str = "moving.test";

/// The addresses of [`MOVING`].
#[derive(Debug)]
pub(crate) struct Hosts(TempDir);

impl Hosts {
    pub(crate) fn new() -> Self {
        let hosts = Self(tempfile::tempdir().expect("a temporary folder"));
        let source = hosts.file("hosts.c");
        fs::write(&source, include_str!("hosts.c")).expect("a file");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(hosts.file("hosts.so")).arg(source).arg("-ldl");
        assert!(compiler.status().expect("cc").success(), "it compiles");
        hosts
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// From now on the name has these addresses.
    pub(crate) fn set(&self, addresses: &[IpAddr]) {
        let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        // In one step, since it may be read at any moment.
        fs::write(self.file("new"), lines).expect("a file");
        fs::rename(self.file("new"), self.file("addresses")).expect("a file");
    }

    /// `setup` with this name.
    pub(crate) fn rule(&self, setup: Setup) -> Setup {
        let text = |name: &str| self.file(name).to_str().expect("UTF-8").to_owned();
        setup
            .env("LD_PRELOAD", &text("hosts.so"))
            .env("HOSTS_FILE", &text("addresses"))
            .env("HOSTS_NAME", MOVING)
    }
}
