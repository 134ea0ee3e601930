//! Asks the embedder again and again who it is: its server may change the model behind a name.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::calls::Calls;

/// How often a model is asked again.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The first pause after a failure; each further one is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// The longest pause after a failure.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The least time between two probes: odd vectors may come one after the other.
const GAP: Duration = Duration::from_secs(1);

/// Probes the embedder as long as it is there. `in_time` is what a vector may take.
pub(super) async fn run(calls: Arc<Calls>, in_time: Duration) {
    let mut retry = FIRST_RETRY;
    loop {
        let pause = match calls.probe(in_time).await {
            Ok(()) => {
                retry = FIRST_RETRY;
                INTERVAL
            }
            Err(_) => {
                let pause = retry;
                retry = (retry * 2).min(LONGEST_RETRY);
                pause
            }
        };
        sleep(GAP.min(pause)).await;
        // Whether it is time, or the embedder may be another one.
        let _ = timeout(pause.saturating_sub(GAP), calls.doubted()).await;
    }
}
