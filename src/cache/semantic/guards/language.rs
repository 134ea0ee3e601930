//! The script of a text and, where that is sure, its language.

use super::reading::Reading;

/// So many votes tell a language: a word that others have too counts once, another one twice.
const MIN_VOTES: usize = 3;

/// Small words by language. Most sentences have two of them at least, also those that are too short for statistics of letters.
/// A word may be in several lines.
const TYPICAL: [&str; 15] = [
    "the is are how what my do does i can of to which who for with you it why this when where should was and have has if that from be not in a an on at there or your me we",
    "der die das ich wie ist ein eine nicht und mein meine kann zu den dem mit für auf wo wann warum von es gibt welche wird im zum zur einen einem einer haben sind was muss in auch bei oder ihr mich",
    "le la les je est un une des du de mon ma mes comment pourquoi où quel quelle quels quelles puis dans sur pour avec que qui au aux et l d se ce il elle sont en à ne pas j",
    "el la los las un una de del en mi mis cómo qué cuándo dónde por para con es está puedo puedes puede se que cuál cuánto y al lo su no a tiempo",
    "o a os as um uma de do da em meu minha como que quando onde por para com é está posso não se qual quanto e ao no na você um tempo",
    "il lo la gli le un una di del della in mio mia come che quando dove per con è sono posso non qual quanto e al questa questo i un",
    "de het een ik mijn is zijn van voor met hoe wat kan waar wanneer in op te niet er dat die thuis aan",
    "jag är och att en ett det på för om hur vad kan min som inte med av mig till",
    "jeg er og at en et det på for om hvordan hvad hva kan min som ikke med av til gerne vil jeg i",
    "jak mogę do w z na się jest czy co nie moje mojego i to dla mój",
    "mitä miten on ja tällä tarvitsen minun missä voinko voin se kuinka tämä että",
    "nasıl bir ve için bu ne mi nerede kaç mı benim",
    "как что где почему и в на я мне мой можно ли это с для когда какой какая ближайшая сегодня не",
    "як що де чому і в на я мені мій можна чи це з для коли який яка сьогодні не",
    "hogyan mi a az és hol van ez egy nem mikor miért",
];

/// Letters that of two languages with one alphabet only one has: the language's place in [`TYPICAL`], and the letters.
const OWN_LETTERS: [(usize, &str); 2] = [(12, "ыэъё"), (13, "іїєґ")];

/// The number of the script that most letters are of; 0 if there are none.
pub(super) fn script(text: &str) -> u8 {
    let mut counts = [0_usize; SCRIPTS + 1];
    for letter in text.chars().filter(|letter| letter.is_alphabetic()) {
        counts[usize::from(script_of(letter))] += 1;
    }
    let most = (1_u8..).zip(&counts[1..]).max_by_key(|(_, count)| **count);
    most.filter(|(_, count)| **count > 0).map_or(0, |(number, _)| number)
}

const SCRIPTS: usize = 11;

const fn script_of(letter: char) -> u8 {
    match letter {
        '\u{41}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => 1,
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => 2,
        '\u{400}'..='\u{52f}' => 3,
        '\u{530}'..='\u{58f}' => 4,
        '\u{590}'..='\u{5ff}' => 5,
        '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' => 6,
        '\u{900}'..='\u{97f}' => 7,
        '\u{e00}'..='\u{e7f}' => 8,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' => 9,
        '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7af}' => 10,
        _ => 11,
    }
}

/// The number of the language that most small words are of; 0 if there are too few, or if another language has nearly as many.
pub(super) fn language(reading: &Reading) -> u8 {
    let mut votes = [0_usize; TYPICAL.len()];
    for token in &reading.tokens {
        let is_in = TYPICAL.map(|words| words.split(' ').any(|own| own == token.lower));
        // What no other language has is worth more.
        let weight = if is_in.iter().filter(|is_in| **is_in).count() == 1 { 2 } else { 1 };
        votes.iter_mut().zip(is_in).for_each(|(votes, is_in)| *votes += if is_in { weight } else { 0 });
    }
    let has =
        |letters: &str| reading.tokens.iter().any(|token| token.lower.contains(|c| letters.contains(c)));
    let mut owners = OWN_LETTERS.iter().filter(|(_, letters)| has(letters));
    if let (Some((language, _)), None) = (owners.next(), owners.next()) {
        votes[*language] += MIN_VOTES;
    }
    let best = (1_u8..).zip(votes).max_by_key(|(_, count)| *count).unwrap_or_default();
    let second = (1_u8..)
        .zip(votes)
        .filter(|(number, _)| *number != best.0)
        .map(|(_, count)| count)
        .max()
        .unwrap_or(0);
    if best.1 >= MIN_VOTES && best.1 * 2 >= second * 3 { best.0 } else { 0 }
}
