//! Checks of the repository itself, for contributors: its pages, its layers, its dependencies.

mod dependencies;
mod docs;
mod layers;
