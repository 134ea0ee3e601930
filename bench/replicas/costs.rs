//! What each kind of event costs Redis.

use std::{
    thread,
    time::{Duration, Instant},
};

use support::{
    client::Client,
    redis_servers::{Counted, Servers},
};

use crate::fleet::{Fleet, ask, change};

/// The head of the table of [`Costs::row`].
pub(crate) const HEAD: &str = "\
| replicas | connections each | idle, each, a second | hit, near | hit, in Redis | miss, not stored | miss, stored | in a burst | invalidation |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// How long nothing is done.
    idle: Duration,
    /// Events of each kind.
    events: usize,
    /// Between two of them: so long that no replica reads two at once.
    pause: Duration,
    burst: usize,
    /// How many changes another replica is asked for.
    pub(crate) changes: usize,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        idle: Duration::from_secs(20),
        events: 20,
        pause: Duration::from_millis(100),
        burst: 500,
        changes: 200,
    };
    /// What a test's run does.
    pub(crate) const SMOKE: Self = Self {
        idle: Duration::from_millis(500),
        events: 3,
        pause: Duration::from_millis(20),
        burst: 20,
        changes: 3,
    };
}

/// Commands and bytes of one event.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) commands: f64,
    pub(crate) bytes: f64,
}

/// All that is known of so many replicas.
#[derive(Debug)]
pub(crate) struct Costs {
    pub(crate) replicas: f64,
    /// Of each replica.
    pub(crate) connections: f64,
    /// Of each replica, in a second.
    pub(crate) idle: Cost,
    near: Cost,
    /// None if there is no other replica.
    far: Option<Cost>,
    unstored: Cost,
    pub(crate) stored: Cost,
    pub(crate) burst: Cost,
    pub(crate) invalidation: Cost,
    /// The memory of an entry of 1 KiB, all that belongs to it included.
    pub(crate) entry: f64,
    /// Processor time of Redis for a command, in seconds.
    pub(crate) busy: f64,
}

impl Costs {
    pub(crate) fn measure(servers: &Servers, fleet: &Fleet, scale: Scale) -> Self {
        let replicas = fleet.len() as f64;
        let gauge = Gauge { servers, idle: Cost::default(), own: servers.own_cost() };
        let second = Duration::from_secs(1).div_f64(scale.idle.as_secs_f64());
        let idle = gauge.of(1, || thread::sleep(scale.idle)).times(second.as_secs_f64());
        let gauge = Gauge { idle, ..gauge };
        let (mut first, mut last) = (fleet.first(), fleet.last());
        let pause = || thread::sleep(scale.pause);
        let each = |what: &mut dyn FnMut(usize)| {
            gauge.of(scale.events, || {
                (0..scale.events).for_each(|number| {
                    what(number);
                    pause()
                })
            })
        };
        let stored =
            each(&mut |number| assert_ne!(ask(&mut first, &format!("paced {number}"), false), "HIT"));
        let unstored = each(&mut |number| {
            ask(&mut first, &format!("unstored {number}"), true);
        });
        let invalidation = each(&mut |number| change(&mut first, &format!("d{number}")));
        let before = servers.counted();
        let burst = gauge.of(scale.burst, || {
            for number in 0..scale.burst {
                ask(&mut first, &format!("burst {number}"), false);
            }
            thread::sleep(scale.pause);
        });
        let after = servers.counted();
        let hits = |client: &mut Client| {
            gauge.of(scale.burst, || {
                for number in 0..scale.burst {
                    assert_eq!(ask(client, &format!("burst {number}"), false), "HIT");
                }
            })
        };
        let (near, far) = (hits(&mut first), last.as_mut().map(hits));
        Self {
            replicas,
            connections: after.connections / replicas,
            idle: idle.times(1.0 / replicas),
            near,
            far,
            unstored,
            stored,
            burst,
            invalidation,
            entry: servers.entry_size(),
            busy: (after.busy - before.busy) / (after.commands - before.commands),
        }
    }

    /// A row of the table.
    pub(crate) fn row(&self) -> String {
        let far = self.far.map_or_else(|| "-".to_owned(), Cost::text);
        let Self { replicas, connections, idle, near, unstored, stored, burst, invalidation, .. } = self;
        let [idle, near, unstored, stored, burst, invalidation] =
            [idle, near, unstored, stored, burst, invalidation].map(|cost| cost.text());
        format!(
            "| {replicas:.0} | {connections:.1} | {idle} | {near} | {far} | {unstored} | {stored} | {burst} | {invalidation} |"
        )
    }
}

impl Cost {
    fn times(self, factor: f64) -> Self {
        Self { commands: self.commands * factor, bytes: self.bytes * factor }
    }

    fn text(self) -> String {
        // What others do meanwhile makes small differences.
        let [commands, bytes] = [self.commands, self.bytes].map(|value| value.max(0.0));
        format!("{commands:.1}, {bytes:.0} B")
    }
}

/// Measures what happens between two looks.
struct Gauge<'a> {
    servers: &'a Servers,
    /// What happens all the time, in a second.
    idle: Cost,
    /// What a look costs.
    own: Counted,
}

impl Gauge<'_> {
    /// The cost of one of so many events.
    fn of(&self, events: usize, what: impl FnOnce()) -> Cost {
        let (began, before) = (Instant::now(), self.servers.counted());
        what();
        let (took, after) = (began.elapsed().as_secs_f64(), self.servers.counted());
        let Cost { commands, bytes } = self.idle.times(took);
        Cost {
            commands: after.commands - before.commands - self.own.commands - commands,
            bytes: after.bytes - before.bytes - self.own.bytes - bytes,
        }
        .times(1.0 / events as f64)
    }
}
