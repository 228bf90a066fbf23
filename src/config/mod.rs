//! Configuration: one YAML file, a sources file, environment and flags, parsed once into a [`Plan`].
//!
//! `tree` reads a file and keeps the location of everything in it; `expand` and `layer` apply secrets, environment and
//! flags; `fit` checks the result against the schema (`scalar` types single values) and reports every problem at once;
//! `build` creates the plan; `check` reports what this machine lacks for it. The structs that define the keys are in
//! `schema`, the table of the keys' effects in `keys`. This module does not read the process's environment, working
//! directory or clock: they are arguments of [`Request`].

mod build;
mod check;
pub mod diff;
mod effective;
mod expand;
mod fit;
mod keys;
mod kinds;
mod layer;
mod layers;
mod load;
#[cfg(feature = "mutate")]
mod mutate;
mod nearest;
mod overlay;
mod part_places;
mod places;
mod plan;
mod problem;
mod profile;
mod reference;
mod scalar;
mod schema;
mod secret;
mod source_uri;
mod sources;
mod syntax;
mod tree;
mod warning;

pub use check::{check, check_sources};
pub use keys::keys_markdown;
pub use load::{Loaded, Request, load};
pub(crate) use nearest::nearest;
pub use overlay::{Overlay, changed_paths, changed_paths_with, id_key};
pub use plan::*;
pub use problem::{LoadError, LoadProblem};
pub use profile::ProfileChoice;
pub(crate) use secret::is_secret_key;
pub use syntax::syntax_error;
pub use warning::{Severity, Warning, refuse};

/// The JSON Schema (2020-12) of a configuration file, from the same definitions that `load` checks against.
pub fn schema() -> serde_json::Value {
    schema::whole()
}

/// Every key of the schema, `sources[].uri` and so on, with the model settings under a strategy's `config`.
pub fn key_paths() -> Vec<String> {
    let mut out = Vec::new();
    fit::visit(&schema::inlined::<schema::Config>(), "", &mut |path, _| out.push(path.to_owned()));
    let base = "detection.strategies[].config";
    fit::visit(&schema::inlined::<kinds::strategies::ModelSettings>(), base, &mut |path, _| out.push(path.to_owned()));
    out
}

/// The table of keys: each with the test that proves its effect, if there is one.
pub fn key_table() -> Vec<(&'static str, Option<&'static str>)> {
    keys::table().collect()
}
