//! The reduced WASI: what guests' standard libraries need to start, and what the configuration grants.
//!
//! Offered: the environment (granted names only) and no arguments; standard output and error, which become log lines,
//! and a closed standard input; clocks; random numbers; folders (granted ones, read-only). There are no sockets. In a
//! strategy the clocks show frame time and random numbers are seeded, so that a replay gives the same results; in a
//! handler they are real. Every wait ends at the call's own limits.

mod clocks;
mod files;
mod output;
mod random_source;
mod waits;

pub(super) use output::Output;
pub(super) use random_source::RandomSource;

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks as clock, filesystem, io, random, sync};

use super::store_data::StoreData;

/// Offered interfaces, by their names without the version.
const OFFERED: [&str; 20] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

/// Whether this module implements an import of this name.
pub(super) fn offers(name: &str) -> bool {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    version.starts_with("0.2.") && OFFERED.contains(&interface)
}

/// Adds all interfaces to the linker.
pub(super) fn link(linker: &mut Linker<StoreData>) -> wasmtime::Result<()> {
    let l = linker;
    cli::environment::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    cli::exit::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    cli::stdin::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    cli::stdout::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    cli::stderr::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    cli::terminal_input::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    cli::terminal_output::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    cli::terminal_stdin::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    cli::terminal_stdout::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    cli::terminal_stderr::add_to_linker::<StoreData, WasiCli>(l, StoreData::cli)?;
    clock::wall_clock::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    clock::monotonic_clock::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    filesystem::preopens::add_to_linker::<StoreData, WasiFilesystem>(l, StoreData::filesystem)?;
    sync::filesystem::types::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    io::error::add_to_linker::<StoreData, waits::Waiting>(l, waits::table)?;
    sync::io::poll::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    sync::io::streams::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    random::random::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    random::insecure::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    random::insecure_seed::add_to_linker::<StoreData, HasSelf<StoreData>>(l, |store_data| store_data)?;
    Ok(())
}
