//! What a scripted upstream answers, step by step.

use serde_json::Value;
use tokio::sync::watch;

/// A barrier between a test and its upstream: one waits until the other opens it.
#[derive(Clone, Debug)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Opens it, for good.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is open.
    pub(crate) fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is open.
    pub(crate) async fn passed(&self) {
        let mut state = self.0.subscribe();
        state.wait_for(|open| *open).await.expect("the gate is held here");
    }
}

/// One step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Writes exactly these bytes.
    Send(Vec<u8>),
    /// Waits until the test opens the gate.
    Wait(Gate),
    /// Opens the gate for the test.
    Open(Gate),
    /// Closes the connection.
    Close,
    /// Resets it.
    Reset,
    /// Does nothing for ever.
    Hang,
}

/// The steps of an answer. Without [`Script::close`], the connection stays open for the next request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// An empty script, for literal bytes.
    pub(crate) fn raw() -> Self {
        Self::default()
    }

    /// A whole answer with its length.
    pub(crate) fn whole(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let length = body.len().to_string();
        let mut all = headers.to_vec();
        if status != 204 && status != 304 {
            all.push(("content-length", &length));
        }
        Self::raw().head(status, &all).send(body)
    }

    /// A whole answer in JSON.
    pub(crate) fn json(body: &Value) -> Self {
        Self::json_with(200, &[], body)
    }

    /// A whole answer in JSON, with a status and further headers.
    pub(crate) fn json_with(status: u16, headers: &[(&str, &str)], body: &Value) -> Self {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        Self::whole(status, &all, body.to_string())
    }

    /// A 200 whose chunks follow.
    pub(crate) fn chunked(content_type: &str) -> Self {
        Self::raw().head(200, &[("content-type", content_type), ("transfer-encoding", "chunked")])
    }

    /// A whole stream of server-sent events.
    pub(crate) fn events(events: &[&str]) -> Self {
        events.iter().fold(Self::chunked("text/event-stream"), |script, event| script.chunk(event)).end()
    }

    /// Writes a head.
    pub(crate) fn head(self, status: u16, headers: &[(&str, &str)]) -> Self {
        let mut text = format!("HTTP/1.1 {status} Some\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        self.send(text + "\r\n")
    }

    /// Writes exactly these bytes.
    pub(crate) fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Writes a chunk.
    pub(crate) fn chunk(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(chunk)
    }

    /// Writes what ends a chunked body.
    pub(crate) fn end(self) -> Self {
        self.send("0\r\n\r\n")
    }

    /// Waits until the test opens `gate`.
    pub(crate) fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// This answer, after the test opens `gate`.
    pub(crate) fn after(self, gate: &Gate) -> Self {
        Self { steps: [vec![Step::Wait(gate.clone())], self.steps].concat() }
    }

    /// Opens `gate` for the test.
    pub(crate) fn tell(self, gate: &Gate) -> Self {
        self.step(Step::Open(gate.clone()))
    }

    /// Closes the connection.
    pub(crate) fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Goes on with another script.
    pub(crate) fn then(mut self, next: Self) -> Self {
        self.steps.extend(next.steps);
        self
    }

    /// Resets the connection.
    pub(crate) fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// The bytes that it writes.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let bytes = |step| if let Step::Send(bytes) = step { bytes } else { Vec::new() };
        self.steps.into_iter().flat_map(bytes).collect()
    }

    /// Never goes on.
    pub(crate) fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
