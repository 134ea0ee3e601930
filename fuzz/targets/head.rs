#![no_main]

#[allow(dead_code, reason = "each target has a body of its own")]
#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::head(data));
