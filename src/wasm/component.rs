//! Inspects a component: its world, its imports, and the version that it was built for.

use std::fmt;

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Config, Engine};

use crate::error::{Code, Error};

/// The package of the plugin contract.
const PACKAGE: &str = "dsengine:plugin";
/// The offered version: major and minor; a patch changes comments only.
const OFFERED: (u64, u64) = (0, 1);
/// Maximum size of a component in bytes: compiling takes time and memory in proportion.
const BYTES_MAX: usize = 64 << 20;
/// The header of a core module, as opposed to a component: magic, version 1, layer 0.
const CORE_MODULE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

/// Host interfaces that both worlds may import (`wit/worlds.wit`).
const SHARED: [&str; 7] = ["types", "log", "metrics", "state", "shared-state", "config", "time"];

/// A component's world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// Judges frames: `detection-strategy`.
    Strategy,
    /// Delivers alerts: `alert-handler`.
    Handler,
}

impl World {
    fn export(self) -> &'static str {
        match self {
            Self::Strategy => "strategy",
            Self::Handler => "handler",
        }
    }

    fn functions(self) -> &'static [&'static str] {
        match self {
            Self::Strategy => &["describe", "init", "should-process", "judge", "suspend", "resume"],
            Self::Handler => &["describe", "init", "handle-alert"],
        }
    }

    fn offers(self, interface: &str) -> bool {
        let own: &[&str] = match self {
            Self::Strategy => &["zones", "detections", "tracks", "pixels"],
            Self::Handler => &["http"],
        };
        SHARED.contains(&interface) || own.contains(&interface)
    }
}

impl ComponentInfo {
    /// Whether it imports this interface of the contract.
    pub fn wants(&self, interface: &str) -> bool {
        self.imports.iter().any(|name| ours(name).is_some_and(|n| n.interface == interface))
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.export())
    }
}

/// The result of inspecting a component that fits this engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentInfo {
    /// Its world.
    pub world: World,
    /// The version of `dsengine:plugin` that it was built for, `0.1.0`.
    pub version: String,
    /// Names of all its imports, sorted.
    pub imports: Vec<String>,
    /// Names of all its exports, sorted.
    pub exports: Vec<String>,
}

/// A name such as `dsengine:plugin/strategy@0.1.0`, if it is in our package.
struct Ours<'a> {
    interface: &'a str,
    version: &'a str,
}

fn ours(name: &str) -> Option<Ours<'_>> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@')?;
    Some(Ours { interface, version })
}

/// Loads a component and checks that it fits: it is a component, of our package, of a version that this engine offers,
/// with every function of its world, and imports only what that world has. Does not run it.
///
/// # Errors
/// [`Code::Plugin`] with what does not fit.
pub fn check(bytes: &[u8]) -> Result<ComponentInfo, Error> {
    is_component(bytes, BYTES_MAX)?;
    let mut config = Config::new();
    config.wasm_component_model(true);
    let engine = Engine::new(&config).map_err(|e| refused(format!("the WASM engine cannot start: {e:#}")))?;
    let component = Component::from_binary(&engine, bytes).map_err(|e| invalid(&e))?;
    inspect(&engine, &component)
}

/// Checks what can be checked before compiling: that the bytes are not a core module, and the size.
pub(super) fn is_component(bytes: &[u8], bytes_max: usize) -> Result<(), Error> {
    if bytes.len() > bytes_max {
        return Err(refused(format!("the component has {} bytes, the limit is {bytes_max}", bytes.len())));
    }
    if bytes.starts_with(&CORE_MODULE) {
        return Err(refused("this is a core module, not a component".into())
            .hint("build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"));
    }
    Ok(())
}

/// The error for bytes that cannot be compiled.
pub(super) fn invalid(error: &wasmtime::Error) -> Error {
    // For invalid bytes the parser prints the first four, each on its own line.
    let text = format!("{error:#}");
    let line = text.lines().next().unwrap_or_default();
    refused(format!("this is no valid component: {}", line.split(" - expected=").next().unwrap_or_default()))
}

/// Does [`check`] for a compiled component.
pub(super) fn inspect(engine: &Engine, component: &Component) -> Result<ComponentInfo, Error> {
    let kind = component.component_type();
    let mut imports: Vec<String> = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let mut exports: Vec<String> = kind.exports(engine).map(|(name, _)| name.to_owned()).collect();
    imports.sort_unstable();
    exports.sort_unstable();

    // The version first: any other difference may be due to it.
    for name in exports.iter().chain(&imports).filter_map(|name| ours(name)) {
        shake(name.version)?;
    }
    let exported = |world: World| exports.iter().find(|n| ours(n).is_some_and(|n| n.interface == world.export()));
    let (world, export) = match (exported(World::Strategy), exported(World::Handler)) {
        (Some(name), None) => (World::Strategy, name),
        (None, Some(name)) => (World::Handler, name),
        (Some(_), Some(_)) => return Err(refused("exports both a strategy and a handler; build one of each".into())),
        (None, None) => {
            return Err(refused(format!("exports neither {PACKAGE}/strategy nor {PACKAGE}/handler"))
                .hint(format!("it exports: {}", listed(&exports))));
        }
    };
    check_functions(engine, component, world, export)?;
    if let Some(name) = imports.iter().find(|n| ours(n).is_some_and(|n| !world.offers(n.interface))) {
        return Err(refused(format!("imports {name}, which a {world} is not offered")));
    }
    let version = ours(export).map(|n| n.version.to_owned()).unwrap_or_default();
    Ok(ComponentInfo { world, version, imports, exports })
}

fn check_functions(engine: &Engine, component: &Component, world: World, export: &str) -> Result<(), Error> {
    let kind = component.component_type();
    let Some(ComponentItem::ComponentInstance(instance)) = kind.get_export(engine, export).map(|e| e.ty) else {
        return Err(refused(format!("exports {export}, which is no interface")));
    };
    let is_function =
        |name: &str| instance.get_export(engine, name).is_some_and(|e| matches!(e.ty, ComponentItem::ComponentFunc(_)));
    let missing: Vec<_> = world.functions().iter().copied().filter(|name| !is_function(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(refused(format!("{export} lacks the function {}", missing.join(", "))))
}

/// Checks the version.
pub(super) fn shake(wanted: &str) -> Result<(), Error> {
    let mut parts = wanted.split('.').map(str::parse::<u64>);
    match (parts.next(), parts.next()) {
        // While the major version is 0, a minor version may break.
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) == OFFERED => Ok(()),
        (Some(Ok(major)), Some(Ok(minor))) => Err(refused(format!(
            "plugin wants {PACKAGE}@{major}.{minor}, this engine offers {}.{}",
            OFFERED.0, OFFERED.1
        ))
        .hint("rebuild it against this engine's wit/, or use an engine of its version")),
        _ => Err(refused(format!("'{wanted}' is no version of {PACKAGE}"))),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn refused(what: String) -> Error {
    Error::new(Code::Plugin, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handwritten component with one interface and these functions: no toolchain, one kilobyte.
    fn component(export: &str, functions: &[&str], import: Option<&str>) -> Vec<u8> {
        let imports = import.map_or(String::new(), |name| format!("(import \"{name}\" (instance))"));
        let exports: String = functions.iter().map(|f| format!("(export \"{f}\" (func $f))")).collect();
        let text = format!(
            r#"(component {imports}
                (core module $m (func (export "f") (result i32) i32.const 1))
                (core instance $i (instantiate $m))
                (func $f (result u32) (canon lift (core func $i "f")))
                (instance $s {exports})
                (export "{export}" (instance $s)))"#
        );
        wat::parse_str(text).unwrap()
    }

    fn message(bytes: &[u8]) -> String {
        check(bytes).expect_err("refused").message().to_owned()
    }

    const STRATEGY: &str = "dsengine:plugin/strategy@0.1.0";

    #[test]
    fn a_component_that_fits_is_identified() {
        let bytes = component(STRATEGY, World::Strategy.functions(), Some("dsengine:plugin/log@0.1.0"));
        let info = check(&bytes).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((info.world, &*info.version), (World::Strategy, "0.1.0"));
        assert_eq!(info.imports, ["dsengine:plugin/log@0.1.0"]);
        assert_eq!(info.exports, [STRATEGY]);
        let handler = component("dsengine:plugin/handler@0.1.3", World::Handler.functions(), None);
        assert_eq!(check(&handler).unwrap().world, World::Handler);
    }

    #[test]
    fn the_handshake_names_both_versions() {
        let newer = component("dsengine:plugin/strategy@0.3.0", &["judge"], None);
        assert_eq!(message(&newer), "plugin wants dsengine:plugin@0.3, this engine offers 0.1");
        let import = component(STRATEGY, World::Strategy.functions(), Some("dsengine:plugin/log@1.0.0"));
        assert_eq!(message(&import), "plugin wants dsengine:plugin@1.0, this engine offers 0.1");
    }

    #[test]
    fn a_component_that_does_not_fit_is_refused_with_the_reason() {
        let all = World::Strategy.functions();
        assert_eq!(
            message(&component(STRATEGY, &all[..4], None)),
            "dsengine:plugin/strategy@0.1.0 lacks the function suspend, resume"
        );
        assert_eq!(
            message(&component(STRATEGY, all, Some("dsengine:plugin/http@0.1.0"))),
            "imports dsengine:plugin/http@0.1.0, which a strategy is not offered"
        );
        assert_eq!(
            message(&component("other:thing/strategy@0.1.0", all, None)),
            "exports neither dsengine:plugin/strategy nor dsengine:plugin/handler"
        );
        assert_eq!(message(&wat::parse_str("(module)").unwrap()), "this is a core module, not a component");
        let refusal = message(b"not wasm");
        assert!(
            refusal.starts_with("this is no valid component: ") && refusal.ends_with("bad magic number"),
            "{refusal}"
        );
        assert!(message(&component(STRATEGY, all, None)[..200]).starts_with("this is no valid component: "));
    }
}
