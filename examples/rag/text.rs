//! What counts as a word, a token, a sentence and a passage. Pure functions.

/// Words that questions are made of and that say nothing about their subject.
const STOP_WORDS: &[&str] = &[
    "a", "about", "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "have",
    "how", "i", "if", "in", "is", "it", "of", "on", "or", "that", "the", "there", "this", "to", "was",
    "what", "when", "where", "which", "who", "why", "will", "with", "you",
];

/// The words of a text: runs of letters and digits, in lower case.
pub(super) fn tokenize(text: &str) -> Vec<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The words of a question that are worth searching for, each once, in their order.
pub(super) fn search_terms(question: &str) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    for word in tokenize(question) {
        if !STOP_WORDS.contains(&word.as_str()) && !terms.contains(&word) {
            terms.push(word);
        }
    }
    terms
}

/// How many tokens a text costs. A real model's tokenizer would count finer; white space is enough to have numbers
/// that grow with the text.
pub(super) fn count_tokens(text: &str) -> usize {
    text.split_whitespace().count()
}

/// The first tokens of a text, for `max_tokens`.
pub(super) fn truncate_tokens(text: &str, max: usize) -> String {
    text.split_whitespace().take(max).collect::<Vec<_>>().join(" ")
}

/// A text in pieces of a few words each, as a model would send it. Joined, they are the text again.
pub(super) fn word_groups(text: &str) -> Vec<String> {
    const WORDS: usize = 3;
    text.split_inclusive(' ').collect::<Vec<_>>().chunks(WORDS).map(|words| words.concat()).collect()
}

/// A title as an identifier: `Running it!` becomes `running-it`.
pub(super) fn slug(title: &str) -> String {
    tokenize(title).join("-")
}

/// The text of a document's first `# ` heading.
pub(super) fn title(markdown: &str) -> Option<&str> {
    markdown.lines().find_map(|line| line.strip_prefix("# ")).map(str::trim)
}

/// The heading that a passage begins with, if it does.
pub(super) fn heading(passage: &str) -> &str {
    passage.lines().next().filter(|line| line.starts_with('#')).unwrap_or_default()
}

/// A Markdown document in passages: what comes before the first `## ` heading, then one for each of these.
pub(super) fn passages(markdown: &str) -> Vec<String> {
    let mut passages = vec![String::new()];
    let mut in_code = false;
    for line in markdown.lines() {
        if is_fence(line) {
            in_code = !in_code;
        }
        // In a code block, `## ` is some program's comment.
        if !in_code && line.starts_with("## ") {
            passages.push(String::new());
        }
        if let Some(passage) = passages.last_mut() {
            passage.push_str(line);
            passage.push('\n');
        }
    }
    passages.iter().map(|passage| passage.trim().to_owned()).filter(|passage| !passage.is_empty()).collect()
}

/// The sentences of a passage, fit to be quoted: without headings and code blocks, list items and table rows each on
/// their own, in one line each.
pub(super) fn sentences(passage: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut in_code = false;
    for line in passage.lines() {
        let fence = is_fence(line);
        in_code ^= fence;
        // Indented by four and not going on with anything: the other way to write code.
        let indented = line.starts_with("    ") && blocks.last().is_some_and(String::is_empty);
        let line = line.trim();
        if fence || in_code || indented || line.is_empty() || line.starts_with('#') {
            blocks.push(String::new());
            continue;
        }
        let is_row = line.starts_with('|');
        if is_row || line.starts_with("- ") || line.starts_with("* ") {
            blocks.push(String::new());
        }
        let plain =
            if is_row { table_row(line) } else { line.trim_start_matches(['-', '*', ' ']).to_owned() };
        if let Some(block) = blocks.last_mut() {
            block.push(' ');
            block.push_str(&plain.replace('`', "").replace("**", ""));
        }
    }
    blocks.iter().flat_map(|block| split_sentences(block)).collect()
}

fn is_fence(line: &str) -> bool {
    line.trim_start().starts_with("```")
}

/// `| a | b |` as `a, b`; the rule below a table's head has no words, and disappears.
fn table_row(line: &str) -> String {
    let cells = line.split('|').map(str::trim).filter(|cell| cell.contains(char::is_alphanumeric));
    cells.collect::<Vec<_>>().join(", ")
}

/// Splits after `.`, `?`, `!` before white space, unless a small letter follows: `e.g. this` is one sentence.
fn split_sentences(block: &str) -> Vec<String> {
    let mut sentences = vec![Vec::new()];
    let mut words = block.split_whitespace().peekable();
    while let Some(word) = words.next() {
        if let Some(sentence) = sentences.last_mut() {
            sentence.push(word);
        }
        let next_is_small = words.peek().is_some_and(|next| next.starts_with(char::is_lowercase));
        if word.ends_with(['.', '?', '!']) && !next_is_small {
            sentences.push(Vec::new());
        }
    }
    sentences.iter().filter(|words| !words.is_empty()).map(|words| full_stop(words.join(" "))).collect()
}

/// List items and table rows often have none, and would run into what is quoted after them.
fn full_stop(mut sentence: String) -> String {
    if sentence.ends_with(char::is_alphanumeric) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_letters_and_digits() {
        assert_eq!(tokenize("CACHE_QUERY_TTL=1800, Größe"), ["cache", "query", "ttl", "1800", "größe"]);
        assert_eq!(search_terms("What is the TTL of a query's TTL?"), ["ttl", "query", "s"]);
    }

    #[test]
    fn pieces_make_the_text_again() {
        let text = "one two three four five";
        assert_eq!(word_groups(text), ["one two three ", "four five"]);
        assert_eq!(word_groups(text).concat(), text);
        assert_eq!(truncate_tokens(text, 2), "one two");
    }

    #[test]
    fn headings_divide_passages_but_comments_in_code_do_not() {
        let markdown = "# Title\nIntro.\n## One\n```\n## no heading\n```\n## Two\nText.\n";
        let passages = passages(markdown);
        assert_eq!(passages.len(), 3);
        assert_eq!(passages[2], "## Two\nText.");
        assert_eq!(title(markdown), Some("Title"));
    }

    #[test]
    fn sentences_leave_the_markup_behind() {
        let passage = "## Head\nIt is `small`, e.g. like\nthis. Next!\n- An item\n\n| a | b |\n| --- | --- |\n```\ncode\n```\n\n    more code\n";
        assert_eq!(sentences(passage), ["It is small, e.g. like this.", "Next!", "An item.", "a, b."]);
    }
}
