//! Clients that mean harm: to each other, or to whoever reads the log.

mod cache_deception;
mod cache_poisoning;
mod connection_header;
mod log_injection;
mod random_changes;
mod secrets;
