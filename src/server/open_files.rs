//! The limit of open files (`ulimit -n`), which is raised at the start as far as it may be.
//!
//! Many systems begin with 1,024 for old programs' sake and allow far more. nginx, Envoy and Go's programs raise it too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What may be open besides connections of clients and to the upstream: connections of operators and to the store, the
/// log, listeners, and connections that wait for their next request.
const OTHERS: u64 = 256;

/// What is missing where the limit may not be raised as far as needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// What is in force now.
    pub(crate) limit: u64,
    pub(crate) needed: u64,
}

/// Makes room for so many connections of clients, and requests to the upstream.
///
/// # Errors
/// If the system allows less.
pub(crate) fn make_room(connections: usize, upstream_requests: usize) -> Result<(), Shortage> {
    let needed = (connections as u64).saturating_add(upstream_requests as u64).saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let limit = match raised(current, maximum, needed) {
        Some(limit) => {
            let asked = setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum });
            if asked.is_ok() { Some(limit) } else { current }
        }
        None => current,
    };
    match limit {
        Some(limit) if limit < needed => Err(Shortage { limit, needed }),
        _ => Ok(()),
    }
}

/// The limit to ask for; `None` if the present one need not, or may not, be raised. A limit of `None` is none.
fn raised(current: Option<u64>, maximum: Option<u64>, needed: u64) -> Option<u64> {
    let limit = maximum.map_or(needed, |maximum| maximum.min(needed));
    Some(limit).filter(|limit| current.is_some_and(|current| current < *limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_allowed() {
        for (current, maximum, expected) in [
            (Some(1024), Some(4096), Some(3000)),
            (Some(1024), Some(2048), Some(2048)),
            (Some(1024), Some(1024), None),
            (Some(1024), None, Some(3000)),
            (Some(4096), Some(8192), None),
            (None, None, None),
        ] {
            assert_eq!(raised(current, maximum, 3000), expected, "{current:?} {maximum:?}");
        }
    }
}
