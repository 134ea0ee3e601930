//! Random outages of Redis and of the upstream, one after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::model::Model;
use crate::support::{Action, FaultProxy, RedisServer};

/// What fails.
pub(super) struct Outages {
    pub(super) model: Arc<Model>,
    pub(super) redis: RedisServer,
    pub(super) proxy: FaultProxy,
    /// How often the upstream's failure rate has changed.
    pub(super) turns: usize,
}

/// How many of a thousand requests fail, turn by turn.
const FAILURES: [u32; 4] = [300, 0, 50, 0];

impl Outages {
    /// Makes things fail until then, and ends with everything working.
    pub(super) async fn run(&mut self, until: Instant) {
        while Instant::now() < until {
            self.model.fail(FAILURES[self.turns % FAILURES.len()]);
            self.turns += 1;
            // Longer than `SETTLED`, so that in a turn without failures requests must succeed.
            for _ in 0..6 {
                self.fail_redis().await;
                pause().await;
                if Instant::now() >= until {
                    break;
                }
            }
        }
        self.model.fail(0);
    }

    async fn fail_redis(&mut self) {
        match fastrand::u8(..9) {
            0 => {
                self.redis.pause();
                pause().await;
                self.redis.resume();
            }
            1 => {
                self.redis.kill();
                pause().await;
                self.redis.restart();
            }
            2 => self.apply(|_| Action::Delay(Duration::from_millis(100))).await,
            3 => self.apply(|_| Action::Hang).await,
            4 => self.apply(|_| Action::Reply("-LOADING Redis is loading\r\n")).await,
            5 => {
                self.apply(|name| if name == "SET" { Action::Reply("-OOM\r\n") } else { Action::Pass }).await
            }
            6 | 7 => {
                let is_read = |name: &str| matches!(name, "GET" | "MGET") && fastrand::u8(..20) == 0;
                self.apply(move |name| if is_read(name) { Action::Duplicate } else { Action::Pass }).await;
            }
            _ => {}
        }
    }

    async fn apply(&self, rule: impl Fn(&str) -> Action + Send + Sync + 'static) {
        self.proxy.apply(rule);
        pause().await;
        self.proxy.pass();
    }
}

/// Some hundred milliseconds of an outage, or of normal work. The random length is what this test is for:
/// nothing waits for a result here.
async fn pause() {
    sleep(Duration::from_millis(fastrand::u64(50..700))).await;
}
