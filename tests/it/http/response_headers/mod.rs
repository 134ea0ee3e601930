//! Heads of responses: what of them is one call's, where they lead, and who may read them.

mod added_and_removed;
mod cors_of_errors;
mod locations;
mod per_call;
