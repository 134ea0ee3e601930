//! The terminal: taken for the time of a run, and given back however that ends.

use std::{io, thread};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use tokio::sync::mpsc::{Receiver, channel};

/// What the user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Quit,
    /// Something after which to draw again, such as another size.
    Other,
}

/// The terminal, in its own mode until this is dropped. A panic gives it back too.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) terminal: DefaultTerminal,
    pub(super) inputs: Receiver<Input>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        let (sender, inputs) = channel(16);
        // It waits for keys until the process ends.
        thread::spawn(move || {
            while let Ok(event) = event::read() {
                if sender.blocking_send(input(&event)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { terminal, inputs })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A panic has given it back before its message: to do it again would put the cursor above that.
        if !thread::panicking() {
            ratatui::restore();
        }
    }
}

fn input(event: &Event) -> Input {
    let Event::Key(key) = event else { return Input::Other };
    let is_control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let quits = matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc) || is_control_c;
    if quits && key.kind != KeyEventKind::Release { Input::Quit } else { Input::Other }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn q_and_control_c_quit() {
        let key = |code, modifiers| input(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Input::Quit);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Input::Quit);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Input::Other);
        assert_eq!(input(&Event::Resize(40, 10)), Input::Other);
    }
}
