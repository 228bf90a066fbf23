//! Between JSON values and Lua values, with bounds: a script cannot make the host recurse or copy without end.

use mlua::{Lua, Value as LuaValue};
use serde_json::{Map, Number, Value};

/// Deepest nesting of tables taken from or given to a script.
const DEPTH_MAX: usize = 16;

/// A Lua value of a JSON one; null becomes nil. Tables are read-only where `frozen`.
pub(super) fn to_lua(lua: &Lua, value: &Value, frozen: bool) -> mlua::Result<LuaValue> {
    Ok(match value {
        Value::Null => LuaValue::Nil,
        Value::Bool(b) => LuaValue::Boolean(*b),
        Value::Number(n) => LuaValue::Number(n.as_f64().unwrap_or(f64::NAN)),
        Value::String(s) => LuaValue::String(lua.create_string(s)?),
        Value::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (index, item) in items.iter().enumerate() {
                table.raw_set(index + 1, to_lua(lua, item, frozen)?)?;
            }
            table.set_readonly(frozen);
            LuaValue::Table(table)
        }
        Value::Object(fields) => {
            let table = lua.create_table_with_capacity(0, fields.len())?;
            for (key, field) in fields {
                table.raw_set(key.as_str(), to_lua(lua, field, frozen)?)?;
            }
            table.set_readonly(frozen);
            LuaValue::Table(table)
        }
    })
}

/// A JSON value of a Lua one, at most `budget` bytes of it.
///
/// # Errors
/// Says what cannot be kept, for the script's author.
pub(super) fn from_lua(value: &LuaValue, budget: &mut usize) -> Result<Value, String> {
    from_lua_at(value, budget, 0)
}

fn from_lua_at(value: &LuaValue, budget: &mut usize, depth: usize) -> Result<Value, String> {
    spend(budget, 8)?;
    match value {
        LuaValue::Nil => Ok(Value::Null),
        LuaValue::Boolean(b) => Ok(Value::Bool(*b)),
        LuaValue::Integer(n) => Ok(Value::from(*n)),
        LuaValue::Number(n) => Number::from_f64(*n).map(Value::Number).ok_or_else(|| format!("{n} cannot be kept")),
        LuaValue::String(s) => {
            let text = s.to_str().map_err(|_| "a text that is not UTF-8 cannot be kept".to_owned())?;
            spend(budget, text.len())?;
            Ok(Value::String(text.to_owned()))
        }
        LuaValue::Table(table) if depth < DEPTH_MAX => from_table(table, budget, depth + 1),
        LuaValue::Table(_) => Err(format!("tables nested deeper than {DEPTH_MAX} cannot be kept")),
        other => {
            Err(format!("a {} cannot be kept; what can is booleans, numbers, texts and tables", other.type_name()))
        }
    }
}

/// A list where all keys are 1..n, else an object where all keys are texts.
fn from_table(table: &mlua::Table, budget: &mut usize, depth: usize) -> Result<Value, String> {
    let length = table.raw_len();
    let gap = || "a table's keys are texts, or the numbers 1 to n without a gap".to_owned();
    // What is kept takes 8 bytes at least: nothing is made ready for a list that is too long anyway.
    if length > *budget / 8 {
        return Err(too_large());
    }
    let (mut items, mut fields) = (vec![None; length], Map::new());
    for pair in table.pairs::<LuaValue, LuaValue>() {
        let (key, value) = pair.map_err(|e| e.to_string())?;
        match key {
            LuaValue::String(key) => {
                let key = key.to_str().map_err(|_| "a key that is not UTF-8 cannot be kept".to_owned())?.to_owned();
                spend(budget, key.len())?;
                fields.insert(key, from_lua_at(&value, budget, depth)?);
            }
            // A whole number. Not all lists are visited in order.
            LuaValue::Integer(key) => {
                let place = usize::try_from(key).ok().and_then(|key| items.get_mut(key.checked_sub(1)?));
                *place.ok_or_else(gap)? = Some(from_lua_at(&value, budget, depth)?);
            }
            _ => return Err(gap()),
        }
    }
    let items = items.into_iter().collect::<Option<Vec<_>>>().ok_or_else(gap)?;
    match (items.is_empty(), fields.is_empty()) {
        (false, true) => Ok(Value::Array(items)),
        (true, _) => Ok(Value::Object(fields)),
        (false, false) => Err("a table that is both a list and a map cannot be kept".to_owned()),
    }
}

fn spend(budget: &mut usize, bytes: usize) -> Result<(), String> {
    *budget = budget.checked_sub(bytes).ok_or_else(too_large)?;
    Ok(())
}

fn too_large() -> String {
    "it is larger than the state may be".to_owned()
}
