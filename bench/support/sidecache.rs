//! The real binary, as a child.

use std::{fs, path::Path, process::Command};

use super::{binary, process::Listening};

/// Room for a crowd, and time for all of it to connect before the first asks.
const SETTINGS: &str = "[limits]\nmax_connections = 12000\nheader_timeout = \"120s\"\n";

/// How one is started.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The program.
    pub binary: &'a Path,
    /// The upstream's port.
    pub upstream: u16,
    /// The URL of Redis, where that is the store.
    pub redis: Option<&'a str>,
    /// What the tier in front of Redis may hold.
    pub near_memory: &'a str,
    /// What the in-process store may hold.
    pub max_memory: &'a str,
    /// The lowest level that is logged; into a file.
    pub log_level: &'a str,
    /// The port of the admin listener, where there is to be one.
    pub admin: Option<u16>,
}

impl Options<'_> {
    /// One with the in-process store in front of `upstream`, which logs errors.
    pub fn to(upstream: u16) -> Self {
        Self {
            binary: binary::built(),
            upstream,
            redis: None,
            near_memory: "0",
            max_memory: "256MiB",
            log_level: "ERROR",
            admin: None,
        }
    }
}

/// The URL of the Redis on this port.
pub fn redis_url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// Starts one that works in `folder` and listens.
pub fn start(folder: &Path, options: Options<'_>) -> Listening {
    Listening::start("sidecache", |port| command(folder, port, options))
}

/// What starts one that listens on `port`.
pub fn command(folder: &Path, port: u16, options: Options<'_>) -> Command {
    let home = folder.join(format!("sidecache-{port}"));
    fs::create_dir_all(&home).expect("a folder of its own");
    fs::write(home.join("sidecache.toml"), SETTINGS).expect("its settings");
    let mut command = Command::new(options.binary);
    command.current_dir(&home).env_clear();
    let admin = options.admin.map_or("off".to_owned(), |port| format!("127.0.0.1:{port}"));
    command.env("ADMIN_LISTEN", admin).env("CACHE_NEAR_MEMORY", options.near_memory);
    command.args(["--config", "sidecache.toml", "--log-file", "sidecache.log"]);
    command.args(["--max-memory", options.max_memory, "--log-level", options.log_level]);
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--upstream", &format!("http://127.0.0.1:{}", options.upstream)]);
    if let Some(redis) = options.redis {
        command.args(["--redis", redis]);
    }
    command
}
