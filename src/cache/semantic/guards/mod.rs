//! Guards: what two texts must have in common, however near their vectors are.

/// What a text says that an answer depends on to the letter. Small: it is kept for each stored question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {}

/// A kind of difference that makes two texts no neighbours. The names are in the log, in metrics and in `docs/MEANING.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Guard {
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
    pub(crate) fn new(_text: &str) -> Self {
        unimplemented!()
    }

    /// The first guard, in the order of [`Guard`], in which the texts differ.
    pub(crate) fn conflict(&self, _other: &Self) -> Option<Guard> {
        unimplemented!()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        unimplemented!()
    }

    /// `None` if these are not the bytes of a signature of this version of the guards.
    pub(crate) fn from_bytes(_bytes: &[u8]) -> Option<Self> {
        unimplemented!()
    }
}

impl Guard {
    pub(crate) const ALL: [Self; 11] = [
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

    pub(crate) const fn name(self) -> &'static str {
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
