//! The commands that sidecache uses, each in a form that changes nothing, and what the replies say. Pure.

use ::redis::{Pipeline, RedisError};

use super::{Findings, Lack};
use crate::store::redis::client::error::describe;

/// What goes without a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    /// Neither lookups nor writes.
    Nothing,
    /// Lookups, but no writes.
    Lookups,
    /// All but figures, lists and sweeps.
    Serving,
}

use Without::{Lookups, Nothing, Serving};

/// A command, and what goes without it.
pub(super) struct Trial(&'static [&'static str], Without);

/// In place of a key that nothing is stored under.
const KEY: &str = "KEY";

/// `XX` and `NOMKSTREAM` write only where something is; a full or read-only server refuses them all the same.
pub(super) const TRIALS: [Trial; 20] = [
    Trial(&["GET", KEY], Nothing),
    Trial(&["MGET", KEY], Nothing),
    Trial(&["XREAD", "COUNT", "1", "STREAMS", KEY, "0-0"], Nothing),
    Trial(&["XINFO", "STREAM", KEY], Nothing),
    Trial(&["EVAL", "return 1", "0"], Nothing),
    Trial(&["EXISTS", KEY], Nothing),
    Trial(&["PEXPIRE", KEY, "1"], Nothing),
    Trial(&["SET", KEY, "", "XX", "PX", "1"], Lookups),
    Trial(&["XADD", KEY, "NOMKSTREAM", "*", "k", ""], Lookups),
    Trial(&["MULTI"], Lookups),
    Trial(&["EXEC"], Lookups),
    Trial(&["DEL", KEY], Lookups),
    Trial(&["SCAN", "0", "COUNT", "1"], Serving),
    Trial(&["STRLEN", KEY], Serving),
    Trial(&["GETRANGE", KEY, "0", "0"], Serving),
    Trial(&["TIME"], Serving),
    Trial(&["ZADD", KEY, "XX", "1", "m"], Serving),
    Trial(&["ZREMRANGEBYSCORE", KEY, "0", "0"], Serving),
    Trial(&["ZCARD", KEY], Serving),
    Trial(&["INFO", "memory"], Serving),
];

impl Trial {
    const fn name(&self) -> &'static str {
        self.0[0]
    }
}

/// All of them, with `key`.
pub(super) fn commands(key: &str) -> Pipeline {
    let mut commands = ::redis::pipe();
    for Trial(words, _) in &TRIALS {
        let command = commands.cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(if *word == KEY { key } else { word });
        });
    }
    commands
}

/// What the errors among the replies to [`commands`] say.
pub(super) fn findings(errors: &[Option<RedisError>]) -> Findings {
    let failed = || TRIALS.iter().zip(errors).filter_map(|(trial, error)| Some((trial, error.as_ref()?)));
    let refusal = failed().find(|(trial, error)| trial.1 == Lookups && refuses_writes(error));
    let refusal = refusal.map(|(_, error)| describe(error));
    let lacks = [
        (
            "the user of Redis may not run",
            failed().filter(|(_, error)| is_forbidden(error)).collect::<Vec<_>>(),
        ),
        ("Redis does not know", failed().filter(|(_, error)| is_unknown(error)).collect()),
    ];
    let lack = |(text, trials): (&str, Vec<(&Trial, &RedisError)>)| {
        let names: Vec<_> = trials.iter().map(|(trial, _)| trial.name()).collect();
        let is_serious = trials.iter().any(|(trial, _)| trial.1 != Serving);
        (!names.is_empty()).then(|| Lack { text: format!("{text} {}", names.join(", ")), is_serious })
    };
    Findings { refusal, lacks: lacks.into_iter().filter_map(lack).collect() }
}

fn refuses_writes(error: &RedisError) -> bool {
    matches!(error.code(), Some("OOM" | "READONLY" | "NOREPLICAS" | "NOPERM"))
}

fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

fn is_unknown(error: &RedisError) -> bool {
    error.code() == Some("ERR") && error.detail().is_some_and(|detail| detail.starts_with("unknown command"))
}

#[cfg(test)]
mod tests {
    use ::redis::make_extension_error;

    use super::*;

    /// What is found if these commands get this error.
    fn found(names: &[&str], code: &str, detail: &str) -> Findings {
        let error = |trial: &Trial| {
            let error = || make_extension_error(code.to_owned(), Some(detail.to_owned()));
            names.contains(&trial.name()).then(error)
        };
        findings(&TRIALS.iter().map(error).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_forbidden_or_unknown_is_named() {
        assert_eq!(found(&[], "", ""), Findings::default());
        let lack = |text: &str, is_serious| Lack { text: text.to_owned(), is_serious };
        let no_right = found(&["EXISTS", "ZADD"], "NOPERM", "x");
        assert_eq!(no_right.lacks, [lack("the user of Redis may not run EXISTS, ZADD", true)]);
        assert_eq!(no_right.refusal, None);
        let unknown = found(&["TIME"], "ERR", "unknown command 'TIME', with args beginning with: ");
        assert_eq!(unknown.lacks, [lack("Redis does not know TIME", false)]);
        assert_eq!(found(&["XINFO"], "ERR", "no such key"), Findings::default());
    }

    #[test]
    fn refused_writes_are_found() {
        for code in ["OOM", "READONLY", "NOPERM", "NOREPLICAS"] {
            assert!(
                found(&["SET", "XADD"], code, "").refusal.is_some_and(|text| text.contains(code)),
                "{code}"
            );
        }
        assert_eq!(found(&["SET", "XADD"], "MOVED", "1 127.0.0.1:1").refusal, None);
    }
}
