//! `dsengine plugin build`: builds a component from a Rust folder or a core module, without other tools.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dsengine::error::{Code, Error};
use dsengine::wasm;

use crate::cli::exit::{Exit, failed};
use crate::cli::files;

/// The target of plugins in Rust.
const TARGET: &str = "wasm32-wasip2";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder with Cargo.toml, a core module, or a component to be checked
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Write the component here; by default cargo's own output stays where it is, and a core module's component is
    /// written beside it as NAME.component.wasm
    #[arg(long, short, value_name = "OUT.wasm")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Exit {
    if !args.path.exists() {
        eprintln!("error: {}: there is no such file or folder", args.path.display());
        return Exit::Usage;
    }
    match build(args) {
        Ok((out, info)) => {
            let bytes = std::fs::metadata(&out).map_or(0, |meta| meta.len());
            println!("{}: a {} for API {}, {bytes} bytes", out.display(), info.world, info.version);
            Exit::Fine
        }
        Err(error) => failed(&error),
    }
}

fn build(args: &Args) -> Result<(PathBuf, wasm::ComponentInfo), Error> {
    let built = if args.path.is_dir() { cargo(&args.path)? } else { args.path.clone() };
    let bytes = dsengine::text::bytes(&built)
        .map_err(|e| Error::new(Code::Io, format!("{}: cannot be read: {e}", built.display())))?;
    let at = |error: Error| {
        let shown = Error::new(error.code(), format!("{}: {}", built.display(), error.message()));
        match error.to_string().split_once("\n  hint: ") {
            Some((_, hint)) => shown.hint(hint),
            None => shown,
        }
    };
    let component = wasm::encode(&bytes).map_err(at)?;
    let info = wasm::check(&component).map_err(at)?;
    let same = component == bytes;
    let out = match &args.output {
        Some(out) => out.clone(),
        None if same => return Ok((built, info)),
        None if args.path.is_dir() => built.clone(),
        None => built.with_extension("component.wasm"),
    };
    // An engine may watch the file.
    files::place(&out, &component)?;
    Ok((out, info))
}

/// Runs cargo; returns the built module.
fn cargo(dir: &Path) -> Result<PathBuf, Error> {
    if !dir.join("Cargo.toml").is_file() {
        let error = Error::new(Code::Plugin, format!("{}: there is no Cargo.toml to build", dir.display()));
        return Err(if dir.join("build.sh").is_file() {
            error.hint("run its build.sh, and give the module that it makes to `dsengine plugin build`")
        } else {
            error.hint("a script needs no building; name a .wasm to make a component of it")
        });
    }
    target()?;
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(program)
        .args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| {
            Error::new(Code::Plugin, format!("cargo cannot be started: {e}")).hint("install Rust: https://rustup.rs")
        })?;
    let mut made = Vec::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            made.extend(modules(&line));
        }
    }
    let ended = child.wait().map_err(|e| Error::new(Code::Io, format!("cargo was lost: {e}")))?;
    if !ended.success() {
        return Err(Error::new(Code::Plugin, format!("{}: cargo could not build it (above)", dir.display())));
    }
    match made.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Error::new(Code::Plugin, format!("{}: cargo built no WebAssembly module", dir.display()))
            .hint("its Cargo.toml needs: [lib] crate-type = [\"cdylib\"]")),
        many => {
            let names: Vec<String> = many.iter().map(|path| path.display().to_string()).collect();
            Err(Error::new(Code::Plugin, format!("{}: cargo built several: {}", dir.display(), names.join(", ")))
                .hint("build each by its own folder"))
        }
    }
}

/// The modules in a line of cargo's JSON output.
fn modules(line: &str) -> Vec<PathBuf> {
    let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { return Vec::new() };
    if message["reason"] != "compiler-artifact" {
        return Vec::new();
    }
    let names = message["filenames"].as_array().into_iter().flatten().filter_map(|name| name.as_str());
    names.filter(|name| name.ends_with(".wasm")).map(PathBuf::from).collect()
}

/// Checks that the target's standard library is installed; cargo's message without it does not help.
fn target() -> Result<(), Error> {
    let said = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(said) = said else {
        return Err(Error::new(Code::Plugin, "rustc cannot be started").hint("install Rust: https://rustup.rs"));
    };
    let folder = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim());
    if said.status.success() && folder.is_dir() {
        return Ok(());
    }
    Err(Error::new(Code::Plugin, format!("Rust has no library for {TARGET} here"))
        .hint(format!("rustup target add {TARGET}")))
}
