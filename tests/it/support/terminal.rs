//! A terminal of 80 columns and 24 lines: a shell in tmux.

use std::process::{Command, Output};

use tempfile::TempDir;

use super::{Setup, eventually};

pub(crate) const WIDTH: usize = 80;
pub(crate) const HEIGHT: usize = 24;

/// A prompt that no command prints.
const PROMPT: &str = "at your service>";

/// The terminal; its shell and what runs there end when it is dropped.
pub(crate) struct Terminal {
    /// Where its own tmux listens.
    dir: TempDir,
}

impl Terminal {
    /// Opens it, and waits until its shell is ready.
    pub(crate) async fn open() -> Self {
        let terminal = Self { dir: tempfile::tempdir().expect("a folder") };
        let (width, height) = (WIDTH.to_string(), HEIGHT.to_string());
        let shell = format!("env -u ENV PS1='{PROMPT} ' sh");
        terminal.tmux(&["new-session", "-d", "-x", &width, "-y", &height, &shell]);
        terminal.shows(PROMPT).await;
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let socket = self.dir.path().join("tmux");
        let mut command = Command::new("tmux");
        command.arg("-S").arg(socket).args(["-u", "-f", "/dev/null"]).args(arguments);
        let output = command.env_remove("TMUX").output().expect("tmux");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Types a text, as it is.
    pub(crate) fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Presses a key, by the name that tmux has for it.
    pub(crate) fn presses(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Has the shell run a command of sidecache, on an empty screen.
    pub(crate) fn runs(&self, setup: &Setup) {
        let command = setup.command();
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let quoted = words.map(|word| format!("'{}'", word.to_str().expect("UTF-8")));
        let path = self.dir.path().join("run");
        let line = quoted.collect::<Vec<_>>().join(" ");
        std::fs::write(&path, format!("clear\n{line}\n")).expect("a file");
        // What is on the screen is of commands before, and goes at once.
        self.tmux(&["send-keys", "-R"]);
        self.types(&format!(". {}", path.display()));
        self.presses("Enter");
    }

    /// What is on the screen now.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8(self.tmux(&["capture-pane", "-p"]).stdout).expect("UTF-8")
    }

    /// Waits until the screen shows this.
    pub(crate) async fn shows(&self, part: &str) -> String {
        let look = async || Some(self.screen()).filter(|screen| screen.contains(part));
        eventually(format!("{part}; the screen:\n{}", self.screen()), look).await
    }

    /// Waits until the shell is ready for the next command, and does what it is told.
    pub(crate) async fn is_back(&self) {
        self.shows(PROMPT).await;
        self.types("echo you typed $((6 * 7))");
        self.presses("Enter");
        self.shows("\nyou typed 42").await;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let socket = self.dir.path().join("tmux");
        // It may be gone already.
        let _ = Command::new("tmux").arg("-S").arg(socket).arg("kill-server").output();
    }
}
