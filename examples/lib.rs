//! Nothing: cargo wants a library or a program in each package, and this one has examples.
