//! Clients that mean harm: to each other, or to whoever reads the log.

mod canaries;
mod deception;
mod interference;
mod lines;
mod named;
mod poisoning;
