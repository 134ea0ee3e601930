//! The lines about hits by meaning: labels, what a guard refused, and the `lifecycle` lines of thresholds and of the embedder.
//!
//! They have keys, digests and numbers, and no text of a question or an answer.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, json};
use tracing::Level;

use super::{SEMANTIC, lifecycle};
use crate::{
    cache::semantic::{
        answer::Sameness,
        guards::Guard,
        ledger::{Label, LedgerStatus},
        rounded_rate, rounded_similarity,
    },
    config::LogLevel,
    http::hex::Hex,
    telemetry::stats::semantic::source_name,
};

/// What a would-be hit, an audit or a report said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SemanticLabel<'a> {
    /// `None` for a report.
    pub(crate) request_id: Option<&'a str>,
    /// The route's name.
    pub(crate) route: &'a str,
    /// The key of the question that was asked.
    pub(crate) asked: &'a str,
    /// The key of the nearest stored question.
    pub(crate) original: &'a str,
    pub(crate) label: &'a Label,
    /// How the service's answer compares with the stored one, before a judge or the rule about unsure ones.
    pub(crate) answers: Sameness,
    /// A stored question that is nearer, and the guard that refused it.
    pub(crate) refused: Option<(f32, Guard)>,
}

/// Logs a label.
pub(crate) fn semantic_label(event: &SemanticLabel<'_>) {
    #[derive(Serialize)]
    struct Members<'a> {
        route: &'a str,
        key: &'a str,
        original: &'a str,
        partition: Hex<8>,
        similarity: f64,
        disagreement: f64,
        same: bool,
        /// The answers alone did not say, so this counts as not the same unless a judge says otherwise.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        unsure: bool,
        source: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        guard: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        refused_similarity: Option<f64>,
    }
    let SemanticLabel { request_id, route, asked, original, label, answers, refused } = *event;
    let mut partition = [0; 8];
    partition.copy_from_slice(&label.partition.0[..8]);
    let members = &Members {
        route,
        key: asked,
        original,
        partition: Hex(partition),
        similarity: rounded_similarity(label.near.similarity),
        disagreement: rounded_similarity(label.near.disagreement),
        same: label.same,
        unsure: answers == Sameness::Unsure,
        source: source_name(label.source),
        guard: refused.map(|(_, guard)| guard.name()),
        refused_similarity: refused.map(|(similarity, _)| rounded_similarity(similarity)),
    };
    let message = if label.same { "the answers are the same" } else { "the answers differ" };
    emit!(SEMANTIC, Level::INFO, "semantic_label", request_id, message, members);
}

/// A question whose only near neighbour a guard refused: there is nothing to label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SemanticRefused<'a> {
    pub(crate) request_id: Option<&'a str>,
    /// The route's name.
    pub(crate) route: &'a str,
    /// The key of the question that was asked.
    pub(crate) asked: &'a str,
    /// The key of the refused neighbour.
    pub(crate) nearest: &'a str,
    pub(crate) similarity: f32,
    pub(crate) guard: Guard,
}

/// Logs that a guard refused the nearest question, and no other one counts.
pub(crate) fn semantic_refused(event: &SemanticRefused<'_>) {
    #[derive(Serialize)]
    struct Members<'a> {
        route: &'a str,
        key: &'a str,
        original: &'a str,
        similarity: f64,
        guard: &'static str,
    }
    let SemanticRefused { request_id, route, asked, nearest, similarity, guard } = *event;
    let similarity = rounded_similarity(similarity);
    let members = &Members { route, key: asked, original: nearest, similarity, guard: guard.name() };
    emit!(SEMANTIC, Level::INFO, "semantic_refused", request_id, "a guard refused the nearest", members);
}

/// Logs that a route has a threshold, or another one than before.
pub(crate) fn semantic_certified(route: &str, status: &LedgerStatus) {
    let LedgerStatus { threshold, bound, labels, false_labels, .. } = *status;
    let members = [
        ("route", json!(route)),
        ("threshold", json!(threshold.map(rounded_similarity))),
        ("bound", json!(bound.map(rounded_rate))),
        ("labels", json!(labels)),
        ("false_labels", json!(false_labels)),
    ];
    let members = Map::from_iter(members.map(|(name, value)| (name.to_owned(), value)));
    lifecycle(LogLevel::Info, "hits by meaning: a threshold is certified", &members);
}

/// Logs that the bound of a route broke.
pub(crate) fn semantic_stepped_back(route: &str) {
    let message = "hits by meaning: too many were wrong, the route steps back into shadow";
    lifecycle(LogLevel::Warning, message, &Map::from_iter([("route".to_owned(), route.into())]));
}

/// Logs that vectors are missing, and why.
pub(crate) fn embedder_lost(problem: &str) {
    lifecycle(LogLevel::Warning, "embedder lost", &Map::from_iter([("reason".to_owned(), problem.into())]));
}

/// Logs that there are vectors again.
pub(crate) fn embedder_back(identity: &str) {
    lifecycle(LogLevel::Info, "embedder back", &Map::from_iter([("embedder".to_owned(), identity.into())]));
}

/// Logs that the embedder is another one, and that so many vectors of the former one went.
pub(crate) fn embedder_changed(identity: &str, removed: usize) {
    let members = [("embedder".to_owned(), identity.into()), ("removed".to_owned(), removed.into())];
    let message = "the embedder is another one: its vectors are gone";
    lifecycle(LogLevel::Warning, message, &Map::from_iter(members));
}

/// Logs that replicas do not hear of what this one learns, or this one not of what they learn; and why.
pub(crate) fn semantic_sharing_lost(reason: &str) {
    let message = "hits by meaning: replicas do not share what they learn";
    lifecycle(LogLevel::Warning, message, &Map::from_iter([("reason".to_owned(), reason.into())]));
}

/// Logs that replicas share what they learn again.
pub(crate) fn semantic_sharing_back() {
    lifecycle(LogLevel::Info, "hits by meaning: replicas share what they learn again", &Map::new());
}

/// Logs that the state file is not used, or not yet.
pub(crate) fn semantic_state_unused(path: &Path, reason: &str) {
    let members = [("path", json!(path.display().to_string())), ("reason", json!(reason))];
    let message = "hits by meaning: the state file is not used";
    let members = Map::from_iter(members.map(|(name, value)| (name.to_owned(), value)));
    lifecycle(LogLevel::Warning, message, &members);
}
