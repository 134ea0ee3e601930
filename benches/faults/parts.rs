//! What the tests make Redis fail with.

#[path = "../../tests/it/support/blackhole.rs"]
mod blackhole;
#[path = "../../tests/it/support/middleman.rs"]
mod middleman;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/redis.rs"]
mod server;

pub(crate) use self::{
    blackhole::Blackhole,
    middleman::{Act, Middleman},
    server::RedisServer,
};
