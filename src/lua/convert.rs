//! Converts between JSON and Lua values, with bounds: a script cannot make the host recurse or copy without end.

use mlua::{Lua, Table, Value as LuaValue};
use serde_json::{Map, Number, Value};

/// Maximum nesting of tables from or for a script.
const DEPTH_MAX: usize = 16;

/// The metatable field with what Lua cannot express itself: a list's length, the names of null values in a map.
const KIND: &str = "__json";

/// Converts JSON to Lua; null becomes nil. Tables are read-only if `frozen`. A table's metatable records an empty list
/// and null values, so that [`from_lua`] restores the same JSON.
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
            if items.is_empty() || items.iter().any(Value::is_null) {
                remember(lua, &table, items.len())?;
            }
            table.set_readonly(frozen);
            LuaValue::Table(table)
        }
        Value::Object(fields) => {
            let table = lua.create_table_with_capacity(0, fields.len())?;
            for (key, field) in fields {
                table.raw_set(key.as_str(), to_lua(lua, field, frozen)?)?;
            }
            let nulls: Vec<&str> = fields.iter().filter(|(_, v)| v.is_null()).map(|(key, _)| key.as_str()).collect();
            if !nulls.is_empty() {
                remember(lua, &table, lua.create_sequence_from(nulls)?)?;
            }
            table.set_readonly(frozen);
            LuaValue::Table(table)
        }
    })
}

/// Gives a table its own metatable, which has no other effect.
fn remember(lua: &Lua, table: &Table, kind: impl mlua::IntoLua) -> mlua::Result<()> {
    let metatable = lua.create_table()?;
    metatable.raw_set(KIND, kind)?;
    metatable.set_readonly(true);
    table.set_metatable(Some(metatable))
}

/// What a table's metatable records.
enum Kind {
    /// Nothing.
    Any,
    /// A list of this length.
    List(usize),
    /// A map in which these names are null.
    Map(Vec<String>),
}

/// Reads what a table's metatable records. A script may write such a metatable itself: an invalid one counts as
/// nothing, and one that takes more than `budget` bytes is too large.
fn kind(table: &Table, budget: &mut usize) -> Result<Kind, String> {
    let Some(said) = table.metatable().and_then(|metatable| metatable.raw_get::<LuaValue>(KIND).ok()) else {
        return Ok(Kind::Any);
    };
    let names = match said {
        LuaValue::Integer(length) => return Ok(usize::try_from(length).map_or(Kind::Any, Kind::List)),
        LuaValue::Number(length) if length >= 0.0 => return Ok(Kind::List(length as usize)),
        LuaValue::Table(names) => names,
        _ => return Ok(Kind::Any),
    };
    let mut nulls = Vec::new();
    for index in 1..=names.raw_len() {
        spend(budget, 8)?;
        if let Ok(LuaValue::String(name)) = names.raw_get::<LuaValue>(index)
            && let Ok(name) = name.to_str()
        {
            spend(budget, name.len())?;
            nulls.push(name.to_owned());
        }
    }
    Ok(Kind::Map(nulls))
}

/// Converts a Lua value to JSON of at most `budget` bytes.
///
/// # Errors
/// Describes, for the script's author, what cannot be stored.
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

/// A list if all keys are 1..n, else an object if all keys are strings; an empty table is what its metatable records.
fn from_table(table: &Table, budget: &mut usize, depth: usize) -> Result<Value, String> {
    let kind = kind(table, budget)?;
    let (listed, nulls) = match kind {
        Kind::Any => (None, Vec::new()),
        Kind::List(length) => (Some(length), Vec::new()),
        Kind::Map(nulls) => (None, nulls),
    };
    let length = table.raw_len().max(listed.unwrap_or(0));
    let gap = || "a table's keys are texts, or the numbers 1 to n without a gap".to_owned();
    // A value takes at least 8 bytes: nothing is allocated for a list that is too long anyway.
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
            // An integer key. Lists are not always iterated in order.
            LuaValue::Integer(key) => {
                let slot = usize::try_from(key).ok().and_then(|key| items.get_mut(key.checked_sub(1)?));
                *slot.ok_or_else(gap)? = Some(from_lua_at(&value, budget, depth)?);
            }
            _ => return Err(gap()),
        }
    }
    let null = || listed.map(|_| Value::Null);
    let items = match fields.is_empty() || listed.is_none() {
        true => items.into_iter().map(|item| item.or_else(null)).collect::<Option<Vec<_>>>().ok_or_else(gap)?,
        // A list that was given string keys later.
        false if items.iter().all(Option::is_none) => Vec::new(),
        false => return Err(mixed()),
    };
    for name in nulls {
        if items.is_empty() {
            fields.entry(name).or_insert(Value::Null);
        }
    }
    match (items.is_empty(), fields.is_empty()) {
        (true, true) if listed.is_some() => Ok(Value::Array(items)),
        (false, true) => Ok(Value::Array(items)),
        (true, _) => Ok(Value::Object(fields)),
        (false, false) => Err(mixed()),
    }
}

fn mixed() -> String {
    "a table that is both a list and a map cannot be kept".to_owned()
}

fn spend(budget: &mut usize, bytes: usize) -> Result<(), String> {
    *budget = budget.checked_sub(bytes).ok_or_else(too_large)?;
    Ok(())
}

fn too_large() -> String {
    "it is larger than the state may be".to_owned()
}
