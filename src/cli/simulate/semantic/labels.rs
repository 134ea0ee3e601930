//! Reads the labels in a log: the lines of would-be hits, audits and reports.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use memchr::memmem;
use serde::Deserialize;

use crate::{
    cache::semantic::{
        ledger::{Label, Nearness},
        question::Partition,
    },
    cli::simulate::line::{event_type, micros, no_line},
    telemetry::stats::semantic::LABEL_SOURCES,
};

/// The labels of each route, in the order of their lines.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// The routes that count; if empty, all of them.
    wanted: Vec<String>,
    /// The names of all routes in the log.
    pub(super) routes: BTreeSet<String>,
    by_route: BTreeMap<String, Vec<Label>>,
}

/// A `semantic_label` line.
#[derive(Debug, Deserialize)]
struct LabelLine<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    route: Cow<'a, str>,
    #[serde(borrow)]
    partition: Cow<'a, str>,
    similarity: f32,
    disagreement: f32,
    same: bool,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

impl Labels {
    /// Collects the labels of the routes `wanted`; if there are none, of all.
    pub(super) fn new(wanted: &[String]) -> Self {
        Self { wanted: wanted.to_vec(), ..Self::default() }
    }

    /// Takes a line of the log, of whatever event.
    ///
    /// # Errors
    /// A text for the user, if the line is none of the log's.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let line = line.trim_ascii();
        // Most lines of a log are about something else.
        if memmem::find(line, b"semantic_label").is_none() || event_type(line)?.as_deref() != Some(EVENT) {
            return Ok(());
        }
        let label: LabelLine<'_> = serde_json::from_slice(line).map_err(no_line)?;
        if !self.routes.contains(&*label.route) {
            self.routes.insert(label.route.clone().into_owned());
        }
        if !self.wanted.is_empty() && !self.wanted.iter().any(|wanted| *wanted == label.route) {
            return Ok(());
        }
        let read = label.read()?;
        match self.by_route.get_mut(&*label.route) {
            Some(labels) => labels.push(read),
            None => {
                self.by_route.insert(label.route.into_owned(), vec![read]);
            }
        }
        Ok(())
    }

    /// The labels of each route, the oldest first: the lines of several logs come one log after the other.
    pub(super) fn finish(self) -> BTreeMap<String, Vec<Label>> {
        let mut by_route = self.by_route;
        by_route.values_mut().for_each(|labels| labels.sort_by_key(|label| label.at));
        by_route
    }
}

const EVENT: &str = "semantic_label";

impl LabelLine<'_> {
    fn read(&self) -> Result<Label, String> {
        let at = micros(&self.timestamp).ok_or("its `timestamp` is no time")?;
        let source = LABEL_SOURCES.into_iter().find(|(_, name)| *name == self.source);
        let (source, _) = source.ok_or_else(|| format!("its `source` is none: {:?}", self.source))?;
        let near = Nearness { similarity: self.similarity, disagreement: self.disagreement };
        Ok(Label {
            at: u64::try_from(at / 1000).unwrap_or_default(),
            partition: Partition(*blake3::hash(self.partition.as_bytes()).as_bytes()),
            near,
            same: self.same,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::semantic::ledger::LabelSource;

    fn line(route: &str, similarity: f32, source: &str) -> String {
        format!(
            r#"{{"timestamp":"1970-01-01T00:00:01.500Z","level":"INFO","logger":"rag.semantic","event_type":"semantic_label",
            "message":"the answers are the same","route":"{route}","key":"a","original":"b","partition":"ab",
            "similarity":{similarity},"disagreement":0.5,"same":true,"source":"{source}"}}"#
        )
    }

    #[test]
    fn the_logs_own_labels_are_read() {
        let mut labels = Labels::new(&[]);
        for line in include_str!("../../../telemetry/log/golden/events.jsonl").lines() {
            labels.take(line.as_bytes()).expect(line);
        }
        let labels = labels.finish();
        let of: Vec<_> = labels["support-chat"]
            .iter()
            .map(|label| (label.near.similarity, label.near.disagreement, label.same, label.source))
            .collect();
        let expected = [
            (0.9731, 0.0, true, LabelSource::Shadow),
            (0.91, 0.5, false, LabelSource::Audit),
            (0.91, 0.5, false, LabelSource::Report),
        ];
        assert_eq!((labels.len(), of.as_slice()), (1, expected.as_slice()));
    }

    #[test]
    fn only_labels_of_the_wanted_routes_count() {
        for (wanted, expected) in [(&[][..], 3), (&["a"], 2), (&["b"], 1), (&["c"], 0)] {
            let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
            let mut labels = Labels::new(&wanted);
            for text in [line("a", 0.9, "shadow"), line("b", 0.8, "audit"), line("a", 0.7, "report")] {
                labels.take(text.as_bytes()).expect("a line");
            }
            labels.take(br#"{"event_type":"lifecycle","message":"a semantic_label"}"#).expect("another line");
            assert_eq!(labels.routes.iter().collect::<Vec<_>>(), ["a", "b"]);
            assert_eq!(labels.finish().values().map(Vec::len).sum::<usize>(), expected, "{wanted:?}");
        }
    }

    #[test]
    fn what_is_no_label_is_told() {
        let mut labels = Labels::new(&[]);
        for text in [
            line("a", 0.9, "elsewhere"),
            line("a", 0.9, "shadow").replace("1970", "x"),
            line("a", 0.9, "shadow").replace("\"same\":true,", ""),
            r#"{"event_type":"semantic_label","#.to_owned(),
        ] {
            assert!(labels.take(text.as_bytes()).is_err(), "{text}");
        }
        assert!(labels.finish().values().all(Vec::is_empty));
    }
}
