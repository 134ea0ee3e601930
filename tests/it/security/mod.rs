//! The promise: a hostile client harms neither the service nor other callers, and what is stored can be
//! sealed ([SECURITY.md](../../../docs/SECURITY.md)).

mod adversarial;
mod encryption;
mod fuzzing;
mod smuggling;
