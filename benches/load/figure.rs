//! What is measured and is no rate.

/// A figure of sidecache alone; less is better.
#[derive(Debug)]
pub(crate) struct Figure {
    /// What the table calls it.
    pub(crate) name: String,
    /// What was measured, with its unit.
    pub(crate) value: String,
    /// What it must not exceed.
    pub(crate) must: &'static str,
    /// What it is not to exceed.
    pub(crate) aim: &'static str,
}
