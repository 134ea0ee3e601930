use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const POLARITY: &str = include_str!("../../../../tests/data/polarity.tsv");
const PARAPHRASES: &str = include_str!("../../../../tests/data/paraphrases.tsv");
const PAGE: &str = include_str!("../../../../docs/MEANING.md");

fn refused_by(one: &str, other: &str) -> Option<Guard> {
    let (one, other) = (Signature::new(one), Signature::new(other));
    let guard = one.conflict(&other);
    assert_eq!(guard, other.conflict(&one), "it does not matter which text comes first");
    guard
}

fn fields(line: &str) -> Vec<&str> {
    line.split('\t').collect()
}

#[test]
fn no_near_identical_texts_that_differ_in_meaning_are_neighbours() {
    let mut kinds = BTreeSet::new();
    let mut pairs = BTreeSet::new();
    let mut left = Vec::new();
    for line in POLARITY.lines() {
        let [kind, one, other] = fields(line)[..] else { panic!("{line}") };
        assert!(Guard::ALL.iter().any(|guard| guard.name() == kind), "{line}");
        assert!(one != other && pairs.insert((one, other)), "{line}");
        kinds.insert(kind);
        if refused_by(one, other).is_none() {
            left.push((one, other));
        }
    }
    assert_eq!(kinds.len(), Guard::ALL.len(), "{kinds:?}");
    assert!(pairs.len() >= 500, "{} pairs", pairs.len());
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn paraphrases_are_neighbours() {
    let pairs: Vec<_> = PARAPHRASES.lines().map(fields).collect();
    let refused: Vec<_> = pairs.iter().filter(|pair| refused_by(pair[0], pair[1]).is_some()).collect();
    assert!(pairs.len() >= 150, "{} pairs", pairs.len());
    assert!(refused.len() * 20 <= pairs.len(), "{refused:#?}");
}

/// What is written in another way, and means the same.
#[test]
fn spellings_do_not_count() {
    for (one, other) in [
        ("a fee of 3 euros", "a fee of three euros"),
        ("it costs 1,200 dollars", "it costs $1200"),
        ("a tax of 7%", "a tax of seven percent"),
        ("it has 3.0 liters", "it has 3 litres"),
        ("we sold 2.5 million of them", "we sold 2500000 of them"),
        ("the 3rd floor", "the third floor"),
        ("a run of twenty-one km", "a run of 21km"),
        ("meet me at 3pm", "meet me at 15:00"),
        ("the news of 2024-03-05", "the news of March 5, 2024"),
        ("the news of 5 March 2024", "the news of March 5th, 2024"),
        ("is it open on Mondays", "is it open on monday"),
        ("Paris weather", "weather in Paris"),
        ("weather in paris", "weather in Paris"),
        ("see https://www.example.com/a/", "see http://example.com/a"),
        ("what does “carpe diem” mean", "what does \"carpe diem\" mean"),
        ("what does 'carpe' mean", "what does carpe mean"),
        ("I don’t see it", "I don't see it"),
        ("I do not see it", "I don't see it"),
        ("turn the light off in here", "switch off the light in here"),
        ("HOW DO I PAY WITH A CARD", "how do I pay with a card"),
        ("How To Pay With A Card", "how to pay with a card"),
    ] {
        assert_eq!(refused_by(one, other), None, "{one} / {other}");
    }
}

/// One text names a side, and the other one none.
#[test]
fn what_only_one_text_says_need_not_differ() {
    for (one, other) in [
        ("how do I enable alerts", "where are the alerts set"),
        ("my card has not arrived", "I am waiting for the parcel with it"),
        (
            "why does the transfer I sent to my landlord in the UK take so long",
            "how long until money is there",
        ),
        ("I paid 30 dollars at the shop and the statement shows another amount", "wrong amount was charged"),
    ] {
        assert_eq!(refused_by(one, other), None, "{one} / {other}");
    }
}

#[test]
fn another_version_of_the_guards_is_none() {
    let signature = Signature::new("Is Rome warmer than Oslo in May 2024?");
    let mut bytes = signature.to_bytes();
    assert_eq!(Signature::from_bytes(&bytes), Some(signature));
    bytes[0] ^= 1;
    assert_eq!(Signature::from_bytes(&bytes), None);
}

#[test]
fn a_signature_holds_no_words_and_is_small() {
    let text = "Please tell Mrs Fairweather that the secret ingredient of recipe_42 is \"saffron\", not cardamom; \
                mail chef@example.com before March 5, 2024.";
    let signature = Signature::new(text);
    let bytes = signature.to_bytes();
    assert!(bytes.len() < 300, "{} bytes", bytes.len());
    let shown = format!("{signature:?}").to_lowercase();
    for word in ["fairweather", "secret", "saffron", "cardamom", "chef", "recipe", "ingredient"] {
        assert!(!shown.contains(word), "{word}");
        assert!(!bytes.windows(4).any(|window| window == &word.as_bytes()[..4]), "{word}");
    }
}

#[test]
fn long_and_odd_texts_are_read_in_time() {
    for piece in [
        "not ",
        "a than b ",
        "\"",
        "'x ",
        "`",
        "(",
        "f(",
        "1,",
        "two hundred and ",
        "from a to b ",
        "不",
        "- ",
        "un",
    ] {
        let text = piece.repeat(20_000 / piece.len());
        let signature = Signature::new(&text);
        let bytes = signature.to_bytes();
        assert_eq!(Signature::from_bytes(&bytes), Some(signature), "{piece}");
    }
}

#[test]
fn the_page_lists_the_guards() {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("Guards\n")).expect("the section");
    let rows: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let names: Vec<_> = rows.iter().map(|row| row.split('`').next().unwrap_or_default()).collect();
    assert_eq!(names, Guard::ALL.map(Guard::name));
    for row in rows {
        let name = row.split('`').next().unwrap_or_default();
        let example = row.trim_end_matches(" |").rsplit(" | ").next().expect("an example");
        let (one, other) = example.split_once(" / ").expect("two texts");
        assert_eq!(refused_by(one, other).map(Guard::name), Some(name), "{example}");
    }
}

proptest! {
    #[test]
    fn any_text_has_a_signature_that_is_its_own_neighbour(text in "\\PC{0,80}") {
        let signature = Signature::new(&text);
        prop_assert_eq!(signature.conflict(&signature), None);
        let bytes = signature.to_bytes();
        prop_assert_eq!(Signature::from_bytes(&bytes), Some(signature));
        for cut in 0..bytes.len() {
            prop_assert_eq!(Signature::from_bytes(&bytes[..cut]), None);
        }
    }

    #[test]
    fn conflicts_go_both_ways(
        one in "(Is|not|no|the|3|5|km|May|Rome|Oslo|more|less|than|to|from|`x`|\"y\"|[?., ]){0,8}",
        other in "(Is|not|no|the|3|5|km|May|Rome|Oslo|more|less|than|to|from|`x`|\"y\"|[?., ]){0,8}",
    ) {
        let spaced = |text: &str| text.replace("not", " not ").replace("than", " than ").replace("to", " to ");
        refused_by(&spaced(&one), &spaced(&other));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let with_version = [&VERSION.to_le_bytes()[..], &bytes].concat();
        let _ = Signature::from_bytes(&with_version);
    }
}
