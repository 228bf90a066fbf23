//! The guests in `plugins/`: what is committed fits the contract, and still builds where its compilers are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dsengine::wasm::{ComponentInfo, World, check, encode};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn prebuilt(name: &str) -> (Vec<u8>, ComponentInfo) {
    let bytes = fs::read(root().join("plugins/prebuilt").join(name)).unwrap();
    let info = check(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    (bytes, info)
}

/// What it imports of the engine, without package and version.
fn imports(info: &ComponentInfo) -> Vec<&str> {
    let ours = info.imports.iter().filter_map(|name| name.strip_prefix("dsengine:plugin/"));
    ours.filter_map(|name| name.strip_suffix("@0.1.0")).filter(|name| *name != "types").collect()
}

/// Whether the machine can do this; says why not.
fn able(test: &str, command: &mut Command, lack: &str) -> bool {
    let able = command.output().is_ok_and(|output| output.status.success());
    if !able {
        println!("SKIP {test}: {lack}");
    }
    able
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_sdk_carries_the_contract_as_it_is() {
    let ours = files(&root().join("wit"));
    assert_eq!(ours.len(), files(&root().join("plugins/sdk/wit")).len());
    for file in ours {
        let copy = root().join("plugins/sdk/wit").join(file.file_name().unwrap());
        let same = fs::read(&file).unwrap() == fs::read(&copy).unwrap_or_default();
        assert!(same, "{} differs: cp wit/*.wit plugins/sdk/wit/", copy.display());
    }
}

#[test]
fn the_sdk_stays_small() {
    let lines = |file: PathBuf| fs::read_to_string(file).unwrap().lines().count();
    let total: usize = files(&root().join("plugins/sdk/src")).into_iter().map(lines).sum();
    assert!(total <= 300, "plugins/sdk/src has {total} lines");
}

#[test]
fn the_committed_guests_fit_and_import_what_they_use() {
    let (crowd, info) = prebuilt("crowd.wasm");
    assert_eq!((info.world, imports(&info)), (World::Strategy, vec!["config", "detections", "state", "zones"]));
    assert!(crowd.len() <= 100_000, "{} bytes", crowd.len());
    let (chat, info) = prebuilt("chat.wasm");
    assert_eq!((info.world, imports(&info)), (World::Handler, vec!["config", "http", "log"]));
    assert!(chat.len() <= 100_000, "{} bytes", chat.len());
}

#[test]
fn the_committed_guests_are_what_their_sources_build() {
    let test = "the_committed_guests_are_what_their_sources_build";
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", "wasm32-wasip2"]).output();
    let libraries =
        libraries.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if !Path::new(&libraries).is_dir() {
        println!("SKIP {test}: Rust's target is missing: rustup target add wasm32-wasip2");
        return;
    }
    let target = root().join("target/guests");
    let cargo = || {
        let mut cargo = Command::new("cargo");
        // What the tests themselves are built with is not meant for guests.
        cargo.current_dir(root().join("plugins")).env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS");
        cargo
    };
    if !able(test, cargo().args(["fetch", "--locked", "--quiet"]), "the guests' crates cannot be fetched") {
        return;
    }
    succeed(cargo().args(["build", "--release", "--locked", "--quiet", "--target", "wasm32-wasip2"]));
    for name in ["crowd.wasm", "chat.wasm"] {
        let built = check(&fs::read(target.join("wasm32-wasip2/release").join(name)).unwrap()).unwrap();
        assert_eq!(built, prebuilt(name).1, "{name} is out of date: sh plugins/build.sh");
    }
}

#[test]
fn the_guest_in_c_builds_with_one_command_and_becomes_a_component() {
    let test = "the_guest_in_c_builds_with_one_command_and_becomes_a_component";
    let compiler =
        "python3 -c 'import ziglang' 2>/dev/null || { command -v clang && [ -f /usr/lib/wasm32-wasi/libc.a ]; }";
    let lack = "no C compiler for WebAssembly: pip install ziglang, or apt-get install clang lld wasi-libc \
                libclang-rt-14-dev-wasm32";
    if !able(test, Command::new("sh").args(["-c", compiler]), lack) {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    succeed(Command::new("sh").arg("plugins/c/build.sh").current_dir(root()).env("OUT", out.path()));
    let core = fs::read(out.path().join("crowd.core.wasm")).unwrap();
    let info = check(&encode(&core).unwrap_or_else(|e| panic!("{e}"))).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((info.world, imports(&info)), (World::Strategy, vec!["config", "detections", "state"]));
}
