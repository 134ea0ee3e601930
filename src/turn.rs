//! Whose turn it is to ask the upstream, among all replicas.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    dialect::Served,
    entry::Entry,
    flight::{Abandoned, Head, Sharing, Writer},
    flights::Landing,
    lookup::{Lookup, judge},
    question::Question,
    reply,
    store::{self, Lease},
};

/// How often another replica's answer is looked for.
const TURN_POLL: Duration = Duration::from_millis(20);

/// Whether to ask the upstream.
#[derive(Debug)]
pub enum Turn {
    /// Yes; with the lease where there are other replicas.
    Mine(Option<Lease>),
    /// No: another replica did.
    Stored(Arc<Entry>, Served),
    /// No: nobody waits for it any more.
    Nobodys,
}

/// Waits while another replica asks the same, and has it asked here where that takes too long.
pub async fn take(question: &Question, landing: &Landing, writer: &Writer, ends_when_deserted: bool) -> Turn {
    let Question { shared, live, route, inquiry, .. } = question;
    let Some(key) = &inquiry.key else { return Turn::Mine(None) };
    let deadline = (Instant::now() + live.config.coalesce.replica_wait).min(question.deadline().into_std());
    loop {
        match shared.store.turn(key, inquiry.ask.upstream_form.id).await {
            Ok(store::Turn::Mine(lease)) => return Turn::Mine(lease),
            Ok(store::Turn::Stored(entry)) => {
                return match judge(shared, route, inquiry, key, entry) {
                    Lookup::Hit(entry, served, _) => Turn::Stored(entry, served),
                    Lookup::Miss(..) => Turn::Mine(None),
                };
            }
            Ok(store::Turn::Unshareable) => {
                landing.remember_unshareable();
                writer.release();
                return Turn::Mine(None);
            }
            Ok(store::Turn::Theirs) if Instant::now() < deadline => {}
            Ok(store::Turn::Theirs) | Err(_) => return Turn::Mine(None),
        }
        tokio::select! {
            () = tokio::time::sleep(TURN_POLL) => {}
            () = writer.deserted(), if ends_when_deserted => return Turn::Nobodys,
        }
    }
}

/// Gives the readers an answer that another replica asked for.
///
/// # Errors
/// Where they have left.
pub async fn give(
    question: &Question,
    entry: &Entry,
    served: Served,
    writer: &Writer,
) -> Result<(), Abandoned> {
    let dialect = question.inquiry.dialect;
    let (headers, body) = reply::stored_parts(&question.route, dialect, entry, served, SystemTime::now());
    let head = Head { status: entry.status, headers, sharing: Sharing::Open, from_replica: true };
    writer.head(head);
    writer.chunk(body).await
}
