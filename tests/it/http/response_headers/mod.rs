//! Headers of responses: added, removed, rewritten, and for one caller only.

mod added_and_removed;
mod cors_of_errors;
mod locations;
mod per_call;
