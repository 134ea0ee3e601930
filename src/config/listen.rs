//! Where a listener is: an address and a port, or a socket file.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use super::{
    quote::quote,
    value::{Format, Value},
};

/// What the path of a Unix socket may take, in bytes: the system's limit, and its end.
const MAX_PATH: usize = 107;

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address and the port; `None` for a socket file.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether both cannot be listened on at once.
    pub(super) fn clashes(&self, other: &Self) -> bool {
        let (one, other) = match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => (*one, *other),
            _ => return self == other,
        };
        // `0.0.0.0` covers every IPv4 address, and `[::]` covers those, too.
        let covers =
            |all: SocketAddr, one: SocketAddr| all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4());
        let is_same = one.ip() == other.ip() || covers(one, other) || covers(other, one);
        one.port() == other.port() && one.port() != 0 && is_same
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

pub(super) const ADDRESS: Format<ListenAddress> =
    Format { parse: |value| parse_address(value.text("HOST:PORT")?), show: ListenAddress::to_string };

/// An address, or `off`.
pub(super) const ADDRESS_OR_OFF: Format<Option<ListenAddress>> = Format {
    parse: |value| match value.text("HOST:PORT or \"off\"")? {
        text if text.eq_ignore_ascii_case("off") => Ok(None),
        text => parse_address(text).map(Some),
    },
    show: |address| address.as_ref().map_or_else(|| "off".to_owned(), ListenAddress::to_string),
};

/// Who may connect to a socket file, as `chmod` takes it.
pub(super) const FILE_MODE: Format<u32> = Format {
    parse: |value| {
        let text = match value {
            // 660 is another number than 0o660.
            Value::Integer(_) => return Err(value.mismatch("a mode as a text, as in \"0660\"")),
            other => other.text("a mode, as in \"0660\"")?,
        };
        let is_octal = text.bytes().all(|b| (b'0'..=b'7').contains(&b)) && text.len() <= 4;
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
        mode.ok_or_else(|| format!("{} is no mode of a file; write one as in \"0660\"", quote(text)))
    },
    show: |mode| format!("{mode:04o}"),
};

fn parse_address(text: &str) -> Result<ListenAddress, String> {
    match text.strip_prefix("unix:") {
        Some(path) => parse_path(path.strip_prefix("//").unwrap_or(path)).map(ListenAddress::Unix),
        None => parse_tcp(text).map(ListenAddress::Tcp),
    }
}

pub(super) fn parse_path(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains(char::is_control) {
        return Err(format!("{} is no path of a socket; write unix:/run/sidecache.sock", quote(path)));
    }
    if path.len() > MAX_PATH {
        return Err(format!("{} has more than {MAX_PATH} bytes, which no socket may have", quote(path)));
    }
    Ok(path.into())
}

/// Host names are not resolved: it would be a guess which of their addresses is meant, and when they change.
fn parse_tcp(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.contains("://") {
        return Err(format!("{} is a URL; write HOST:PORT, as in 127.0.0.1:8080", quote(text)));
    }
    if parse_port(text).is_some() {
        return Err(format!("{} is only a port; did you mean 127.0.0.1:{text}?", quote(text)));
    }
    let no_address = || format!("{} is no address; write HOST:PORT, as in 127.0.0.1:8080", quote(text));
    let (host, digits) = text.rsplit_once(':').ok_or_else(no_address)?;
    let port = parse_port(digits).ok_or_else(no_address)?;
    match host {
        "" => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        _ if host.eq_ignore_ascii_case("localhost") => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        _ if host.contains(':') => {
            Err(format!("{} is no address; write an IPv6 address in brackets, as in [::1]:8080", quote(text)))
        }
        _ => Err(format!(
            "{} names no address of this machine; write an IP address, localhost, or nothing for all, \
             before :{port}",
            quote(text)
        )),
    }
}

/// Only digits: [`str::parse`] would accept `+80`, too.
fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
