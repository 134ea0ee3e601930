//! A caching sidecar reverse proxy for RAG and LLM services.

pub mod body;
pub mod config;
pub mod dialect;
pub mod entry;
pub mod error;
pub mod flight;
pub mod headers;
pub mod json;
pub mod key;
pub mod log;
pub mod normal;
pub mod policy;
pub mod route;
pub mod store;
pub mod upstream;
