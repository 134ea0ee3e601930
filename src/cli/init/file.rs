//! The text of the configuration that `init` writes. Pure.

use super::{guess::Guess, openapi::Operation};

/// What is known of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// A preset is for it.
    Known { preset: &'static str, why: String },
    /// Its description says what it does: its title, and the operations that are passed through.
    Described { title: String, guesses: Vec<Guess>, others: Vec<Operation> },
    /// Nothing.
    Unknown,
}

/// The file for `service` behind `upstream`.
pub(super) fn text(upstream: &str, service: &Service) -> String {
    let mut text = String::new();
    match service {
        Service::Known { preset, why } => {
            comment(&mut text, &format!("{why}. `sidecache presets {preset}` prints its routes."));
            text += &format!("presets = [{preset:?}]\n\n");
        }
        Service::Described { title, .. } => {
            let named = if title.is_empty() { String::new() } else { format!(" of {title:?}") };
            comment(
                &mut text,
                &format!(
                    "Made from the description{named}. Look at each route: what is commented out is a guess. X-Cache and Cache-Status in an \
                     answer say why it was not a hit, and this shows what becomes of a request:"
                ),
            );
            text += "#     echo '{...}' | sidecache explain --path /some/path\n\n";
        }
        Service::Unknown => {
            comment(
                &mut text,
                "The service describes itself nowhere, and no preset is for it. Its answers in the shapes of OpenAI, Anthropic and \
                 Ollama are cached already. For another path, name it below, or try it first:",
            );
            text += &format!("#     sidecache --upstream {upstream} --route \"POST /chat\"\n");
            text.push('\n');
        }
    }
    text += &format!("[upstream]\nurl = {upstream:?}\n");
    match service {
        Service::Known { .. } => {}
        Service::Described { guesses, others, .. } => {
            guesses.iter().for_each(|guess| write_guess(&mut text, guess));
            write_others(&mut text, others);
        }
        Service::Unknown => {
            text += "\n#[[route]]\n#match = \"POST /chat\"\n#kind = \"query\"\n# Where the text of the question is.\n#text = [\"/message\"]\n";
        }
    }
    text
}

/// Adds a comment, in lines of at most 110 characters.
fn comment(text: &mut String, words: &str) {
    const WIDTH: usize = 110;
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

fn write_guess(text: &mut String, guess: &Guess) {
    text.push('\n');
    let doubt = if guess.is_sure { "" } else { "A guess, commented out: " };
    comment(text, &format!("{doubt}{}.", guess.why));
    for hint in &guess.hints {
        comment(text, hint);
    }
    let mark = if guess.is_sure { "" } else { "#" };
    *text += &format!("{mark}[[route]]\n{mark}match = {:?}\n", guess.pattern);
    for (key, value) in &guess.keys {
        *text += &format!("{mark}{key} = {value}\n");
    }
}

fn write_others(text: &mut String, others: &[Operation]) {
    if others.is_empty() {
        return;
    }
    text.push('\n');
    comment(text, "Passed through, since nothing says that they ask something:");
    for Operation { method, path, .. } in others {
        *text += &format!("#   {method} {path}\n");
    }
}
