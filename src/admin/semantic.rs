//! The calls about hits by meaning.

use serde_json::{Value, json};

use super::error::AdminError;
use crate::{
    cache::key::Key,
    proxy::{
        semantic::{
            NotServed, Semantic,
            status::{RouteStatus, SemanticStatus},
        },
        state::Live,
    },
    telemetry::metrics::{SemanticGauges, SemanticRouteGauges},
};

/// `POST /entries/KEY/wrong`
pub(super) fn wrong(live: &Live, key: &Key) -> Result<Value, AdminError> {
    let reported = running(live)?.report_wrong(key).map_err(|NotServed| {
        AdminError::not_found(
            "no hit by meaning of late was asked under this key or answered by it, as far as this process remembers; \
             or it was reported already",
        )
    })?;
    Ok(json!({"reported": reported}))
}

/// Hits by meaning, if they are on.
pub(super) fn running(live: &Live) -> Result<&Semantic, AdminError> {
    live.semantic
        .as_deref()
        .ok_or_else(|| AdminError::not_found("hits by meaning are off: semantic.mode switches them on"))
}

/// What metrics show.
pub(super) fn gauges(status: SemanticStatus) -> SemanticGauges {
    SemanticGauges {
        limit: status.limit,
        embedder_is_up: status.problem.is_none(),
        entries: status.entries as u64,
        max_entries: status.max_entries as u64,
        routes: status.routes.into_iter().map(route_gauges).collect(),
    }
}

fn route_gauges(status: RouteStatus) -> SemanticRouteGauges {
    let is_stepped_back = status.is_stepped_back();
    let RouteStatus { route, ledger, .. } = status;
    SemanticRouteGauges {
        route,
        threshold: ledger.threshold.map(f64::from),
        bound: ledger.bound,
        labels: ledger.labels as u64,
        labels_missing: ledger.missing as u64,
        is_stepped_back,
    }
}
