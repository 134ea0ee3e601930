//! Clients that mean harm.

mod deception;
mod interference;
mod named;
mod poisoning;
