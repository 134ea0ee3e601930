//! Checks of the repository itself, for contributors: its pages, its layers, its dependencies, its version.

mod dependencies;
mod docs;
mod layers;
mod version;
