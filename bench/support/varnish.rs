//! Varnish, if it is installed.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::process::{Listening, is_installed};

/// Starts one in front of `upstream` that works in `folder` and keeps in memory what is asked by `GET`.
pub fn start(folder: &Path, upstream: u16) -> Option<Listening> {
    is_installed("varnishd").then(|| {
        Listening::start("varnishd", |port| {
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
        })
    })
}

fn vcl(upstream: u16) -> String {
    format!("vcl 4.1;\nbackend default {{ .host = \"127.0.0.1\"; .port = \"{upstream}\"; }}\n")
}
