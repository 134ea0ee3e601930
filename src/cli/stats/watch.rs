//! `sidecache stats --watch`: the figures again and again.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use super::{Arguments, ask, show};
use crate::{cli::Exit, config::Config};

/// Shows the figures each `pause`, until nobody reads them.
pub(super) async fn run(config: &Config, arguments: &Arguments, pause: Duration) -> Exit {
    let is_terminal = io::stdout().is_terminal();
    let mut is_first = true;
    loop {
        let text = match ask(config, arguments).await {
            Ok(section) if arguments.json => format!("{section}\n"),
            Ok(section) => show(&section),
            // A wrong address or token is no reason to wait.
            Err(error) if is_first => return Exit::failure(error),
            Err(error) => format!("{error}\n"),
        };
        let text = match is_terminal {
            true => repainted(&text),
            false if is_first || arguments.json => text,
            false => format!("\n{text}"),
        };
        let mut out = io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Exit::success(String::new());
        }
        drop(out);
        is_first = false;
        tokio::time::sleep(pause).await;
    }
}

/// A text that takes the place of the one before it: from the top of the screen, with the rest of each line and what is
/// below erased.
fn repainted(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repaint_leaves_nothing_of_before() {
        assert_eq!(repainted("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
