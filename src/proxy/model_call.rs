//! Calls of models: what they took, what that costs, and the counters of both.

use crate::{
    cache::{entry::Entry, price::Amount},
    dialect::usage::Usage,
    proxy::context::RequestContext,
    telemetry::calls::{AnsweredBy, CallLabels},
};

/// A call of a model: one that the upstream answered, or one that a hit saved.
#[derive(Clone, Debug)]
pub(crate) struct ModelCall {
    /// `None` if the answer names no model.
    pub(crate) model: Option<String>,
    /// The tokens that the call took.
    pub(crate) usage: Usage,
    /// What they cost; `None` if there is no price for the model, or if the answer does not tell its usage.
    pub(crate) cost: Option<Amount>,
}

impl ModelCall {
    /// Counts a call that the upstream answered.
    pub(crate) fn made(context: &RequestContext, model: Option<String>, usage: Option<Usage>) -> Self {
        Self::count(context, AnsweredBy::Upstream, model, usage)
    }

    /// Counts the call that made `entry`, which a hit saves. Takes the model's name out of the entry.
    pub(crate) fn saved(context: &RequestContext, entry: &mut Entry) -> Self {
        let call = Self::count(context, AnsweredBy::Store, entry.model.take(), entry.usage);
        context.shared().stats.here().tokens_saved.add(call.usage.total.unwrap_or(0));
        call
    }

    fn count(context: &RequestContext, by: AnsweredBy, model: Option<String>, usage: Option<Usage>) -> Self {
        let usage = usage.unwrap_or_default();
        let live = context.live();
        let cost = model.as_deref().and_then(|model| live.config.prices.cost(model, &usage));
        let number = live.counted_models.number(model.as_deref());
        let labels = CallLabels { model: number, kind: context.route.kind, by };
        context.shared().stats.here().calls.count(labels, &usage, cost);
        Self { model, usage, cost }
    }
}
