//! The parts of the tests' support that make Redis fail.

#[path = "../../tests/it/support/blackhole.rs"]
mod blackhole;
#[path = "../../tests/it/support/fault_proxy.rs"]
mod fault_proxy;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/redis.rs"]
mod server;

pub(crate) use self::{
    blackhole::Blackhole,
    fault_proxy::{Action, FaultProxy},
    server::RedisServer,
};
