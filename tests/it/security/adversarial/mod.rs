//! Clients that attack other clients, or the readers of the log.

mod cache_deception;
mod cache_poisoning;
mod connection_header;
mod log_injection;
mod query_credentials;
mod random_changes;
mod secrets;
mod values;
