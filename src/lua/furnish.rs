//! Builds a fresh VM: adds the API, removes withheld globals, closes the sandbox.

use std::sync::Arc;

use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value};

use super::convert;
use super::host::Host;
use super::script::Script;

/// Luau globals that are withheld from scripts: they load code, access other functions, or read the machine's clock,
/// which would make a replay differ.
const WITHHELD: [&str; 7] = ["loadstring", "collectgarbage", "gcinfo", "getfenv", "setfenv", "newproxy", "os"];

/// The functions that our own Luau code returns.
pub(super) struct Parts {
    /// For strategies only.
    pub(super) frame: Option<FrameParts>,
    pub(super) find: Function,
    pub(super) call: Function,
    pub(super) resume: Function,
    pub(super) hand_over: Function,
}

pub(super) struct FrameParts {
    pub(super) bind: Function,
    pub(super) enter: Function,
    pub(super) judge: Function,
    pub(super) labels: Table,
}

/// Builds a fresh VM with the API and a closed sandbox.
pub(super) fn furnish(script: &Script, host: &Host) -> mlua::Result<(Lua, Parts)> {
    // With the default options `pcall` is Luau's own, through which a coroutine can yield.
    let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new())?;
    let globals = lua.globals();
    globals.get::<Table>("math")?.get::<Function>("randomseed")?.call::<()>(script.seed())?;
    let table = host.table(&lua)?;
    let own = |text: &str| lua.load(text).set_name("=dsengine").set_mode(mlua::chunk::ChunkMode::Text).into_function();
    // Code that only forwards to the host is not worth compiling; code that judges frames is.
    lua.enable_jit(false);
    let ambient: Table = own(include_str!("ambient.luau"))?.call(&table)?;
    let http: Option<Table> = match &host.network {
        Some(_) => Some(own(include_str!("http.luau"))?.call(&table)?),
        None => None,
    };
    lua.enable_jit(true);
    globals.raw_set("table", own(include_str!("library.luau"))?.call::<Table>(())?)?;
    for name in ["log", "state", "shared", "metrics", "json", "files", "env", "require"] {
        globals.raw_set(name, ambient.raw_get::<Value>(name)?)?;
    }
    ambient.raw_get::<Table>("env")?.set_readonly(true);
    let frame = match http {
        Some(http) => {
            globals.raw_set("http", http)?;
            globals.raw_set("time", delivery_time(&lua, host)?)?;
            globals.raw_set("picture", host.delivered_picture(&lua)?)?;
            None
        }
        None => Some(frame_parts(&globals, own(include_str!("frame.luau"))?.call(&table)?)?),
    };
    globals.raw_set("print", ambient.raw_get::<Table>("log")?.raw_get::<Value>("info")?)?;
    for (name, settings) in [("config", &script.context.config), ("extensions", &script.context.extensions)] {
        let settings = match &**settings {
            serde_json::Value::Null => &serde_json::Value::Object(serde_json::Map::new()),
            settings => settings,
        };
        globals.raw_set(name, convert::to_lua(&lua, settings, true)?)?;
    }
    let traceback: Value = globals.get::<Table>("debug")?.get("traceback")?;
    let debug = lua.create_table()?;
    debug.raw_set("traceback", traceback)?;
    globals.raw_set("debug", debug)?;
    for name in WITHHELD {
        globals.raw_set(name, Value::Nil)?;
    }
    lua.sandbox(true)?;
    let [find, call, resume, hand_over] =
        ["find", "call", "resume", "hand_over"].map(|name| ambient.raw_get::<Function>(name));
    Ok((lua, Parts { frame, find: find?, call: call?, resume: resume?, hand_over: hand_over? }))
}

/// Adds the globals of strategies.
fn frame_parts(globals: &Table, parts: Table) -> mlua::Result<FrameParts> {
    parts.raw_get::<Table>("frame")?.set_readonly(true);
    for name in ["time", "zones", "tracks", "pixels"] {
        globals.raw_set(name, parts.raw_get::<Value>(name)?)?;
    }
    let [bind, enter, judge] = ["bind", "enter", "judge"].map(|name| parts.raw_get::<Function>(name));
    Ok(FrameParts { bind: bind?, enter: enter?, judge: judge?, labels: parts.raw_get("labels")? })
}

/// A handler's `time`: frame time of its alert.
fn delivery_time(lua: &Lua, host: &Host) -> mlua::Result<Table> {
    let (time, call_state) = (lua.create_table()?, Arc::clone(&host.call_state));
    time.raw_set("now", lua.create_function(move |_, ()| Ok(call_state.lock().pts_ns as f64 * 1e-9))?)?;
    time.set_readonly(true);
    Ok(time)
}
