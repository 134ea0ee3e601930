//! What the service's answer says about the nearest question's answer, which would have been served, or was.
//!
//! A task compares them once the answer is stored: no client waits for it.

use std::{sync::Arc, time::SystemTime};

use tokio::time::timeout;

use super::pending::{Pending, Searched};
use crate::{
    cache::{
        entry::Entry,
        key::Key,
        semantic::{
            answer::{AnswerSketch, Sameness},
            event::SemanticEvent,
            index::{Neighbour, Record},
            ledger::{Label, LabelSource},
        },
    },
    telemetry::log::events,
    time::unix_millis,
};

/// A longer answer is not embedded, in bytes: models cut long texts off, and what is cut off may differ.
const MAX_EMBEDDED: usize = 2_000;

/// What the service has answered.
#[derive(Debug)]
pub(crate) enum Answered {
    /// This, which is stored.
    Stored(Box<Entry>),
    /// Something that no stored answer could stand in for: it calls tools, or refuses.
    Otherwise,
}

impl Pending {
    /// Labels the question by what the service has answered, and remembers it, in a task of its own. With very many answers
    /// at once, this one is left out.
    pub(crate) fn answered(self, answered: Answered) {
        let Ok(permit) = Arc::clone(&self.semantic.comparisons).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _permit = permit;
            self.conclude(answered).await;
        });
    }

    async fn conclude(mut self, answered: Answered) -> Option<()> {
        let searched = self.searched().await?;
        let entry = match answered {
            Answered::Stored(entry) => Some(entry),
            Answered::Otherwise => None,
        };
        let text = entry.as_ref().and_then(|entry| super::answer_text(&self.context, entry));
        let nearest = searched.nearest.neighbours.first();
        let (Some(entry), Some(text)) = (entry, text) else {
            // A text was near, and the service says something else than a text.
            self.semantic.index.remove(&self.asked.key);
            self.label(&searched, nearest?, Sameness::Different, false);
            return None;
        };
        let answer = self.sketch(&searched, &text).await?;
        if let Some(nearest) = nearest {
            let answers = answer.compare(&nearest.answer);
            let same = match answers {
                Sameness::Same => true,
                Sameness::Different => false,
                Sameness::Unsure => self.judge(nearest, &text).await?,
            };
            self.label(&searched, nearest, answers, same);
        }
        self.remember(&searched, &entry, answer);
        Some(())
    }

    /// What is kept of the answer; `None` if its vector is missing at the moment.
    async fn sketch(&self, searched: &Searched, text: &str) -> Option<AnswerSketch> {
        let plain = AnswerSketch::new(text, None);
        let mut neighbours = searched.nearest.neighbours.iter();
        if let Some(same) = neighbours.find(|neighbour| neighbour.answer.text == plain.text) {
            return Some(same.answer.clone());
        }
        if text.len() > MAX_EMBEDDED {
            return Some(plain);
        }
        let (vector, embedder) = self.semantic.embed(&self.terms(), text).await?;
        (embedder == searched.embedder).then_some(AnswerSketch { vector: Some(vector), ..plain })
    }

    /// Whether the judge says that the answers are the same: without a judge, or a clear yes, they are not. `None` if the
    /// nearest answer is gone: then there was no hit.
    async fn judge(&self, nearest: &Neighbour, text: &str) -> Option<bool> {
        let Some(judge) = &self.semantic.judge else { return Some(false) };
        let shared = self.context.shared();
        let original = Key::parse(shared.namespace, &nearest.key)?;
        let patience = self.context.live().config.store.timeout;
        let entry = timeout(patience, shared.store.peek(&original)).await.ok()?.ok()??;
        let stored = super::answer_text(&self.context, &entry)?;
        if !nearest.answer.is_of(&stored) {
            return None;
        }
        Some(judge.says_same(&self.asked.question.text, &stored, text).await)
    }

    fn label(&mut self, searched: &Searched, nearest: &Neighbour, answers: Sameness, same: bool) {
        let Some(near) = searched.nearest.nearness() else { return };
        let audit = self.audit.take();
        let source = if audit.is_some() { LabelSource::Audit } else { LabelSource::Shadow };
        let at = unix_millis(SystemTime::now());
        let label = Label { at, partition: self.asked.question.partition, near, same, source };
        let route = &self.context.route.name;
        self.context.shared().stats.here().semantic.label(source, answers);
        events::semantic_label(&events::SemanticLabel {
            request_id: Some(&self.context.exchange.id),
            route,
            asked: &self.asked.key,
            original: &nearest.key,
            label: &label,
            answers,
            refused: searched.nearest.refused.as_ref().map(|(refused, guard)| (refused.similarity, *guard)),
        });
        if self.semantic.identity().as_ref() != Some(&searched.embedder) {
            return;
        }
        if let Some(audit) = audit {
            audit.labelled();
        }
        self.semantic.publish(SemanticEvent::Labelled { route: route.as_str().into(), label });
    }

    /// The question is one of the stored ones from now on.
    fn remember(&self, searched: &Searched, entry: &Entry, answer: AnswerSketch) {
        if self.semantic.identity().as_ref() != Some(&searched.embedder) {
            return;
        }
        let question = &self.asked.question;
        self.semantic.publish(SemanticEvent::Added(Record {
            key: self.asked.key.clone(),
            partition: question.partition,
            vector: searched.vector.clone(),
            signature: question.signature.clone(),
            answer,
            expires_at: entry
                .stored_at
                .saturating_add(u64::try_from(entry.ttl.as_millis()).unwrap_or(u64::MAX)),
            callers: question.caller.into_iter().collect(),
        }));
    }
}
