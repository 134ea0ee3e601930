//! An answer, as far as the load generator reads it.

/// The most headers of an answer.
const HEADERS: usize = 100;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    status: u16,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The answer in `bytes`, once it is complete.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(len) = head.parse(bytes).expect("an answer in HTTP/1.1") else {
            return None;
        };
        let header = |name: &str| {
            head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|it| it.value)
        };
        let body = &bytes[len..];
        let whole = match header("content-length") {
            Some(len) => str::from_utf8(len).ok()?.parse() == Ok(body.len()),
            // Nothing is sent behind an answer before the next question, and no text of ours has this in it.
            None => body.ends_with(b"\r\n0\r\n\r\n"),
        };
        whole.then(|| Self { status: head.code.unwrap_or_default(), body })
    }

    /// Whether it is a 200 that contains the mark, if there is one.
    pub(crate) fn is_right(&self, mark: Option<&[u8]>) -> bool {
        self.status == 200 && mark.is_none_or(|mark| memchr::memmem::find(self.body, mark).is_some())
    }
}
