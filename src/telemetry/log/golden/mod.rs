//! TODO golden.
