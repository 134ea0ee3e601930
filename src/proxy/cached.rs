//! A stored answer, as far as it is of use to a request.

use std::{sync::Arc, time::Duration};

use crate::{
    cache::{
        entry::Entry,
        status::{CacheReport, Forward},
    },
    dialect::Served,
};

/// A stored answer, as far as it is of use to a request.
#[derive(Debug)]
pub enum Lookup {
    /// It is the answer.
    Hit(Found),
    /// It is the answer, and is to be asked for anew.
    Stale(Found),
    /// There is none, or it is of no use.
    Miss(Miss),
}

/// What there is to a request without an answer.
#[derive(Debug)]
pub struct Miss {
    /// Why there is none.
    pub forward: Forward,
    /// The entry that is fresh all the same, in a form of no use.
    pub kept: Option<Arc<Entry>>,
    /// What will do where the upstream fails.
    pub fallback: Option<Fallback>,
    /// What the upstream may confirm, on a route that follows it.
    pub stored: Option<Arc<Entry>>,
}

impl From<Forward> for Lookup {
    fn from(forward: Forward) -> Self {
        Self::Miss(Miss { forward, kept: None, fallback: None, stored: None })
    }
}

/// Whole seconds; more than fit are the most that do.
pub fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A stored answer that is of use to a request, and in which form.
#[derive(Clone, Debug)]
pub struct Found {
    /// It.
    pub entry: Arc<Entry>,
    /// The form that was asked for.
    pub served: Served,
    /// What is told of it.
    pub report: CacheReport,
}

/// A stale answer for where the upstream fails.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// It.
    pub found: Found,
    /// Whether an error of the upstream is such a failure, too, or only that it gives no answer.
    pub for_errors: bool,
}
