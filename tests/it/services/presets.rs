//! The files of the presets, and the command that shows them.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::Setup;

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/presets");
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("a text"))
    };
    let mut files: Vec<_> = fs::read_dir(folder).expect("presets").map(file).collect();
    files.sort();
    files
}

fn output(arguments: &[&str]) -> (bool, String, String) {
    let setup = Setup::bare();
    let output = setup.command().args(arguments).output().expect("an output");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_lists_and_prints_them() {
    let files = files();
    let (ok, list, _) = output(&["presets"]);
    assert!(ok);
    let listed: Vec<_> = list.lines().map(|line| line.split_whitespace().next().expect("a name")).collect();
    assert_eq!(listed, files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    for (name, text) in &files {
        assert_eq!(output(&["presets", name]), (true, text.clone(), String::new()));
    }
    let (ok, _, error) = output(&["presets", "lihgtrag"]);
    assert!(!ok && error.contains("did you mean `lightrag`?"), "{error}");
}

/// Each says at its top what it is about, and its routes have its name, so that no two have the same.
#[test]
fn each_says_what_it_is_about() {
    let mut names = BTreeSet::new();
    for (preset, text) in files() {
        let top: Vec<_> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(top.len() > 4 && top.len() < 40, "{preset}");
        assert!(top.iter().any(|line| line.contains("https://")), "{preset}: where its documentation is");
        let routes = text.lines().filter_map(|line| line.strip_prefix("name = \""));
        for name in routes.map(|rest| rest.trim_end_matches('"')) {
            assert!(name.starts_with(&format!("{preset}-")), "{preset}: {name}");
            assert!(names.insert(name.to_owned()), "{name} is there twice");
        }
    }
}

/// All of them together are one configuration without a fault, in the order of the settings.
#[test]
fn they_come_between_the_files_routes_and_the_built_in_ones() {
    let files = files();
    let mut arguments = vec!["check".to_owned(), "--route".to_owned(), "POST /mine".to_owned()];
    arguments.extend(files.iter().flat_map(|(name, _)| ["--preset".to_owned(), name.clone()]));
    let setup = Setup::to("http://127.0.0.1:9").config(
        "[[route]]\nname = \"lightrag-query\"\nmatch = \"POST /query\"\nkind = \"query\"\nttl = \"7s\"\n",
    );
    let output = setup.command().args(&arguments).output().expect("an output");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}"));
    assert!(at("POST /mine") < at("(file)"));
    assert!(at("(file)") < at("(preset agno)"));
    assert!(at("(preset vllm)") < at("(built in)"));
    // The file's route replaces the preset's of the same name.
    assert_eq!(text.matches("lightrag-query:").count(), 1, "{text}");
    assert!(text.contains("lightrag-query:  POST /query  query  7 s  (file)"), "{text}");
}
