//! The slots of a cluster: which one a key is in, and which server has it. Pure.

use std::collections::HashSet;

use ::redis::{RedisError, Value, from_redis_value};

use crate::store::redis::client::error::protocol;

/// How many slots a cluster has (Redis cluster specification, "Key distribution model").
pub(super) const SLOTS: usize = 16_384;

/// More masters than this are no cluster (Redis cluster specification, "Redis Cluster goals").
const MAX_MASTERS: usize = 1000;

/// A host and a port.
pub(super) type Address = (String, u16);

/// The slot of `key`: that of the text between its first `{` and the `}` after it, if there is any.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS as u16
}

/// A key in `slot` that begins with `name`: so a server can be asked about a key of its own.
pub(super) fn key_in(slot: u16, name: &str) -> String {
    let tags = (0..u32::MAX).map(|tag| tag.to_string());
    let tag = tags.into_iter().find(|tag| self::slot(tag) == slot).unwrap_or_default();
    format!("{name}:{{{tag}}}")
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = table();
    bytes.iter().fold(0, |crc: u16, byte| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The ranges of slots with their masters, from the reply to `CLUSTER SLOTS` of a server at `asked`.
///
/// # Errors
/// If the reply is of the wrong kind, or names more masters than a cluster can have.
pub(super) fn ranges(reply: Value, asked: &str) -> Result<Vec<(u16, u16, Address)>, RedisError> {
    let Value::Array(ranges) = reply else { return Err(protocol()) };
    let ranges: Vec<_> =
        ranges.into_iter().map(|range| one(range, asked).ok_or_else(protocol)).collect::<Result<_, _>>()?;
    let masters: HashSet<_> = ranges.iter().map(|(.., address)| address).collect();
    if masters.len() > MAX_MASTERS { Err(protocol()) } else { Ok(ranges) }
}

fn one(range: Value, asked: &str) -> Option<(u16, u16, Address)> {
    let Value::Array(range) = range else { return None };
    let [first, last, Value::Array(master), ..] = &range[..] else { return None };
    let [host, port, ..] = &master[..] else { return None };
    let number = |value: &Value| from_redis_value::<u16>(value.clone()).ok();
    let host = match host {
        // The server does not know its own name: it is the one that was asked.
        Value::Nil => String::new(),
        host => from_redis_value::<String>(host.clone()).ok()?,
    };
    let host = if matches!(&*host, "" | "?") { asked.to_owned() } else { host };
    let (first, last, port) = (number(first)?, number(last)?, number(port)?);
    (first <= last && usize::from(last) < SLOTS && port > 0).then_some((first, last, (host, port)))
}

/// The address in a redirection: `HOST:PORT`, or `:PORT` of the server that was asked.
pub(super) fn redirected_to(address: &str, asked: &str) -> Option<Address> {
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.is_empty() { asked } else { host };
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_slots_of_the_specification() {
        for (key, expected) in [
            ("123456789", 0x31c3),
            ("foo", 12182),
            ("{user1000}.following", 3443),
            ("user1000", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("", 0),
        ] {
            assert_eq!(slot(key), expected % SLOTS as u16, "{key}");
        }
    }

    #[test]
    fn each_slot_has_a_key() {
        for wanted in [0, 1, 5460, 16_383] {
            let key = key_in(wanted, "ns:_:probe");
            assert!(key.starts_with("ns:_:probe:{") && slot(&key) == wanted, "{key}");
        }
    }

    #[test]
    fn slots_have_masters() {
        let text = |text: &str| Value::BulkString(text.into());
        let master =
            |host: Value| Value::Array(vec![host, Value::Int(7000), text("id"), Value::Array(Vec::new())]);
        let range = |host: Value| Value::Array(vec![Value::Int(0), Value::Int(5460), master(host)]);
        let reply = Value::Array(vec![range(text("10.0.0.1")), range(Value::Nil), range(text("?"))]);
        let hosts: Vec<_> =
            ranges(reply, "asked").expect("ranges").into_iter().map(|(.., (host, _))| host).collect();
        assert_eq!(hosts, ["10.0.0.1", "asked", "asked"]);
        let beyond = Value::Array(vec![Value::Int(0), Value::Int(16_384), master(text("h"))]);
        for bad in [Value::Nil, Value::Array(vec![Value::Nil]), Value::Array(vec![beyond])] {
            assert!(ranges(bad, "asked").is_err());
        }
    }

    #[test]
    fn redirections_name_a_server() {
        assert_eq!(redirected_to("10.0.0.1:7001", "asked"), Some(("10.0.0.1".to_owned(), 7001)));
        assert_eq!(redirected_to(":7001", "asked"), Some(("asked".to_owned(), 7001)));
        assert_eq!(redirected_to("::1:7001", "asked"), Some(("::1".to_owned(), 7001)));
        assert_eq!(redirected_to("10.0.0.1", "asked"), None);
    }
}
