//! Guards: what two texts must have in common, however near their vectors are.
//!
//! A text is read once ([`reading`]), and each guard has a file with what it looks for. Of what they find, a [`Signature`] keeps
//! truncated hashes. `docs/MEANING.md` has the table for operators.

mod code;
mod dates;
mod language;
mod names;
mod negation;
mod numbers;
mod opposites;
mod order;
mod quotes;
mod reading;
mod set;
#[cfg(test)]
mod tests;
mod units;
mod urls;
mod words;

use self::{
    reading::Reading,
    set::{HashSet16, digest, digest_in_order, hash16, hash16_of_pair},
};

/// Must change whenever a text may get another signature than before.
const VERSION: u16 = 1;

/// Two texts are alike if at least this part of the words of the shorter one is in the other one, too.
const ALIKE: (usize, usize) = (3, 5);

/// What a text says that an answer depends on to the letter, in truncated hashes. Small: it is kept for each stored question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Digests of what must be the same in both texts; 0 for nothing.
    numbers: u32,
    dates: u32,
    code: u32,
    urls: u32,
    quotes: u32,
    /// Of all words, whatever their order, and in their order.
    bag: u32,
    sequence: u32,
    /// 0 if it is not known.
    script: u8,
    language: u8,
    /// The words that say something by themselves. A name may be in lower case.
    words: HashSet16,
    units: HashSet16,
    names: HashSet16,
    quoted: HashSet16,
    negated: HashSet16,
    poles: HashSet16,
    forward: HashSet16,
    backward: HashSet16,
}

/// A kind of difference that makes two texts no neighbours. The names are in the log, in metrics and in `docs/MEANING.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    Numbers,
    Units,
    Dates,
    Names,
    Code,
    Urls,
    Quotes,
    Negation,
    Opposites,
    Order,
    Language,
}

impl Signature {
    pub fn new(text: &str) -> Self {
        let reading = Reading::new(text);
        let tokens = &reading.tokens;
        let dates = dates::find(&reading);
        let numbers =
            tokens.iter().enumerate().filter(|(at, token)| token.is_number && !dates.used.contains(at));
        let relations = order::find(&reading);
        let sequence = order::sequence(&reading);
        let names = names::find(&reading, |at| dates.used.contains(&at));
        let content = tokens
            .iter()
            .filter(|token| words::is_content(token) && !token.is_number)
            .map(|token| &*token.stem);
        let without_prefix = tokens.iter().filter_map(|token| negation::unprefixed(&token.lower));
        let words =
            content.chain(names.iter().copied()).chain(negation::word_of_script(&reading)).map(hash16);
        let quoted = reading
            .quotes
            .iter()
            .flat_map(|quote| words::split(quote))
            .filter(words::is_content)
            .map(|token| hash16(&token.stem));
        Self {
            numbers: digest(numbers.map(|(_, token)| &*token.lower)),
            dates: digest(dates.found.iter().map(|date| &**date)),
            code: digest(reading.code.iter().map(|code| &**code)),
            urls: digest(reading.urls.iter().map(|url| &**url)),
            quotes: digest(reading.quotes.iter().map(|quote| &**quote)),
            bag: digest(sequence.iter().copied()),
            sequence: digest_in_order(sequence.iter().copied()),
            script: language::script(text),
            language: language::language(&reading),
            words: words.chain(without_prefix.map(|base| hash16(&base))).collect(),
            units: units::find(&reading).into_iter().map(hash16).collect(),
            names: names.iter().map(|name| hash16(name)).collect(),
            quoted: quoted.collect(),
            negated: negation::find(&reading).iter().map(|stem| hash16(stem)).collect(),
            poles: opposites::find(&reading).into_iter().collect(),
            forward: relations.forward.iter().map(|relation| hash16_of_pair(relation)).collect(),
            backward: relations.backward.iter().map(|relation| hash16_of_pair(relation)).collect(),
        }
    }

    /// The first guard, in the order of [`Guard`], in which the texts differ.
    pub fn conflict(&self, other: &Self) -> Option<Guard> {
        Guard::ALL.into_iter().find(|guard| self.differs(other, *guard))
    }

    fn differs(&self, other: &Self, guard: Guard) -> bool {
        match guard {
            Guard::Numbers => self.says_else(other, self.numbers, other.numbers),
            Guard::Units => self.units.excludes(&other.units),
            Guard::Dates => self.says_else(other, self.dates, other.dates),
            Guard::Names => {
                let (own, others) = (self.names.is_within(&other.words), other.names.is_within(&self.words));
                if own || others { !(own && others) && self.is_like(other) } else { true }
            }
            Guard::Code => self.says_else(other, self.code, other.code),
            Guard::Urls => self.says_else(other, self.urls, other.urls),
            Guard::Quotes => match (self.quotes, other.quotes) {
                (0, _) => !other.quoted.is_within(&self.words) && self.is_like(other),
                (_, 0) => !self.quoted.is_within(&other.words) && self.is_like(other),
                (own, others) => own != others,
            },
            Guard::Negation => {
                let denies = |one: &Self, other: &Self| one.negated.has_beside(&other.words, &other.negated);
                (denies(self, other) || denies(other, self)) && self.is_like(other)
            }
            Guard::Opposites => self.takes_other_side(other),
            Guard::Order => {
                self.forward.meets(&other.backward)
                    || (self.bag == other.bag && self.sequence != other.sequence)
            }
            Guard::Language => {
                let differ = |own: u8, others: u8| own != 0 && others != 0 && own != others;
                differ(self.script, other.script) || differ(self.language, other.language)
            }
        }
    }

    /// Whether both texts say something of a kind, and not the same; or only one does, and they are alike otherwise.
    fn says_else(&self, other: &Self, own: u32, others: u32) -> bool {
        own != others && ((own != 0 && others != 0) || self.is_like(other))
    }

    /// Whether the texts are about the same words: what one of them says beside these makes the difference then. Other texts
    /// differ in many things, and their vectors show it.
    fn is_like(&self, other: &Self) -> bool {
        let both = self.words.count_in(&other.words);
        let fewer = self.words.len().min(other.words.len());
        both * ALIKE.1 >= fewer * ALIKE.0
    }

    /// Whether both take sides in one group of opposites, and not the same ones.
    fn takes_other_side(&self, other: &Self) -> bool {
        let group = |pole: u16| pole / opposites::SIDES;
        let differs = |one: &HashSet16, others: &HashSet16| {
            one.iter()
                .any(|pole| !others.contains(pole) && others.iter().any(|its| group(its) == group(pole)))
        };
        differs(&self.poles, &other.poles) || differs(&other.poles, &self.poles)
    }

    fn sets(&self) -> [&HashSet16; 8] {
        let Self { words, units, names, quoted, negated, poles, forward, backward, .. } = self;
        [words, units, names, quoted, negated, poles, forward, backward]
    }

    /// Little-endian: the version of the guards, the digests, and each set with its length.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { numbers, dates, code, urls, quotes, bag, sequence, script, language, .. } = *self;
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for digest in [numbers, dates, code, urls, quotes, bag, sequence] {
            bytes.extend_from_slice(&digest.to_le_bytes());
        }
        bytes.extend_from_slice(&[script, language]);
        self.sets().into_iter().for_each(|set| set.write(&mut bytes));
        bytes
    }

    /// `None` if these are not the bytes of a signature of this version of the guards.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first_chunk()?;
        if u16::from_le_bytes(*version) != VERSION {
            return None;
        }
        let mut digest = || {
            let (digest, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u32::from_le_bytes(*digest))
        };
        let [numbers, dates, code, urls, quotes, bag, sequence] =
            [digest()?, digest()?, digest()?, digest()?, digest()?, digest()?, digest()?];
        let (&[script, language], mut rest) = rest.split_first_chunk()?;
        let mut set = || HashSet16::read(&mut rest);
        let [words, units, names, quoted, negated, poles, forward, backward] =
            [set()?, set()?, set()?, set()?, set()?, set()?, set()?, set()?];
        rest.is_empty().then_some(Self {
            numbers,
            dates,
            code,
            urls,
            quotes,
            bag,
            sequence,
            script,
            language,
            words,
            units,
            names,
            quoted,
            negated,
            poles,
            forward,
            backward,
        })
    }
}

impl Guard {
    pub const ALL: [Self; 11] = [
        Self::Numbers,
        Self::Units,
        Self::Dates,
        Self::Names,
        Self::Code,
        Self::Urls,
        Self::Quotes,
        Self::Negation,
        Self::Opposites,
        Self::Order,
        Self::Language,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Numbers => "numbers",
            Self::Units => "units",
            Self::Dates => "dates",
            Self::Names => "names",
            Self::Code => "code",
            Self::Urls => "urls",
            Self::Quotes => "quotes",
            Self::Negation => "negation",
            Self::Opposites => "opposites",
            Self::Order => "order",
            Self::Language => "language",
        }
    }
}
