//! Conversations: a turn that goes to the upstream changes them.

use std::time::Duration;

use crate::{
    generations::{Dependencies, Mark, Point, Subject},
    question::Question,
    retiring::retire,
};

/// Retires, before a turn goes to the upstream, what was answered and seen in its conversations. The place in the
/// order of retirements from which on its own answer depends on what is retired; `None` where that is not known. The
/// store is not waited for longer than `patience`: other replicas are then told later.
pub async fn begin(question: &Question, patience: Duration) -> Option<Point> {
    let (store, conversations) = (&question.shared().store, &question.inquiry.conversations);
    if conversations.is_empty() {
        return store.now();
    }
    let subjects = subjects(conversations, &[Subject::Conversation, Subject::ConversationView]);
    match store.retire_within(&subjects, patience).await {
        Ok(point) => Some(point),
        Err(_) => {
            question.shared().stats.errors.increment();
            None
        }
    }
}

/// Retires, once the turn is over, what was seen of its conversations meanwhile; and what was answered, where another
/// turn began while this one ran: that one's answer may know nothing of this one.
pub async fn end(question: &Question, began: Option<Point>) {
    let (shared, conversations) = (question.shared(), &question.inquiry.conversations);
    if conversations.is_empty() {
        return;
    }
    let overlapped = began.zip(question.inquiry.key.as_ref()).is_none_or(|(began, key)| {
        let marks = Mark::all(&subjects(conversations, &[Subject::Conversation]));
        shared.store.generations().is_retired(began, Dependencies { key, marks: &marks })
    });
    let changed: &[fn(String) -> Subject] = if overlapped {
        &[Subject::Conversation, Subject::ConversationView]
    } else {
        &[Subject::ConversationView]
    };
    retire(shared, &subjects(conversations, changed)).await;
}

fn subjects(conversations: &[String], of: &[fn(String) -> Subject]) -> Vec<Subject> {
    conversations.iter().flat_map(|id| of.iter().map(|of| of(id.clone()))).collect()
}
