//! What goes wrong, one thing after the other, at random.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::model::World;
use crate::support::{Act, FaultProxy, RedisServer};

/// All that can be put out of order.
pub(super) struct Outages {
    pub(super) world: Arc<World>,
    pub(super) redis: RedisServer,
    pub(super) proxy: FaultProxy,
    /// How often the upstream's mood has changed.
    pub(super) turns: usize,
}

/// Of a thousand requests, how many fail, turn by turn.
const MOODS: [u32; 4] = [300, 0, 50, 0];

impl Outages {
    /// Makes trouble until then, and leaves everything in order.
    pub(super) async fn run(&mut self, until: Instant) {
        while Instant::now() < until {
            self.world.trouble(MOODS[self.turns % MOODS.len()]);
            self.turns += 1;
            // Long enough for calm to be calm.
            for _ in 0..6 {
                self.redis_trouble().await;
                moment().await;
                if Instant::now() >= until {
                    break;
                }
            }
        }
        self.world.trouble(0);
    }

    async fn redis_trouble(&mut self) {
        match fastrand::u8(..9) {
            0 => {
                self.redis.pause();
                moment().await;
                self.redis.resume();
            }
            1 => {
                self.redis.kill();
                moment().await;
                self.redis.restart();
            }
            2 => self.follow(|_| Act::Late(Duration::from_millis(100))).await,
            3 => self.follow(|_| Act::Never).await,
            4 => self.follow(|_| Act::Say("-LOADING Redis is loading\r\n")).await,
            5 => self.follow(|name| if name == "SET" { Act::Say("-OOM\r\n") } else { Act::Pass }).await,
            6 | 7 => {
                let is_read = |name: &str| matches!(name, "GET" | "MGET") && fastrand::u8(..20) == 0;
                self.follow(move |name| if is_read(name) { Act::Twice } else { Act::Pass }).await;
            }
            _ => {}
        }
    }

    async fn follow(&self, rule: impl Fn(&str) -> Act + Send + Sync + 'static) {
        self.proxy.follow(rule);
        moment().await;
        self.proxy.pass();
    }
}

/// Some hundred milliseconds.
async fn moment() {
    sleep(Duration::from_millis(fastrand::u64(50..700))).await;
}
