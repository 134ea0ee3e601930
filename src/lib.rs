//! A caching sidecar reverse proxy for RAG and LLM services.

pub mod config;
pub mod dialect;
pub mod headers;
pub mod route;
