//! TODO golden.

