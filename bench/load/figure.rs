//! Figures that are not rates.

/// A figure of sidecache alone; lower is better.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Its name in the table.
    pub(crate) name: String,
    /// The value with its unit.
    pub(crate) value: String,
    /// The limit.
    pub(crate) must: &'static str,
    /// The aim.
    pub(crate) aim: &'static str,
}
