//! A spinner for what takes longer than a second.

use std::{
    io::{self, IsTerminal},
    pin::pin,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::timeout;

/// What takes less time shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

const TICK: Duration = Duration::from_millis(100);

/// Waits for `work`; shows what is being done meanwhile, on a terminal only.
pub(super) async fn during<T>(doing: &'static str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Ok(done) = timeout(PATIENCE, &mut work).await {
        return done;
    }
    let spinner = io::stderr().is_terminal().then(|| {
        let spinner = ProgressBar::new_spinner().with_message(doing);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, for {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(TICK);
        spinner
    });
    let done = work.await;
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    done
}
