//! What sidecache needs of a server, and what of it the server lacks. That is looked at with each generation of
//! connections, and not in between: an idle Redis gets no commands for it.
//!
//! Each command is tried, in a form that changes nothing. `ACL DRYRUN` and `COMMAND INFO` would say the same, but
//! restricted users and managed services refuse them. So may they refuse `INFO` and `CONFIG GET`; what these would have
//! said is then not known, and not held against the server.

mod server;
mod trials;

use std::time::Duration;

use ::redis::{RedisError, Value, from_redis_value};

use self::{
    server::{Address, Facts},
    trials::TRIALS,
};
use super::{
    endpoint::Endpoint,
    error::{protocol, within},
};

/// For all replies together.
const PATIENCE: Duration = Duration::from_millis(500);

/// Something that a server lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lack {
    /// What, and what to do about it.
    pub(super) text: String,
    /// Whether lookups or writes need it.
    pub(super) is_serious: bool,
}

/// What was found at a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Why it takes no writes.
    pub(super) refusal: Option<String>,
    pub(super) lacks: Vec<Lack>,
}

/// Looks at a server, over a connection of its own; nothing is stored under `key`.
///
/// # Errors
/// If the server is not reached, or does not answer in time.
pub(super) async fn look(endpoint: &Endpoint, key: &str) -> Result<Findings, RedisError> {
    within(PATIENCE, async {
        let mut connection = endpoint.open(1).await?;
        let mut commands = trials::commands(key);
        commands.cmd("INFO");
        commands.cmd("CONFIG").arg("GET").arg("timeout");
        let mut replies = connection.send_packed_commands(&commands, 0, commands.len()).await?;
        if replies.len() != TRIALS.len() + 2 {
            return Err(protocol());
        }
        let config = replies.pop().and_then(|reply| from_redis_value::<(String, u64)>(reply).ok());
        let info = replies.pop().and_then(|reply| from_redis_value::<String>(reply).ok());
        let mut findings = trials::findings(&replies.into_iter().map(error).collect::<Vec<_>>());
        let facts = Facts { info: &info.unwrap_or_default(), timeout: config.map(|(_, seconds)| seconds) };
        let address = Address { host: &endpoint.address(), is_tls: endpoint.is_tls() };
        match facts.other_kind(&address).filter(|_| endpoint.is_alone()) {
            // What a sentinel lacks is of no interest.
            Some(other) => findings.lacks = vec![other],
            None => findings.lacks.extend(facts.lacks()),
        }
        Ok(findings)
    })
    .await
}

fn error(reply: Value) -> Option<RedisError> {
    match reply {
        Value::ServerError(error) => Some(error.into()),
        _ => None,
    }
}
