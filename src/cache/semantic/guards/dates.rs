//! Dates, days, months and times of day, however they are written.

use std::collections::BTreeSet;

use super::reading::{Reading, Token};

/// The months in English, German, French, Spanish, Portuguese, Italian and Dutch.
const MONTHS: [&str; 12] = [
    "january jan januar janvier enero janeiro gennaio januari",
    "february feb februar février febrero fevereiro febbraio februari",
    "march mar märz mars marzo março maart",
    "april apr avril abril aprile",
    "may mai mayo maio maggio mei",
    "june jun juni juin junio junho giugno",
    "july jul juli juillet julio julho luglio",
    "august aug août agosto augustus",
    "september sep sept septembre septiembre setembro settembre",
    "october oct oktober octobre octubre outubro ottobre",
    "november nov novembre noviembre novembro",
    "december dec dezember décembre diciembre dezembro dicembre",
];

const WEEKDAYS: [&str; 7] = [
    "monday mon montag lundi lunes lunedì segunda-feira maandag mondays",
    "tuesday tue tues dienstag mardi martes martedì dinsdag tuesdays",
    "wednesday wed mittwoch mercredi miércoles mercoledì woensdag wednesdays",
    "thursday thu thurs donnerstag jeudi jueves giovedì donderdag thursdays",
    "friday fri freitag vendredi viernes venerdì vrijdag fridays",
    "saturday sat samstag sonnabend samedi sábado sabato zaterdag saturdays",
    "sunday sun sonntag dimanche domingo domenica zondag sundays",
];

/// Words that are days and months, and something else.
const AMBIGUOUS: [&str; 22] = [
    "march", "mar", "may", "mai", "mei", "mars", "sun", "sat", "mon", "wed", "fri", "thu", "tue", "dec",
    "jan", "apr", "jun", "jul", "sep", "oct", "nov", "sept",
];

/// Days that depend on when they are said.
const RELATIVE: &[(&str, &str)] = &[
    ("tomorrow", "+1"),
    ("yesterday", "-1"),
    ("tonight", "night"),
    ("weekend", "weekend"),
    ("weekends", "weekend"),
    ("weekday", "weekday"),
    ("weekdays", "weekday"),
    ("morgen", "+1"),
    ("gestern", "-1"),
    ("übermorgen", "+2"),
    ("vorgestern", "-2"),
    ("demain", "+1"),
    ("hier", "-1"),
    ("mañana", "+1"),
    ("ayer", "-1"),
    ("amanhã", "+1"),
    ("ontem", "-1"),
    ("domani", "+1"),
    ("ieri", "-1"),
    ("noon", "12:00"),
    ("midday", "12:00"),
    ("midnight", "0:00"),
    ("christmas", "christmas"),
    ("easter", "easter"),
    ("halloween", "halloween"),
    ("thanksgiving", "thanksgiving"),
];

/// What a text says of dates, and which of its tokens say it: these are no numbers of their own.
#[derive(Debug, Default)]
pub(super) struct Dates {
    pub(super) found: BTreeSet<String>,
    pub(super) used: BTreeSet<usize>,
}

pub(super) fn find(reading: &Reading) -> Dates {
    let mut dates = Dates::default();
    for (at, token) in reading.tokens.iter().enumerate() {
        let word = token.lower.strip_suffix("'s").unwrap_or(&token.lower);
        if token.is_number {
            dates.read_number(reading, at);
        } else if let Some(month) = place(&MONTHS, word).filter(|_| is_meant(reading, at)) {
            dates.add(at, format!("m{}", month + 1));
            dates.read_around_month(reading, at);
        } else if let Some(day) = place(&WEEKDAYS, word).filter(|_| is_meant(reading, at)) {
            dates.add(at, format!("w{day}"));
        } else if let Some((_, what)) =
            RELATIVE.iter().find(|(own, _)| *own == word && is_relative(reading, own))
        {
            dates.add(at, (*what).to_owned());
        }
    }
    dates
}

fn place(lines: &[&str], word: &str) -> Option<usize> {
    lines.iter().position(|line| line.split(' ').any(|name| name == word))
}

/// `hier` is `here` in German, and `morgen` is in no English text.
fn is_relative(reading: &Reading, word: &str) -> bool {
    let has = |words: &[&str]| reading.tokens.iter().any(|token| words.contains(&&*token.lower));
    word != "hier" || has(&["je", "j", "le", "la", "les", "est", "que"])
}

/// Whether a word that may be something else is a day or a month here.
fn is_meant(reading: &Reading, at: usize) -> bool {
    let token = &reading.tokens[at];
    if !AMBIGUOUS.contains(&&*token.lower) {
        return true;
    }
    let is_capital = !token.begins_sentence && token.raw.starts_with(char::is_uppercase);
    let near =
        |at: Option<usize>| at.and_then(|at| reading.tokens.get(at)).is_some_and(|token| token.is_number);
    let prepositions = [
        "in", "of", "since", "until", "till", "by", "this", "next", "last", "on", "im", "en", "early",
        "late", "mid", "before", "after",
    ];
    is_capital
        || near(at.checked_sub(1))
        || near(Some(at + 1))
        || (token.lower != "sun" && reading.has_before(at, 1, &prepositions))
}

impl Dates {
    fn add(&mut self, at: usize, what: String) {
        self.found.insert(what);
        self.used.insert(at);
    }

    /// `2024-05-31` and `10:30`; a time in full hours with `am` or `pm`.
    fn read_number(&mut self, reading: &Reading, at: usize) {
        let token = &reading.tokens[at];
        let next = reading.tokens.get(at + 1).map(|next| &*next.lower);
        let half = next.filter(|next| matches!(*next, "am" | "pm"));
        let parts: Vec<&str> = token.lower.split(['-', ':']).collect();
        let numbers: Vec<u32> = parts.iter().filter_map(|part| part.parse().ok()).collect();
        match (&numbers[..], token.lower.contains(':')) {
            ([hour, minute], true) | ([hour, minute, _], true) => self.add_time(at, *hour, *minute, half),
            ([hour], false) if half.is_some() => self.add_time(at, *hour, 0, half),
            ([year, month, day], false) if *year > 1000 => {
                for part in [format!("y{year}"), format!("m{month}"), format!("d{day}")] {
                    self.add(at, part);
                }
            }
            _ => {}
        }
    }

    fn add_time(&mut self, at: usize, hour: u32, minute: u32, half: Option<&str>) {
        let hour = match half {
            Some("pm") if hour < 12 => hour + 12,
            Some("am") if hour == 12 => 0,
            _ => hour,
        };
        self.add(at, format!("{hour}:{minute:02}"));
        if half.is_some() {
            self.used.insert(at + 1);
        }
    }

    /// The day and the year beside a month: `5 March 2024`, `March 5th, 2024`.
    fn read_around_month(&mut self, reading: &Reading, month: usize) {
        let value = |at: usize| {
            let token = reading.tokens.get(at).filter(|token| token.is_number || token.lower == "first")?;
            if token.lower == "first" {
                Some(1)
            } else {
                token.lower.trim_start_matches('#').parse::<u32>().ok()
            }
        };
        let is_of = |at: usize| {
            reading.tokens.get(at).is_some_and(|token: &Token| matches!(&*token.lower, "of" | "de" | "the"))
        };
        let before =
            month.checked_sub(1).map(|before| if is_of(before) { before.saturating_sub(1) } else { before });
        let after = if is_of(month + 1) { month + 2 } else { month + 1 };
        let mut year_at = after;
        if let Some((at, day)) =
            before.and_then(|at| Some((at, value(at).filter(|day| (1..=31).contains(day))?)))
        {
            self.add(at, format!("d{day}"));
        } else if let Some(day) = value(after).filter(|day| (1..=31).contains(day)) {
            self.add(after, format!("d{day}"));
            year_at = after + 1;
        }
        if let Some(year) = value(year_at).filter(|year| *year >= 1000) {
            self.add(year_at, format!("y{year}"));
        }
    }
}
