//! The host functions for the globals of every script: log, state, shared state, metrics, JSON, files, modules.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlua::{Lua, LuaString, Table, Value};
use parking_lot::Mutex;
use serde_json::Number;

use super::call_state::CallState;
use super::convert;
use super::host::Host;
use crate::guest::{Entry, Kept, Severity, Space, size};

/// Maximum length of a JSON text, so that its values cannot exhaust the host's memory.
const JSON_BYTES_MAX: usize = 1 << 20;

impl Host {
    /// Adds the functions that `ambient.luau` calls.
    pub(super) fn put_ambient(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        self.put_log(lua, table)?;
        self.put_state(lua, table)?;
        self.put_shared(lua, table)?;
        self.put_meter(lua, table)?;
        put_json(lua, table)?;
        self.put_sources(lua, table)?;
        let env = &self.context.grants;
        table.raw_set("env", lua.create_table_from(env.env.iter().map(|(k, v)| (k.as_str(), v.as_str())))?)?;
        table.raw_set("env_asked", lua.create_table_from(env.has.env.iter().map(|name| (name.as_str(), true)))?)?;
        table.raw_set("key_bytes", self.context.limits.key_bytes)?;
        table.raw_set("shared", env.has.shared_state)?;
        table.raw_set("pixels", env.has.pixels)
    }

    fn put_log(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let host = self.clone();
        table.raw_set(
            "log",
            lua.create_function(move |_, (level, text): (u8, LuaString)| {
                let severity = match level {
                    1 => Severity::Debug,
                    2 => Severity::Info,
                    3 => Severity::Warn,
                    _ => Severity::Error,
                };
                host.log(severity, &String::from_utf8_lossy(&text.as_bytes()));
                Ok(())
            })?,
        )
    }

    fn log(&self, severity: Severity, text: &str) {
        let now_ns = self.call_state.lock().pts_ns;
        self.context.log(severity, text, now_ns);
    }

    fn put_state(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "state_get",
            lua.create_function(move |lua, key: String| {
                let call_state = call_state.lock();
                match call_state.writes.get(&key) {
                    Some(Some(entry)) => kept(lua, &entry.value),
                    Some(None) => Ok(Value::Nil),
                    None => {
                        let space = call_state.space.lock();
                        space.get(&key, call_state.pts_ns).map_or(Ok(Value::Nil), |v| kept(lua, v))
                    }
                }
            })?,
        )?;
        let (call_state, most) = (Arc::clone(&self.call_state), self.context.limits.state_bytes);
        table.raw_set(
            "state_set",
            lua.create_function(move |_, (key, value, ttl): (String, Value, Option<f64>)| {
                Ok(set(&mut call_state.lock(), most, key, &value, ttl).err())
            })?,
        )?;
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "state_keys",
            lua.create_function(move |_, prefix: String| {
                let call_state = call_state.lock();
                Ok(call_state.writes.keys(&call_state.space.lock(), &prefix, call_state.pts_ns))
            })?,
        )
    }

    /// State over all sources: each function takes effect at once and atomically.
    fn put_shared(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let host = self.clone();
        table.raw_set(
            "shared_get",
            lua.create_function(move |lua, key: String| {
                let now_ns = host.call_state.lock().shared_ns;
                host.context.shared.lock().get(&key, now_ns).map_or(Ok(Value::Nil), |v| kept(lua, v))
            })?,
        )?;
        let host = self.clone();
        table.raw_set(
            "shared_set",
            lua.create_function(move |_, (key, value, ttl): (String, Value, Option<f64>)| {
                let most = host.context.limits.state_bytes;
                let value = match value {
                    Value::Nil => Ok(None),
                    value => convert::from_lua(&value, &mut { most }).map(|json| Some(Kept::Json(json))),
                };
                Ok(value.and_then(|value| host.share(key, ttl, |_| Ok(value))).err())
            })?,
        )?;
        let host = self.clone();
        table.raw_set(
            "shared_add",
            lua.create_function(move |_, (key, by, ttl): (String, f64, Option<f64>)| {
                let mut sum = None;
                let added = |old: Option<&Kept>| {
                    let old = match old {
                        None => 0.0,
                        Some(kept) => kept.number().ok_or("what is kept under the key is no number")?,
                    };
                    let new = Number::from_f64(old + by).ok_or("the sum is not finite")?;
                    sum = new.as_f64();
                    Ok(Some(Kept::Json(new.into())))
                };
                let problem = host.share(key, ttl, added).err();
                Ok((sum, problem))
            })?,
        )?;
        let host = self.clone();
        table.raw_set(
            "shared_keys",
            lua.create_function(move |_, prefix: String| {
                let now_ns = host.call_state.lock().shared_ns;
                Ok(host.context.shared.lock().keys(&prefix, now_ns).map(str::to_owned).collect::<Vec<_>>())
            })?,
        )
    }

    /// Replaces the old value with the one that `make` computes from it, or deletes it, under one lock.
    fn share(
        &self,
        key: String,
        ttl: Option<f64>,
        make: impl FnOnce(Option<&Kept>) -> Result<Option<Kept>, String>,
    ) -> Result<(), String> {
        let (now_ns, most) = {
            let call_state = self.call_state.lock();
            writable(&call_state, ttl)?;
            (call_state.shared_ns, self.context.limits.state_bytes)
        };
        let mut space = self.context.shared.lock();
        let value = make(space.get(&key, now_ns))?;
        if value.as_ref().is_some_and(|value| !space.fits(&key, size(&key, value), most, now_ns)) {
            return Err(format!("the state over all sources is full: {most} bytes"));
        }
        let write = value.map(|value| Entry { value, expires_ns: end(now_ns, ttl) });
        space.commit(&mut BTreeMap::from([(key, write)]));
        Ok(())
    }

    fn put_meter(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let host = self.clone();
        table.raw_set(
            "meter",
            lua.create_function(move |_, (kind, name, value): (u8, LuaString, f64)| {
                if host.context.rehearsal {
                    return Ok(());
                }
                let (name, meter) = (name.to_string_lossy(), &host.context.meter);
                let taken = match kind {
                    1 => meter.add(&name, value),
                    2 => meter.set(&name, value),
                    _ => meter.observe(&name, value),
                };
                if !taken {
                    let name = &name[..name.floor_char_boundary(100)];
                    let rules = meter.rules(name);
                    host.log(Severity::Warn, &format!("the figure {name} = {value} was dropped: {rules}"));
                }
                Ok(())
            })?,
        )
    }

    /// Modules and files.
    fn put_sources(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let host = self.clone();
        table.raw_set(
            "module",
            lua.create_function(move |lua, name: String| {
                let module = match host.modules.lock().get(&name) {
                    Ok(module) => module,
                    Err(problem) => return Ok((Value::Nil, Some(problem))),
                };
                let chunk = lua.load(module.text).set_name(format!("@{}", module.file));
                match chunk.set_mode(mlua::chunk::ChunkMode::Text).into_function() {
                    Ok(function) => Ok((Value::Function(function), None)),
                    Err(error) => Ok((Value::Nil, Some(super::fault::line(&error)))),
                }
            })?,
        )?;
        let files: Arc<Mutex<_>> = Arc::clone(&self.files);
        table.raw_set(
            "file",
            lua.create_function(move |lua, path: LuaString| {
                // Contents, the reason for their absence, the script's mistake.
                Ok(match files.lock().read(&path.to_string_lossy()) {
                    Ok(Ok(bytes)) => (Some(lua.create_string(&bytes)?), None, None),
                    Ok(Err(failed)) => (None, Some(failed), None),
                    Err(problem) => (None, None, Some(problem)),
                })
            })?,
        )
    }
}

fn put_json(lua: &Lua, table: &Table) -> mlua::Result<()> {
    table.raw_set(
        "json_encode",
        lua.create_function(|_, value: Value| {
            Ok(match convert::from_lua(&value, &mut { JSON_BYTES_MAX }) {
                Ok(value) => (Some(value.to_string()), None),
                Err(problem) => (None, Some(problem)),
            })
        })?,
    )?;
    table.raw_set(
        "json_decode",
        lua.create_function(|lua, text: LuaString| {
            let bytes = text.as_bytes();
            if bytes.len() > JSON_BYTES_MAX {
                return Ok((Value::Nil, Some(format!("longer than {JSON_BYTES_MAX} bytes"))));
            }
            Ok(match serde_json::from_slice(bytes.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(&bytes)) {
                Ok(value) => (convert::to_lua(lua, &value, false)?, None),
                Err(error) => (Value::Nil, Some(format!("no JSON: {error}"))),
            })
        })?,
    )
}

/// Converts a stored value to a Lua value; a component's bytes become a string.
fn kept(lua: &Lua, value: &Kept) -> mlua::Result<Value> {
    match value {
        Kept::Json(value) => convert::to_lua(lua, value, false),
        Kept::Bytes(bytes) => lua.create_string(bytes).map(Value::String),
    }
}

/// The frame time, if the current call may write, with this time to live.
fn writable(call_state: &CallState, ttl: Option<f64>) -> Result<u64, String> {
    match call_state.reads_only {
        Some(why) => Err(why.to_owned()),
        None if call_state.timeless && ttl.is_some() => {
            Err("no frame is at hand, so a time to live has nothing to count from; set it from detect on".to_owned())
        }
        None => Ok(call_state.pts_ns),
    }
}

/// Casting saturates: a time to live beyond the end of time never expires.
fn end(now_ns: u64, ttl: Option<f64>) -> Option<u64> {
    ttl.map(|seconds| now_ns.saturating_add((seconds * 1e9) as u64))
}

/// Records a write; it is committed when the call succeeds.
fn set(call_state: &mut CallState, most: usize, key: String, value: &Value, ttl: Option<f64>) -> Result<(), String> {
    let now_ns = writable(call_state, ttl)?;
    let space: Arc<Mutex<Space>> = Arc::clone(&call_state.space);
    if value.is_nil() {
        call_state.writes.delete(&space.lock(), key);
        return Ok(());
    }
    let value = Kept::Json(convert::from_lua(value, &mut { most })?);
    let entry = Entry { value, expires_ns: end(now_ns, ttl) };
    match call_state.writes.set(&mut space.lock(), key, entry, most, now_ns) {
        true => Ok(()),
        false => Err(format!("the state is full: {most} bytes per source")),
    }
}
