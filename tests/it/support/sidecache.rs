//! The real binary, as a child of the test.

use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{Answer, Client, RedisServer, eventually, logs::Lines};

/// The settings of a sidecache to start.
pub(crate) struct Setup {
    config: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    dir: TempDir,
    /// The address of the admin listener; `None` if the configuration file has it.
    admin: Option<&'static str>,
    shell: Option<String>,
    /// Whether a flag names the configuration file.
    names_config: bool,
    /// Sockets that it is handed over, as systemd does it: at most two, with their names.
    inherited: Vec<(String, OwnedFd)>,
}

impl Setup {
    /// For the upstream at `url`.
    pub(crate) fn to(url: &str) -> Self {
        Self::bare().arguments(&["--upstream", url])
    }

    /// With nothing set but the addresses.
    pub(crate) fn bare() -> Self {
        Self {
            config: String::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            dir: tempfile::tempdir().expect("a folder"),
            admin: Some("off"),
            shell: None,
            names_config: true,
            inherited: Vec::new(),
        }
    }

    /// With these lines in its configuration file; the top of the file first, then tables.
    pub(crate) fn config(mut self, lines: &str) -> Self {
        self.config += lines;
        self.config += "\n";
        self
    }

    /// With further arguments.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// With an environment variable; otherwise the environment has only `PATH`.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With an admin listener.
    pub(crate) fn admin(mut self) -> Self {
        self.admin = Some("127.0.0.1:0");
        self
    }

    /// With an admin listener where its configuration file says.
    pub(crate) fn admin_of_file(mut self) -> Self {
        self.admin = None;
        self
    }

    /// Started by a shell, after these commands (`ulimit`, or a redirection by `exec`).
    pub(crate) fn after(mut self, commands: &str) -> Self {
        self.shell = Some(commands.to_owned());
        self
    }

    /// With a socket that is handed over under this name.
    pub(crate) fn inherits(mut self, name: &str, socket: impl Into<OwnedFd>) -> Self {
        self.inherited.push((name.to_owned(), socket.into()));
        self
    }

    /// Without a flag that names its configuration file, which is in its working folder.
    pub(crate) fn config_unnamed(mut self) -> Self {
        self.names_config = false;
        self
    }

    /// Its working folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let path = self.dir.path().join("sidecache.toml");
        std::fs::write(&path, &self.config).expect("a file");
        let handover = self.handover();
        let mut command = match self.shell.as_ref().or(handover.as_ref()) {
            None => Command::new(env!("CARGO_BIN_EXE_sidecache")),
            Some(commands) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{commands}\nexec \"$@\""), "sh"]);
                shell.arg(env!("CARGO_BIN_EXE_sidecache"));
                shell
            }
        };
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (index, (_, socket)) in self.inherited.iter().enumerate() {
            let socket = socket.try_clone().expect("another descriptor");
            match index {
                0 => command.stdin(socket),
                _ => command.stderr(socket),
            };
        }
        if self.names_config {
            command.arg("--config").arg(&path);
        }
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if let Some(address) = self.admin
            && !self.arguments.iter().any(|argument| argument == "--admin-listen")
        {
            command.args(["--admin-listen", address]);
        }
        command
    }

    /// The commands of a shell that moves the sockets to where systemd puts them.
    fn handover(&self) -> Option<String> {
        let names = self.inherited.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(":");
        let count = self.inherited.len();
        let moved = ["", "exec 3<&0 0</dev/null", "exec 3<&0 4<&2 0</dev/null 2>/dev/null"].get(count)?;
        (count > 0)
            .then(|| format!("{moved}\nexport LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names}"))
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn start(self) -> Sidecache {
        let mut child = self.command().spawn().expect("the binary");
        let log = Lines::collect(child.stdout.take().expect("its output"));
        let complaints = child.stderr.take().map(Lines::collect).unwrap_or_default();
        let mut sidecache = Sidecache { child, log, dir: self.dir, address: None, admin: None };
        let ready = eventually("ready", async || {
            let ended = sidecache.child.try_wait().expect("its state");
            assert!(ended.is_none(), "it ended with {ended:?}: {}", complaints.text());
            let is =
                |line: &Value| line["message"].as_str().is_some_and(|received| received.starts_with("ready"));
            sidecache.log.all().into_iter().find(is)
        })
        .await;
        // A socket file has none.
        let address = |name: &str| ready[name].as_str().and_then(|text| text.parse().ok());
        sidecache.address = address("listen");
        sidecache.admin = address("admin");
        sidecache
    }

    /// Starts one whose standard output is redirected, and waits until it accepts clients.
    pub(crate) async fn start_silent(self) -> Sidecache {
        let address = SocketAddr::from(([127, 0, 0, 1], RedisServer::free_port()));
        let setup = self.arguments(&["--listen", &address.to_string()]);
        let mut child = setup.command().spawn().expect("the binary");
        eventually("accepts clients", async || {
            let ended = child.try_wait().expect("its state");
            assert!(ended.is_none(), "it ended with {ended:?}");
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        Sidecache { child, log: Lines::default(), dir: setup.dir, address: Some(address), admin: None }
    }
}

/// A running sidecache; killed when dropped.
pub(crate) struct Sidecache {
    child: Child,
    /// What it logs on standard output.
    pub(crate) log: Lines,
    dir: TempDir,
    address: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Sidecache {
    /// For the upstream at `url`, with default settings.
    pub(crate) async fn start(url: &str) -> Self {
        Setup::to(url).start().await
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("it is ready")
    }

    /// Where operators connect.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("an admin listener")
    }

    /// An operator's client.
    pub(crate) fn operator(&self) -> Client {
        Client::new(self.admin())
    }

    /// Waits until all answers are written to Redis: responses do not wait for that, the list of entries
    /// does.
    pub(crate) async fn settled(&self) {
        let operator = self.operator();
        // Some servers of a cluster may be back later than others.
        let is_listed = async || (operator.get("/entries?limit=1").await.status == 200).then_some(());
        eventually("a list of entries", is_listed).await;
    }

    /// Sends a request with this id, in a task of its own.
    pub(crate) fn asking(&self, target: &'static str, id: &'static str, body: &Value) -> JoinHandle<Answer> {
        let (client, body) = (self.client(), body.clone());
        tokio::spawn(async move { client.post_with(target, &[("x-request-id", id)], &body).await })
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::from(self)
    }

    /// Its working folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces its configuration file and has it reload.
    pub(crate) fn reconfigure(&self, config: &str) {
        std::fs::write(self.dir().join("sidecache.toml"), config).expect("a file");
        self.hangup();
    }

    /// The health page.
    pub(crate) async fn health(&self) -> Value {
        self.client().get("/health").await.json()
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// The memory that it holds, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// How long each of its workers has run, in nanoseconds.
    pub(crate) fn worker_times(&self) -> Vec<u64> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let mut times: Vec<(String, u64)> = tasks
            .filter_map(|task| {
                let folder = task.ok()?.path();
                let name = std::fs::read_to_string(folder.join("comm")).ok()?;
                let times = std::fs::read_to_string(folder.join("schedstat")).ok()?;
                name.starts_with("worker-").then_some((name, times.split(' ').next()?.parse().ok()?))
            })
            .collect();
        times.sort();
        times.into_iter().map(|(_, time)| time).collect()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Asks it to end, as a terminal does.
    pub(crate) fn interrupt(&self) {
        self.signal("INT");
    }

    /// Has it reload.
    pub(crate) fn hangup(&self) {
        self.signal("HUP");
    }

    /// Ends it at once, and waits.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours to kill");
        self.child.wait().expect("it ends");
    }

    /// Asks it to end, and waits.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.ended().await
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("its end", async || self.child.try_wait().expect("its state")).await
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let done = Command::new("kill").arg(format!("-{name}")).arg(id).status();
        assert!(done.expect("the kill command").success(), "kill -{name}");
    }
}

impl Drop for Sidecache {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
