//! The documentation: links and names are right, and pages that must be short are short.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

const README: &str = include_str!("../../../README.md");
const GLOSSARY: &str = include_str!("../../../docs/GLOSSARY.md");
const RELIABILITY: &str = include_str!("../../../docs/RELIABILITY.md");
const SECURITY: &str = include_str!("../../../docs/SECURITY.md");

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of a kind below `folder`, without what a build or a package manager puts there.
fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder).expect("a folder") {
        let path = item.expect("an item").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "node_modules"].contains(&name) {
                found.extend(files(&path, kind));
            }
        } else if path.extension().is_some_and(|extension| extension == kind) {
            found.push(path);
        }
    }
    found
}

/// The lines of a page that are not code: code is fenced, or indented by four spaces after an empty line.
fn prose(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut is_fenced = false;
    let mut may_be_code = true;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            continue;
        }
        let is_code = is_fenced || (may_be_code && line.starts_with("    "));
        if !is_code {
            lines.push(line);
        }
        may_be_code = is_code || line.trim().is_empty();
    }
    lines
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for line in prose(text).into_iter().filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let numbered = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(numbered).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// The targets of a page's links, without those to other sites.
fn links(text: &str) -> Vec<String> {
    let text = prose(text).join("\n");
    let mut links = Vec::new();
    for paragraph in text.split("\n\n") {
        // Between backticks is code.
        let plain: String = paragraph.split('`').step_by(2).collect();
        let targets = plain.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        links.extend(targets.map(|(target, _)| target.to_owned()).filter(|target| !target.contains("://")));
    }
    links
}

/// What is wrong with a link on the page `from`.
fn fault(from: &Path, link: &str) -> Option<String> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { from.to_owned() } else { from.parent()?.join(file) };
    if !path.exists() {
        return Some(format!("{}: {link}: there is no such file", from.display()));
    }
    let anchor = anchor?;
    let is_there = anchors(&fs::read_to_string(&path).ok()?).contains(anchor);
    (!is_there).then(|| format!("{}: {link}: there is no such heading", from.display()))
}

#[test]
fn every_link_leads_to_an_existing_file_and_heading() {
    let pages = files(root(), "md");
    let mut count = 0;
    let mut faults = Vec::new();
    for page in &pages {
        let links = links(&fs::read_to_string(page).expect("a page"));
        count += links.len();
        faults.extend(links.iter().filter_map(|link| fault(page, link)));
    }
    assert!(pages.len() >= 10 && count > 150, "{} pages, {count} links", pages.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn links_and_headings_are_found() {
    let page = "# A `b`: c-d, e\n\n    [no](code)\n\n```\n[no](code)\n```\n\n[two\nlines](x.md#y) `[no](code)` [`c`](#z)\n\n\
                ## Twice\n\n## Twice\n\n[out](https://example.com/#a)";
    assert_eq!(links(page), ["x.md#y", "#z"]);
    assert_eq!(anchors(page), HashSet::from(["a-b-c-d-e", "twice", "twice-1"].map(str::to_owned)));
    let page = root().join("README.md");
    for good in ["#what-hits", "LICENSE", "docs", "docs/CACHING.md#the-key"] {
        assert_eq!(fault(&page, good), None);
    }
    for bad in ["#what-does-not", "docs/NOTHING.md", "docs/CACHING.md#nothing"] {
        assert!(fault(&page, bad).is_some(), "{bad}");
    }
}

/// The Rust files that a text names, as `proxy/mod.rs`, between backticks or brackets, in lower case.
fn named_sources(text: &str) -> Vec<&str> {
    let is_name = |word: &&str| {
        word.ends_with(".rs")
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || b"_/.0123456789".contains(&byte))
    };
    text.split(['`', '(', ')']).filter(is_name).filter(|word| word.len() > ".rs".len()).collect()
}

#[test]
fn every_source_named_in_a_comment_or_page_exists() {
    let sources = files(root(), "rs");
    let mut count = 0;
    let mut faults = Vec::new();
    for file in [sources.clone(), files(root(), "md")].concat() {
        let text = fs::read_to_string(&file).expect("a file");
        for name in named_sources(&text) {
            count += 1;
            if !sources.iter().any(|source| source.ends_with(name)) {
                faults.push(format!("{}: {name}: there is no such file", file.display()));
            }
        }
    }
    assert!(count > 30, "{count} names");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn names_of_sources_are_found() {
    let text = "in `memory/shard.rs` (see limits.rs), not `NAME.rs`, `.rs` or a.rs";
    assert_eq!(named_sources(text), ["memory/shard.rs"]);
    assert_eq!(named_sources("→ a line (line.rs)"), ["line.rs"]);
}

/// The path of the module in a file, without `mod` and `tests`: `cache::policy` for `src/cache/policy.rs`.
fn module_of(file: &Path) -> String {
    let path = file.strip_prefix(root()).expect("a file of the repository").with_extension("");
    let names = path.iter().filter_map(|name| name.to_str());
    names.filter(|name| !["mod", "tests"].contains(name)).collect::<Vec<_>>().join("::")
}

/// Whether a page's `path` (`a::b::name`, or `a::b::*` for all tests of a module, or a module) names
/// something in `code`.
fn names_a_test(path: &str, code: &[(String, String)]) -> bool {
    let (module, name) = path.rsplit_once("::").expect("a path");
    let module = module.trim_end_matches("::tests");
    let is_in = |file: &str, module: &str| format!("::{file}").ends_with(&format!("::{module}"));
    code.iter().any(|(file, text)| {
        is_in(file, path) || is_in(file, module) && (name == "*" || text.contains(&format!("fn {name}(")))
    })
}

#[test]
fn every_test_named_in_a_page_exists() {
    let folders = ["src", "tests"].map(|folder| files(&root().join(folder), "rs"));
    let code: Vec<_> = folders
        .concat()
        .iter()
        .map(|path| (module_of(path), fs::read_to_string(path).expect("a file")))
        .collect();
    let names = [SECURITY, RELIABILITY].into_iter().flat_map(|page| page.split('`').skip(1).step_by(2));
    let is_path = |name: &&str| {
        name.contains("::")
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_:*0123456789".contains(&byte))
    };
    let names: Vec<_> = names.filter(is_path).collect();
    assert!(names.len() > 80, "{} names", names.len());
    let gone: Vec<_> = names.iter().filter(|name| !names_a_test(name, &code)).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn the_readme_is_short_and_names_the_quickstart_and_the_tests() {
    assert!(README.lines().count() <= 150, "{} lines", README.lines().count());
    for command in ["    cargo run --example quickstart\n", "    bash tests/run.sh\n"] {
        assert!(README.contains(command), "{command}");
    }
}

#[test]
fn the_glossary_has_a_line_for_each_of_sixty_words_at_most() {
    let entries = GLOSSARY.lines().skip_while(|line| !line.starts_with("- "));
    let words: Vec<_> = entries
        .map(|line| {
            let entry = line.strip_prefix("- **").and_then(|rest| rest.split_once("**: "));
            entry.filter(|(_, meaning)| meaning.ends_with('.')).unwrap_or_else(|| panic!("{line}")).0
        })
        .collect();
    assert!(words.len() <= 60, "{} words", words.len());
    assert!(words.is_sorted_by_key(|word| word.to_lowercase()), "{words:?}");
}
