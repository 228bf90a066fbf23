//! Configuration: one YAML file, a sources file, environment and flags, parsed once into a [`Plan`].

mod plan;

pub use plan::*;
