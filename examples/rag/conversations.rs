//! Conversations: what was asked and answered, and `GET` and `DELETE` of it.

use super::http::{Failure, Reply, empty_reply, json_reply};
use super::{Service, unix_time};
use ::http::StatusCode;
use serde::Serialize;
use std::collections::HashMap;

/// Nobody closes a conversation, so the one that rested longest has to make room.
const MAX_CONVERSATIONS: usize = 10_000;
const MAX_MESSAGES: usize = 200;

/// All conversations, by id.
#[derive(Default)]
pub(super) struct Conversations {
    by_id: HashMap<String, Conversation>,
}

#[derive(Serialize)]
struct Conversation {
    id: String,
    history: Vec<Message>,
    updated_at: u64,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: String,
}

impl Conversations {
    /// The last question of a conversation; the outer `None` is for one that does not exist.
    pub(super) fn last_question(&self, id: &str) -> Option<Option<String>> {
        let mut history = self.by_id.get(id)?.history.iter().rev();
        Some(history.find(|message| message.role == "user").map(|message| message.content.clone()))
    }

    /// Adds a turn and gives the conversation's id. Without an id the turn opens a new conversation, under an id that
    /// nobody can guess from another; one that is gone gives nothing.
    pub(super) fn append(&mut self, id: Option<&str>, question: &str, answer: &str) -> Option<String> {
        let id = match id {
            Some(id) => id.to_owned(),
            None => self.open(),
        };
        let conversation = self.by_id.get_mut(&id)?;
        let turn = [("user", question), ("assistant", answer)];
        conversation
            .history
            .extend(turn.map(|(role, content)| Message { role, content: content.to_owned() }));
        let too_many = conversation.history.len().saturating_sub(MAX_MESSAGES);
        conversation.history.drain(..too_many);
        conversation.updated_at = unix_time();
        Some(id)
    }

    fn open(&mut self) -> String {
        if self.by_id.len() >= MAX_CONVERSATIONS {
            let oldest = self.by_id.values().min_by_key(|conversation| conversation.updated_at);
            if let Some(id) = oldest.map(|conversation| conversation.id.clone()) {
                self.by_id.remove(&id);
            }
        }
        let id = format!("{:032x}", fastrand::u128(..));
        let conversation = Conversation { id: id.clone(), history: Vec::new(), updated_at: unix_time() };
        self.by_id.insert(id.clone(), conversation);
        id
    }
}

/// `GET /api/v1/conversations/{id}`
pub(super) fn show(service: &Service, id: &str) -> Result<Reply, Failure> {
    let conversations = service.conversations();
    let conversation = conversations.by_id.get(id).ok_or_else(not_found)?;
    Ok(json_reply(StatusCode::OK, conversation))
}

/// `DELETE /api/v1/conversations/{id}`
pub(super) fn delete(service: &Service, id: &str) -> Result<Reply, Failure> {
    service.conversations().by_id.remove(id).ok_or_else(not_found)?;
    Ok(empty_reply(StatusCode::NO_CONTENT))
}

/// What everyone says of a conversation that is not there.
pub(super) fn not_found() -> Failure {
    Failure::detail(StatusCode::NOT_FOUND, "Conversation not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_add_up() {
        let mut conversations = Conversations::default();
        let id = conversations.append(None, "First?", "Yes.").expect("a new conversation");
        assert_eq!(conversations.append(Some(&id), "Second?", "No.").as_ref(), Some(&id));
        assert_eq!(conversations.last_question(&id), Some(Some("Second?".to_owned())));
        assert_eq!(conversations.by_id[&id].history.len(), 4);
    }

    #[test]
    fn an_unknown_id_opens_nothing() {
        let mut conversations = Conversations::default();
        assert_eq!(conversations.append(Some("nope"), "First?", "Yes."), None);
        assert!(conversations.by_id.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut conversations = Conversations::default();
        for _ in 0..=MAX_CONVERSATIONS {
            conversations.append(None, "q", "a");
        }
        assert_eq!(conversations.by_id.len(), MAX_CONVERSATIONS);
    }
}
