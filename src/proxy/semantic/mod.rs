//! Hits by meaning in a request's life: on an exact miss the nearest stored question is found while the service is asked.
//! The service's answer is a label; enough labels certify a threshold, and from there on near questions are served.

pub(crate) mod embedder;
pub(crate) mod question;
pub(crate) mod status;
