//! Lines for people (`log.format = "text"`): an output that gets lines of JSON, and writes a text for each.
//!
//! The thread of the sink makes the texts, from the lines that it would write. So a request's own thread does
//! the same work in both formats, and whatever a text shows has been through the rules for JSON before.

mod line;

use std::io::{self, ErrorKind, Write};

use memchr::memchr_iter;

/// Turns lines of JSON into lines for people, for `out`.
#[derive(Debug)]
pub(super) struct TextLines<W> {
    out: W,
    colored: bool,
    /// The texts of the lines that are being written.
    text: Vec<u8>,
    /// How much of them is written.
    written: usize,
}

impl<W: Write> TextLines<W> {
    pub(super) fn new(out: W, colored: bool) -> Self {
        Self { out, colored, text: Vec::new(), written: 0 }
    }

    /// Writes the rest of the texts.
    fn write_texts(&mut self) -> io::Result<()> {
        while self.written < self.text.len() {
            match self.out.write(&self.text[self.written..])? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => self.written += n,
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for TextLines<W> {
    /// Takes whole lines. After an error that passes, the same lines come again, and their texts go on.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.text.is_empty() {
            for json in lines.split_inclusive(|byte| *byte == b'\n') {
                line::write(json, self.colored, &mut self.text);
            }
        }
        let result = self.write_texts();
        if let Err(error) = &result
            && matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
        {
            return result.map(|()| 0);
        }
        // Each line has one line of text.
        let done = memchr_iter(b'\n', &self.text[..self.written]).count();
        self.text.clear();
        self.written = 0;
        match (result, done.checked_sub(1)) {
            (Ok(()), _) => Ok(lines.len()),
            (Err(error), None) => Err(error),
            (Err(_), Some(last)) => {
                Ok(memchr_iter(b'\n', lines).nth(last).map_or(lines.len(), |end| end + 1))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes in all, so many at once, and would block before each second write.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
        blocks: bool,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.blocks = !self.blocks;
            if self.blocks {
                return Err(ErrorKind::WouldBlock.into());
            }
            let n = bytes.len().min(7).min(self.room - self.taken.len());
            if n == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes as a sink's thread does; how many bytes of `lines` were taken, and what was written.
    fn written(lines: &str, room: usize) -> (usize, String) {
        let mut out = TextLines::new(Narrow { taken: Vec::new(), room, blocks: false }, false);
        let mut rest = lines.as_bytes();
        while !rest.is_empty() {
            match out.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        (lines.len() - rest.len(), String::from_utf8(out.out.taken).expect("text"))
    }

    #[test]
    fn each_line_is_written_once_or_counted_as_lost() {
        let line = r#"{"timestamp":"t","level":"INFO","message":"ready"}"#.to_owned() + "\n";
        let text = "t INFO    ready\n";
        for (room, whole) in [(1000, 3), (text.len() * 2 + 3, 2), (text.len() - 1, 0)] {
            let (taken, shown) = written(&line.repeat(3), room);
            assert_eq!(taken, line.len() * whole, "{room}");
            assert!(shown.starts_with(&text.repeat(whole)), "{shown}");
        }
    }
}
