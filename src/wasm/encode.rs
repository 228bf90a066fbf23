//! Converts a core module into a component, without other tools.
//!
//! WebAssembly compilers emit core modules; those that know the component model embed a description of their world,
//! from a bindings generator. Without one, the names of the exports identify which of our two worlds is meant. The
//! standard adapter translates calls to the older WASI (`wasi_snapshot_preview1`).

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

use super::World;
use super::component::shake;
use crate::error::{Code, Error};

/// The contract that this engine was built with.
const CONTRACT: [(&str, &str); 5] = [
    ("handler.wit", include_str!("../../wit/handler.wit")),
    ("host.wit", include_str!("../../wit/host.wit")),
    ("strategy.wit", include_str!("../../wit/strategy.wit")),
    ("types.wit", include_str!("../../wit/types.wit")),
    ("worlds.wit", include_str!("../../wit/worlds.wit")),
];
/// The prefix of the custom sections in which bindings generators describe the world.
const DESCRIPTION: &str = "component-type";

/// Converts a core module into a component; returns a component unchanged. The result is valid, and not yet checked to
/// fit this engine: [`check`](super::check) does that.
///
/// # Errors
/// [`Code::Plugin`] with what is missing: not WebAssembly at all, neither world exported, a function of it missing, or
/// an import that is not offered.
pub fn encode(core_or_component: &[u8]) -> Result<Vec<u8>, Error> {
    if Parser::is_component(core_or_component) {
        return Ok(core_or_component.to_vec());
    }
    if !Parser::is_core_wasm(core_or_component) {
        return Err(refused("this is no WebAssembly, neither a core module nor a component"));
    }
    let module = Module::read(core_or_component)?;
    let described = if module.described {
        Cow::Borrowed(core_or_component)
    } else {
        let mut bytes = core_or_component.to_vec();
        describe(&mut bytes, module.world()?)?;
        Cow::Owned(bytes)
    };
    let build = |mut encoder: ComponentEncoder| {
        if module.old_wasi {
            encoder = encoder.adapter(WASI, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?;
        }
        encoder.encode()
    };
    ComponentEncoder::default()
        .validate(true)
        .module(&described)
        .and_then(build)
        .map_err(|e| refused(format!("no component can be made of this module: {}", reason(&format!("{e:#}")))))
}

/// The properties of a core module that determine the conversion.
struct Module {
    /// Whether it contains a description of its world.
    described: bool,
    /// Whether it imports the older WASI.
    old_wasi: bool,
    /// The names of its exports.
    exports: Vec<String>,
}

impl Module {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut module = Self { described: false, old_wasi: false, exports: Vec::new() };
        let broken = |e| refused(format!("this is no valid core module: {e}"));
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(broken)? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        module.old_wasi |= import.map_err(broken)?.module == WASI;
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        module.exports.push(export.map_err(broken)?.name.to_owned());
                    }
                }
                Payload::CustomSection(section) => module.described |= section.name().starts_with(DESCRIPTION),
                _ => {}
            }
        }
        Ok(module)
    }

    /// The world whose functions it exports, by names such as `dsengine:plugin/strategy@0.1.0#judge`.
    fn world(&self) -> Result<World, Error> {
        let ours = self.exports.iter().filter_map(|name| name.strip_prefix("dsengine:plugin/"));
        let functions: Vec<_> = ours.filter_map(|name| name.split_once('#')).collect();
        let has = |interface: &str| functions.iter().any(|(of, _)| of.split('@').next() == Some(interface));
        let world = match (has("strategy"), has("handler")) {
            (true, false) => World::Strategy,
            (false, true) => World::Handler,
            (true, true) => return Err(refused("exports both a strategy and a handler; build one of each")),
            (false, false) => {
                return Err(refused("exports no function of dsengine:plugin/strategy or dsengine:plugin/handler")
                    .hint("export them by the names of wit/, such as `dsengine:plugin/strategy@0.1.0#judge`; for C, link the file that wit-bindgen generated"));
            }
        };
        for (interface, _) in functions {
            shake(interface.split_once('@').map_or("", |(_, version)| version))?;
        }
        Ok(world)
    }
}

/// Adds the description of one of our worlds to a core module.
fn describe(module: &mut Vec<u8>, world: World) -> Result<(), Error> {
    let ours = |e: String| refused(format!("the engine's own contract cannot be read: {e}"));
    let mut source = SourceMap::default();
    for (name, text) in CONTRACT {
        source.push_str(name, text);
    }
    let package = source.parse().map_err(|(_, e)| ours(e.to_string()))?;
    let mut contract = Resolve::default();
    let package = contract.push_group(package).map_err(|e| ours(e.to_string()))?;
    let name = match world {
        World::Strategy => "detection-strategy",
        World::Handler => "alert-handler",
    };
    let id = contract.select_world(&[package], Some(name)).map_err(|e| ours(e.to_string()))?;
    embed_component_metadata(module, &contract, id, StringEncoding::UTF8).map_err(|e| ours(e.to_string()))
}

/// The encoder's error on one line.
fn reason(error: &str) -> String {
    error.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn refused(what: impl Into<String>) -> Error {
    Error::new(Code::Plugin, what)
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    /// A handler that fits the contract; every function traps.
    const HANDLER: &str = r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "dsengine:plugin/handler@0.1.0#describe") (result i32) unreachable)
        (func (export "dsengine:plugin/handler@0.1.0#init") (result i32) unreachable)
        (func (export "dsengine:plugin/handler@0.1.0#handle-alert") (param i32) (result i32) unreachable))"#;

    fn message(text: &str) -> String {
        encode(&wat::parse_str(text).unwrap()).expect_err("refused").message().to_owned()
    }

    #[test]
    fn a_module_without_a_description_gets_the_world_it_exports() {
        let component = encode(&wat::parse_str(HANDLER).unwrap()).unwrap_or_else(|e| panic!("{e}"));
        let info = check(&component).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((info.world, &*info.version), (World::Handler, "0.1.0"));
        assert!(component.len() < 8192, "{} bytes", component.len());
    }

    #[test]
    fn a_described_module_keeps_its_world() {
        let mut bytes = wat::parse_str(HANDLER).unwrap();
        describe(&mut bytes, World::Handler).unwrap();
        assert_eq!(check(&encode(&bytes).unwrap()).unwrap().world, World::Handler);
        let mut other = wat::parse_str(HANDLER).unwrap();
        describe(&mut other, World::Strategy).unwrap();
        let error = encode(&other).expect_err("refused");
        assert!(error.message().contains("strategy@0.1.0"), "{error}");
    }

    #[test]
    fn a_component_is_returned_unchanged() {
        let component = encode(&wat::parse_str(HANDLER).unwrap()).unwrap();
        assert_eq!(encode(&component).unwrap(), component);
    }

    #[test]
    fn calls_to_the_older_wasi_are_translated() {
        let old = HANDLER.replacen(
            "(module",
            r#"(module (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))"#,
            1,
        );
        let info = check(&encode(&wat::parse_str(&old).unwrap()).unwrap_or_else(|e| panic!("{e}"))).unwrap();
        assert!(info.imports.iter().any(|i| i.starts_with("wasi:clocks/monotonic-clock@0.2")), "{:?}", info.imports);
        assert!(!info.imports.iter().any(|i| i.contains("sockets")), "{:?}", info.imports);
    }

    #[test]
    fn a_module_that_cannot_become_a_component_is_refused_with_the_reason() {
        assert_eq!(
            encode(b"hello").expect_err("refused").message(),
            "this is no WebAssembly, neither a core module nor a component"
        );
        assert_eq!(message("(module)"), "exports no function of dsengine:plugin/strategy or dsengine:plugin/handler");
        assert_eq!(
            message(&HANDLER.replace("@0.1.0", "@0.3.0")),
            "plugin wants dsengine:plugin@0.3, this engine offers 0.1"
        );
        let less = message(&HANDLER.replace("#handle-alert", "#handle"));
        assert!(less.contains("handle-alert"), "{less}");
        let import = message(&HANDLER.replacen("(module", r#"(module (import "env" "now" (func))"#, 1));
        assert!(import.contains("env"), "{import}");
        let cut = encode(&wat::parse_str(HANDLER).unwrap()[..60]).expect_err("refused");
        assert!(cut.message().starts_with("this is no valid core module: "), "{cut}");
    }
}
