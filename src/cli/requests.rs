//! The requests of a running sidecache as they end, for `tail` and `top`.

use std::{collections::VecDeque, time::Duration};

use form_urlencoded::Serializer;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::timeout;

use super::client::AdminCall;
use crate::{
    config::Config, http::sse::EventDecoder, proxy::upstream::body::UpstreamBody,
    telemetry::terminal::escaped,
};

/// A stream that says nothing for so long is dead: it has a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// What a stream of requests says.
#[derive(Debug)]
pub(super) enum Told {
    /// A request has ended: its JSON.
    Request(String),
    /// So many had no room: the JSON that says so, and the count.
    Missed(String, u64),
}

/// A stream of requests.
#[derive(Debug)]
pub(super) struct Requests {
    body: UpstreamBody,
    decoder: EventDecoder,
    told: VecDeque<Told>,
}

impl Requests {
    /// Begins to read from the admin listener at `url`; `filter` has parameters of `GET /requests`.
    ///
    /// # Errors
    /// One line for the user.
    pub(super) async fn open(
        url: Option<&str>,
        filter: &[(&str, &str)],
        config: &Config,
    ) -> Result<Self, String> {
        let query = Serializer::new(String::new()).extend_pairs(filter).finish();
        let call =
            AdminCall { url, path: &format!("/requests?{query}"), body: None, answer_member: "requests" };
        let (_, body) = call.open(config, "text/event-stream").await?;
        Ok(Self { body, decoder: EventDecoder::default(), told: VecDeque::new() })
    }

    /// What is told next; `None` once the stream has ended or is cut.
    pub(super) async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            let Ok(Some(Ok(frame))) = timeout(SILENCE, self.body.frame()).await else { return None };
            let bytes = frame.into_data().unwrap_or_default();
            self.decoder.feed(&bytes, |event| {
                self.told.extend(told(&event.name, event.data));
            });
        }
    }
}

fn told(name: &str, data: String) -> Option<Told> {
    #[derive(Deserialize)]
    struct Missed {
        missed: u64,
    }
    match name {
        "" => Some(Told::Request(data)),
        "missed" => {
            let count = serde_json::from_str(&data).map_or(0, |Missed { missed }| missed);
            Some(Told::Missed(data, count))
        }
        // A later version may tell more.
        _ => None,
    }
}

/// A request that has ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ended {
    time: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) cache: String,
    pub(super) reason: String,
    pub(super) route: String,
    ms: f64,
    bytes: u64,
}

impl Ended {
    pub(super) fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The time of day, without the date.
    pub(super) fn clock(&self) -> String {
        let time = self.time.split_once('T').map_or(&*self.time, |(_, time)| time);
        escaped(time.trim_end_matches('Z'))
    }

    /// As in `1.2 ms` or `12.3 s`.
    pub(super) fn took(&self) -> String {
        show_millis(self.ms)
    }

    pub(super) fn size(&self) -> String {
        crate::telemetry::stats::human_bytes(self.bytes)
    }
}

/// A time in milliseconds, short.
pub(super) fn show_millis(millis: f64) -> String {
    match millis {
        ..9.95 => format!("{millis:.1} ms"),
        ..999.5 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (millis, shown) in
            [(0.04, "0.0 ms"), (1.23, "1.2 ms"), (9.96, "10 ms"), (803.2, "803 ms"), (1234.0, "1.2 s")]
        {
            assert_eq!(show_millis(millis), shown);
        }
    }

    #[test]
    fn what_is_not_known_is_empty() {
        let ended = Ended::parse(r#"{"time": "2026-12-01T07:00:00.123Z", "status": 404, "new": []}"#);
        let ended = ended.expect("a request");
        assert_eq!((&*ended.clock(), ended.status, &*ended.route), ("07:00:00.123", 404, ""));
        assert!(Ended::parse("{").is_none() && Ended::parse(r#"{"status": "x"}"#).is_none());
    }
}
