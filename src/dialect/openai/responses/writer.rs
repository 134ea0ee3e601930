//! Writes a stream of OpenAI Responses, whose events are numbered.

use crate::dialect::events::Event;

/// A stream whose events are numbered.
pub(super) struct Stream {
    pub(super) out: Vec<u8>,
    pub(super) next: usize,
}

impl Stream {
    /// Begins the next event.
    pub(super) fn event(&mut self, name: &str) -> Event<'_> {
        let number = self.next;
        self.next += 1;
        Event::new(name, &mut self.out).number("sequence_number", number)
    }
}
