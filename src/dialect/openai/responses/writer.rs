//! Writes a stream of OpenAI Responses, whose events are numbered.

use crate::dialect::events::Event;

#[derive(Default)]
pub(super) struct StreamWriter {
    out: Vec<u8>,
    next: usize,
}

impl StreamWriter {
    /// The stream so far.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Begins the next event.
    pub(super) fn event(&mut self, name: &str) -> Event<'_> {
        let number = self.next;
        self.next += 1;
        Event::new(name, &mut self.out).number("sequence_number", number)
    }
}
