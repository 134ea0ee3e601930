//! Reads a file line by line, and skips the text of lines that are too long.

use std::{io, path::Path};

use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
};

#[derive(Debug)]
pub(super) struct LineReader {
    file: BufReader<File>,
    /// The longest line, in bytes.
    limit: u64,
    /// The number of the last line, from 1.
    number: u64,
    /// The bytes read so far.
    pub(super) at: u64,
    /// The bytes of the file when it was opened.
    pub(super) length: u64,
}

#[derive(Debug)]
pub(super) struct NumberedLine {
    /// From 1.
    pub(super) number: u64,
    /// `None` if the line is too long.
    pub(super) text: Option<Vec<u8>>,
}

impl LineReader {
    /// Opens the file at `path`. A line of more than `limit` bytes is too long.
    pub(super) async fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = File::open(path).await?;
        let length = file.metadata().await?.len();
        Ok(Self { file: BufReader::new(file), limit, number: 0, at: 0, length })
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<NumberedLine>> {
        let mut text = Vec::new();
        let read = self.read_piece(&mut text).await?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if read <= self.limit {
            return Ok(Some(NumberedLine { number: self.number, text: Some(text) }));
        }
        while !text.ends_with(b"\n") {
            text.clear();
            if self.read_piece(&mut text).await? == 0 {
                break;
            }
        }
        Ok(Some(NumberedLine { number: self.number, text: None }))
    }

    /// Reads up to the line's end, or one byte more than a line may have.
    async fn read_piece(&mut self, text: &mut Vec<u8>) -> io::Result<u64> {
        let read = (&mut self.file).take(self.limit + 1).read_until(b'\n', text).await? as u64;
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_numbered_and_bounded() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("lines");
        let long = "x".repeat(100);
        std::fs::write(&path, format!("a\n\n{long}\nb\r\n{long}\nc")).expect("a file");
        let mut reader = LineReader::open(&path, 20).await.expect("a file");
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await.expect("it can be read") {
            let text = line.text.map(|text| String::from_utf8(text).expect("text").trim_end().to_owned());
            lines.push((line.number, text));
        }
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            lines,
            [(1, text("a")), (2, text("")), (3, None), (4, text("b")), (5, None), (6, text("c"))]
        );
        assert_eq!(reader.at, reader.length);
    }
}
