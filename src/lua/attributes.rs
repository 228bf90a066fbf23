//! Attributes of detections: read from the frame, and written into the verdict.

use std::sync::Arc;

use mlua::{Lua, LuaString, Table};

use super::call_state::CallState;
use super::host::Host;
use crate::strategy::{
    ATTRIBUTE_BYTES_MAX, ATTRIBUTE_CHANGES_MAX, Edit, attribute_bytes, check_attribute, check_attributes,
};
use crate::types::Value;

impl Host {
    /// Adds the functions that `frame.luau` calls.
    pub(super) fn put_attributes(&self, lua: &Lua, table: &Table) -> mlua::Result<()> {
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "attributes",
            lua.create_function(move |lua, origin: usize| {
                let table = lua.create_table()?;
                for (name, value) in call_state.lock().attributes.get(&origin).into_iter().flatten() {
                    match value {
                        Value::Boolean(b) => table.raw_set(name.as_str(), *b)?,
                        Value::Number(n) => table.raw_set(name.as_str(), *n)?,
                        Value::Text(text) => table.raw_set(name.as_str(), text.as_str())?,
                    }
                }
                Ok(table)
            })?,
        )?;
        let call_state = Arc::clone(&self.call_state);
        table.raw_set(
            "set_attribute",
            lua.create_function(move |_, (origin, name, value): (u32, LuaString, mlua::Value)| {
                let written = read(&name, &value).and_then(|(name, value)| {
                    check_attribute(&name, value.as_ref())?;
                    write(&mut call_state.lock(), origin, name, value)
                });
                Ok(written.err())
            })?,
        )
    }
}

/// The name and the value of an attribute; `frame.luau` has checked their types.
fn read(name: &LuaString, value: &mlua::Value) -> Result<(String, Option<Value>), String> {
    let utf8 = |text: &LuaString| {
        text.to_str().map(|text| text.to_owned()).map_err(|_| "an attribute is no text (UTF-8)".to_owned())
    };
    let value = match value {
        mlua::Value::Nil => None,
        mlua::Value::Boolean(b) => Some(Value::Boolean(*b)),
        mlua::Value::String(text) => Some(Value::Text(utf8(text)?)),
        // Luau has one kind of number; the library tells whole ones apart.
        mlua::Value::Integer(number) => Some(Value::Number(*number as f64)),
        other => Some(Value::Number(other.as_f64().unwrap_or(f64::NAN))),
    };
    Ok((utf8(name)?, value))
}

/// Records an attribute in the verdict; it is read back at once.
fn write(call_state: &mut CallState, origin: u32, name: String, value: Option<Value>) -> Result<(), String> {
    let index = origin as usize;
    let mut all = call_state.attributes.get(&index).cloned().unwrap_or_default();
    if value.is_none() && !all.contains_key(&name) {
        return Ok(());
    }
    // These are outside of the script's own memory.
    let bytes = call_state.attribute_bytes + attribute_bytes(&name, value.as_ref());
    if bytes > ATTRIBUTE_BYTES_MAX {
        return Err(format!("the attributes set in one call take more than {} KiB", ATTRIBUTE_BYTES_MAX >> 10));
    }
    match &value {
        Some(value) => drop(all.insert(name.clone(), value.clone())),
        None => drop(all.remove(&name)),
    }
    check_attributes(&all)?;
    let (most, edits) = (4 * call_state.boxes.len(), &mut call_state.verdict.edits);
    let is_full = edits.len() >= most;
    match edits.last_mut().filter(|edit| edit.index == origin) {
        Some(edit) if edit.attributes.len() >= ATTRIBUTE_CHANGES_MAX && !edit.attributes.contains_key(&name) => {
            return Err(format!("more than {ATTRIBUTE_CHANGES_MAX} attributes of one detection change in one call"));
        }
        Some(edit) => drop(edit.attributes.insert(name, value)),
        // An overall bound on edits, in proportion to the frame's size.
        None if is_full => return Err("more than four edits per detection in one call".to_owned()),
        None => edits.push(Edit { index: origin, attributes: [(name, value)].into(), ..Edit::default() }),
    }
    call_state.attributes.insert(index, all);
    call_state.attribute_bytes = bytes;
    Ok(())
}
