//! HTTP/1.1 by hand: requests as bytes, and responses read as they arrive.

/// A request with a JSON body.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A request without a body.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes()
}

/// A response, as far as it has arrived. Knows bodies with a length and chunked ones.
#[derive(Debug, Default)]
pub struct Response {
    /// The status line and the headers, once they are there.
    pub head: Option<String>,
    /// The body so far, without its chunks' framing.
    pub body: Vec<u8>,
    unread: Vec<u8>,
    /// What is left of the body, or of the chunk.
    left: usize,
    chunked: bool,
    /// Whether all of it has arrived.
    pub whole: bool,
}

impl Response {
    /// Takes what has arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        if self.head.is_none() {
            let Some(end) = find(&self.unread, b"\r\n\r\n") else { return };
            let rest = self.unread.split_off(end + 4);
            let head = String::from_utf8(std::mem::replace(&mut self.unread, rest)).expect("a head is text");
            self.chunked = header(&head, "transfer-encoding").is_some_and(|coding| coding == "chunked");
            let len = header(&head, "content-length").and_then(|len| len.parse().ok());
            self.left = len.unwrap_or(0);
            assert!(self.chunked || len.is_some(), "a body of unknown length: {head}");
            self.head = Some(head);
        }
        if self.chunked {
            while !self.whole && self.take_chunk() {}
        } else {
            self.take_body();
            self.whole = self.left == 0;
        }
    }

    fn take_body(&mut self) {
        let len = self.left.min(self.unread.len());
        self.body.extend_from_slice(&self.unread[..len]);
        self.unread.drain(..len);
        self.left -= len;
    }

    /// Takes what there is of a chunk; false where more must arrive first. `left` counts a chunk's closing CRLF.
    fn take_chunk(&mut self) -> bool {
        if self.left > 2 {
            self.left -= 2;
            self.take_body();
            self.left += 2;
        }
        if self.left > 2 || self.unread.len() < self.left {
            return false;
        }
        self.unread.drain(..std::mem::take(&mut self.left));
        let Some(end) = find(&self.unread, b"\r\n") else { return false };
        let size = std::str::from_utf8(&self.unread[..end]).expect("a chunk's size is text");
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
        if size == 0 {
            self.whole = self.unread.len() >= end + 4;
            return false;
        }
        self.unread.drain(..end + 2);
        self.left = size + 2;
        true
    }

    /// The status code; 0 before it is there.
    pub fn status(&self) -> u16 {
        let status = self.head.as_deref().and_then(|head| head.split(' ').nth(1));
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// What `X-Cache` says; empty where there is none.
    pub fn x_cache(&self) -> &str {
        self.head.as_deref().and_then(|head| header(head, "x-cache")).unwrap_or_default()
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
