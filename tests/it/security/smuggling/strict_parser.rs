//! The strictest parser of requests: what it accepts as one request, every server accepts as one request.

/// What the bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The beginning of a request.
    Part,
    /// One request, this long.
    Whole { length: usize },
    /// Something that two servers might read differently.
    Doubtful(String),
}

/// Reads the request that `bytes` begin with.
pub(crate) fn read(bytes: &[u8]) -> Read {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Read::Part };
    match framing(&bytes[..end]) {
        Err(why) => Read::Doubtful(why),
        Ok(Framing::Length(length)) if bytes.len() < end + 4 + length => Read::Part,
        Ok(Framing::Length(length)) => Read::Whole { length: end + 4 + length },
        Ok(Framing::Chunks) => chunks(bytes, end + 4),
    }
}

enum Framing {
    Length(usize),
    Chunks,
}

/// How the body ends, by a head in which nothing is doubtful.
fn framing(head: &[u8]) -> Result<Framing, String> {
    let head =
        std::str::from_utf8(head).map_or_else(|_| String::from_utf8_lossy(head).into_owned(), str::to_owned);
    let mut lines = head.split("\r\n");
    let first: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = first[..] else { return Err(format!("a first line {first:?}")) };
    if !is_token(method) || !target.starts_with('/') || target.chars().any(|c| c.is_ascii_control()) {
        return Err(format!("a first line {first:?}"));
    }
    let (mut hosts, mut framings) = (0, Vec::new());
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("a line {line:?}"))?;
        if !is_token(name) || value.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err(format!("a line {line:?}"));
        }
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("host", host) if !host.is_empty() => hosts += 1,
            ("content-length", length) if length.bytes().all(|b| b.is_ascii_digit()) => {
                framings.push(Framing::Length(length.parse().map_err(|_| format!("a length {length}"))?));
            }
            ("transfer-encoding", "chunked") => framings.push(Framing::Chunks),
            ("host" | "content-length" | "transfer-encoding", _) => return Err(format!("a line {line:?}")),
            _ => {}
        }
    }
    match (hosts, framings.len()) {
        (1, 0) => Ok(Framing::Length(0)),
        (1, 1) => Ok(framings.remove(0)),
        (1, _) => Err("more than one framing".to_owned()),
        _ => Err(format!("{hosts} hosts")),
    }
}

fn chunks(bytes: &[u8], mut at: usize) -> Read {
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Read::Part };
        let size = &bytes[at..at + end];
        let is_hex = !size.is_empty() && size.len() < 8 && size.iter().all(u8::is_ascii_hexdigit);
        let Some(size) = is_hex.then(|| usize::from_str_radix(&String::from_utf8_lossy(size), 16).unwrap())
        else {
            return Read::Doubtful(format!("a chunk of size {:?}", String::from_utf8_lossy(size)));
        };
        let next = at + end + 2 + size;
        match bytes.get(next..next + 2) {
            None => return Read::Part,
            Some(b"\r\n") if size == 0 => return Read::Whole { length: next + 2 },
            Some(b"\r\n") => at = next + 2,
            Some(_) => return Read::Doubtful("a chunk that is longer than it says, or a trailer".to_owned()),
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[test]
fn the_strict_parser_separates_doubtful_from_good_requests() {
    for (bytes, expected) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", Some(true)),
        ("GET / HTTP/1.1\r\nhost: a\r\n", None),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}", Some(true)),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{", None),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Some(true)),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
            Some(false),
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}.\r\n0\r\n\r\n",
            Some(false),
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n",
            Some(false),
        ),
        ("GET / HTTP/1.1\r\n\r\n", Some(false)),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", Some(false)),
        ("GET / HTTP/1.1\r\nhost: a\nx: 1\r\n\r\n", Some(false)),
        ("GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n", Some(false)),
    ] {
        match (read(bytes.as_bytes()), expected) {
            (Read::Part, None) | (Read::Doubtful(_), Some(false)) => {}
            (Read::Whole { length }, Some(true)) => assert_eq!(length, bytes.len()),
            (read, _) => panic!("{bytes:?}: {read:?}"),
        }
    }
}
