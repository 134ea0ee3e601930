//! Heads of responses: what of them is one call's, where they lead, and who may read them.

mod calls;
mod cors;
mod locations;
