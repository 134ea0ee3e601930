//! What two answers must have in common to say the same: numbers, names, and whether they say no.

use std::collections::BTreeSet;

/// Words that turn what a sentence says.
const NO: [&str; 12] = [
    "no", "not", "never", "none", "nobody", "nothing", "neither", "nor", "cannot", "without", "unable",
    "nowhere",
];

/// Signs that make another number of a number.
const UNITS: [char; 4] = ['%', '$', '€', '£'];

/// Numbers that are written out. "One" is a pronoun more often.
const NUMBERS: [(&str, &str); 20] = [
    ("zero", "0"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("twenty", "20"),
    ("thirty", "30"),
    ("forty", "40"),
    ("fifty", "50"),
    ("sixty", "60"),
    ("ninety", "90"),
    ("hundred", "100"),
    ("thousand", "1000"),
];

/// The facts of a text, in an order of their own.
pub(super) fn facts(text: &str) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    let mut begins_sentence = true;
    let mut is_first = true;
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && !UNITS.contains(&c));
        if !bare.is_empty() {
            add(bare, begins_sentence, std::mem::take(&mut is_first), &mut facts);
        }
        // A mark of a list has no word in it, and its item begins like a sentence.
        begins_sentence = bare.is_empty() || word.ends_with(['.', '!', '?', ':', '…']);
    }
    facts
}

/// Adds what a word says, if it is a fact.
fn add(word: &str, begins_sentence: bool, is_first: bool, facts: &mut BTreeSet<String>) {
    facts.extend(word.chars().filter(|c| UNITS.contains(c)).map(String::from));
    let lower = word.to_lowercase().replace('’', "'");
    if word.contains(|c: char| c.is_numeric()) {
        // A comma among digits is there for people to read.
        facts.insert(lower.replace(|c| c == ',' || UNITS.contains(&c), ""));
    } else if let Some((_, number)) = NUMBERS.iter().find(|(name, _)| *name == lower) {
        facts.insert((*number).to_owned());
    } else if NO.contains(&&*lower) || lower.ends_with("n't") {
        facts.insert("no".to_owned());
    } else if is_first && lower == "yes" {
        facts.insert("yes".to_owned());
    } else if is_name(word, begins_sentence) {
        facts.insert(lower);
    }
}

/// A word with a capital where a sentence would have none, or with one behind its first letter.
fn is_name(word: &str, begins_sentence: bool) -> bool {
    let mut letters = word.chars();
    let has_capital = letters.next().is_some_and(char::is_uppercase);
    let has_inner = letters.any(char::is_uppercase);
    let is_i = word == "I" || word.starts_with("I'") || word.starts_with("I’");
    has_inner || (has_capital && !begins_sentence && !is_i)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_equal(one: &str, other: &str) -> bool {
        facts(one) == facts(other)
    }

    #[test]
    fn wording_is_no_fact() {
        for (one, other) in [
            ("You have 30 days to return it.", "Returns are possible within thirty days."),
            ("It costs $1,000.", "The price is $1000!"),
            ("It is 5% of that.", "Of that it is 5 %."),
            ("Ask Anna about it.", "You may ask anybody, Anna too."),
            ("You cannot do that.", "That isn't possible."),
            ("- Open the menu.\n- Choose Save.", "Open the menu, then choose Save."),
            ("I think so.", "So I think."),
            ("Da kann man nichts machen.", "Man kann da nichts machen."),
        ] {
            assert!(are_equal(one, other), "{:?} {:?}", facts(one), facts(other));
        }
    }

    #[test]
    fn numbers_names_and_no_are_facts() {
        for (one, other) in [
            ("It takes 3 days.", "It takes 30 days."),
            ("It takes three days.", "It takes four days."),
            ("Up to 5 %.", "Up to 5."),
            ("Version 1.2 has it.", "Version 1.20 has it."),
            ("Ask Anna.", "Ask Berta."),
            ("Use an API key.", "Use a key."),
            ("Use the iPhone.", "Use the phone."),
            ("You can do that.", "You can not do that."),
            ("You can do that.", "You can't do that."),
            ("You can do that.", "You can’t do that."),
            ("Yes, that is so.", "No, that is so."),
            ("Possible with a card.", "Possible without a card."),
        ] {
            assert!(!are_equal(one, other), "{one} {other} {:?}", facts(one));
        }
    }
}
