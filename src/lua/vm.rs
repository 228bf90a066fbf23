//! One Luau VM with one script in it: built, called, measured, dropped whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value, VmState};

use super::convert;
use super::fault;
use super::host::{Host, lock};
use super::require::Modules;
use super::script::Script;
use super::seat::{self, DROPPED, KEPT, Labels, Seat};
use crate::guest::{Collar, Fault, FaultKind, Leash, Overrun, TimeLimits};
use crate::strategy::View;
use crate::types::Zone;

/// Rows the buffer has room for at first; doubles as frames need it.
const ROWS_MIN: usize = 32;
/// Globals of Luau that scripts do not get: they load code, reach into other functions, or read the machine's
/// clock, which would make a replay differ.
const WITHHELD: [&str; 7] = ["loadstring", "collectgarbage", "gcinfo", "getfenv", "setfenv", "newproxy", "os"];
/// The garbage collector gets a turn after a call once this much was allocated since its last cycle.
const GC_DEBT_BYTES: usize = 256 << 10;
/// Bytes in use per step of the collector after one call: a larger heap gets longer turns, or it would never finish.
const GC_BYTES_PER_STEP: usize = 64 << 10;
/// Most steps of the collector after one call, some 2 µs each, so that a frame never waits for a full cycle.
const GC_STEPS_MAX: usize = 64;

/// What a call said of detections besides the verdict in the seat: marks per origin, or none.
pub(super) struct Call {
    /// CPU time, where the call was long enough for the watchdog to look.
    pub(super) spent: Option<Duration>,
    /// The outcome.
    pub(super) result: Result<(), Fault>,
}

/// A VM that is ready to judge.
pub(super) struct Vm {
    lua: Lua,
    bind: Function,
    judge: Function,
    label_table: Table,
    labels: Labels,
    pub(super) seat: Arc<Mutex<Seat>>,
    leash: Leash,
    place: Arc<Mutex<Option<String>>>,
    staging: Vec<u8>,
    collected_at: usize,
    cycles_due: u8,
}

impl Vm {
    /// Builds a VM and runs the script's top level in it.
    pub(super) fn build(script: &Script, seat: Arc<Mutex<Seat>>, modules: &Arc<Mutex<Modules>>) -> Result<Self, Fault> {
        let leash = script.home.watchdog.leash();
        let place = Arc::default();
        let limits = &script.home.limits;
        let broken = |e: mlua::Error| fault::of(&e, None, &script.file, limits.load, limits);
        let host = Host { seat: Arc::clone(&seat), modules: Arc::clone(modules), home: script.home.clone() };
        // Bound to the new VM by its first frame.
        {
            let mut seat = lock(&seat);
            (seat.buffer, seat.capacity, seat.zones) = (None, 0, Vec::new());
            seat.loading = true;
        }
        let (lua, parts) = furnish(script, &host).map_err(broken)?;
        let vm = Self {
            bind: parts.raw_get("bind").map_err(broken)?,
            judge: parts.raw_get("judge").map_err(broken)?,
            label_table: parts.raw_get("labels").map_err(broken)?,
            labels: Labels::default(),
            lua,
            seat,
            leash,
            place,
            staging: Vec::new(),
            collected_at: 0,
            cycles_due: 0,
        };
        let result = vm.run_top_level(script, &parts);
        lock(&vm.seat).loading = false;
        result.map(|()| vm)
    }

    fn run_top_level(&self, script: &Script, parts: &Table) -> Result<(), Fault> {
        let limits = &script.home.limits;
        let broken = |e: mlua::Error| fault::of(&e, None, &script.file, limits.load, limits);
        let chunk = self.lua.load(&script.text).set_name(format!("@{}", script.file));
        let main = chunk.set_mode(mlua::chunk::ChunkMode::Text).into_function().map_err(broken)?;
        self.guard(limits.load);
        let (result, _, over) = self.guest(limits.memory_bytes, || main.call::<()>(()));
        result.map_err(|e| fault::of(&e, self.met(over), &script.file, limits.load, limits))?;
        let missing = |what: &str| Fault { kind: FaultKind::Error, message: format!("{}: {what}", script.file) };
        let globals = self.lua.globals();
        let detect: Value = globals.get("detect").map_err(broken)?;
        let filter: Value = globals.get("should_process").map_err(broken)?;
        if !detect.is_function() {
            return Err(missing("there is no function detect(frame)"));
        }
        if !filter.is_function() && !filter.is_nil() {
            return Err(missing("should_process is not a function"));
        }
        let enter: Function = parts.raw_get("enter").map_err(broken)?;
        enter.call::<()>((detect, filter)).map_err(broken)?;
        // The zones a script names in its config are checked by their first use; nothing of the frame is known yet.
        self.guard(limits.call);
        Ok(())
    }

    /// Sets the interrupt that keeps guest code within `limits`.
    fn guard(&self, limits: TimeLimits) {
        let collar: Collar = self.leash.collar(limits);
        let place = Arc::clone(&self.place);
        self.lua.set_interrupt(move |lua| match collar.check() {
            None => Ok(VmState::Continue),
            Some(_) => {
                lock(&place).get_or_insert_with(|| script_line(lua));
                Err(mlua::Error::runtime("stopped by the time limit"))
            }
        });
    }

    /// Runs guest code on the leash and under the memory limit, which costs the host's own table building dearly
    /// and is therefore lifted outside.
    fn guest<R>(&self, memory: usize, call: impl FnOnce() -> R) -> (R, Option<Duration>, Option<Overrun>) {
        // Cannot fail: the VM has its own allocator.
        let _ = self.lua.set_memory_limit(memory);
        self.leash.start();
        let result = call();
        let (spent, over) = self.leash.end();
        let _ = self.lua.set_memory_limit(0);
        (result, spent, over)
    }

    fn met(&self, over: Option<Overrun>) -> Option<(Overrun, Option<String>)> {
        let place = lock(&self.place).take();
        over.map(|over| (over, place))
    }

    /// Judges one frame; the verdict is in the seat afterwards.
    pub(super) fn call(&mut self, view: &View<'_>, script: &Script) -> Call {
        let limits = &script.home.limits;
        if let Err(error) = self.fill(view, script) {
            let fault = fault::of(&error, None, &script.file, limits.call, limits);
            return Call { spent: None, result: Err(fault) };
        }
        let judge = &self.judge;
        let (result, spent, over) = self.guest(limits.memory_bytes, || judge.call::<(u8, u32)>(()));
        lock(&self.seat).leave();
        let result = match (result, over) {
            (Ok((marks, seen)), None) => {
                self.marks(marks, seen as usize);
                Ok(())
            }
            // The script caught the limit's error and came back: the call still does not count.
            (Ok(_), over) => {
                let error = mlua::Error::runtime("time");
                Err(fault::of(&error, self.met(over), &script.file, limits.call, limits))
            }
            (Err(error), over) => Err(fault::of(&error, self.met(over), &script.file, limits.call, limits)),
        };
        self.collect();
        Call { spent, result }
    }

    /// Puts the frame where the prelude reads it.
    fn fill(&mut self, view: &View<'_>, script: &Script) -> mlua::Result<()> {
        let mut seat = lock(&self.seat);
        seat.take(view);
        let rows = view.frame.detections.len();
        if seat.buffer.is_none() || rows > seat.capacity || seat.zones != view.zones {
            seat.capacity = rows.next_power_of_two().max(ROWS_MIN).max(seat.capacity);
            seat.zones = view.zones.to_vec();
            let buffer = self.lua.create_buffer_with_capacity(seat::bytes(seat.capacity, seat.zones.len()))?;
            let (names, numbers) = zone_tables(&self.lua, &seat.zones)?;
            self.bind.call::<()>((&buffer, seat.capacity, names, numbers, script.source()))?;
            seat.buffer = Some(buffer);
        }
        self.labels.bound();
        let (labels, table) = (&mut self.labels, &self.label_table);
        let mut failed = None;
        seat::write(&mut self.staging, view, seat.capacity, seat.zones.len(), |label| {
            let (number, new) = labels.number(label);
            if new {
                failed = table.raw_set(number, &**label).err().or_else(|| failed.take());
            }
            number
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(buffer) = &seat.buffer {
            buffer.write_bytes(0, &self.staging);
        }
        Ok(())
    }

    /// Turns the prelude's marks into the verdict's kept indices. What `should_process` hid from the script stays.
    fn marks(&self, used: u8, seen: usize) {
        if used == 0 {
            return;
        }
        let mut seat = lock(&self.seat);
        let Some(data) = seat.buffer.as_ref().map(mlua::Buffer::to_vec) else { return };
        let rows = seat.boxes.len();
        let mut shown = vec![false; rows];
        for row in data[seat::HEADER..].chunks_exact(seat::ROW).take(seen) {
            let origin = u32::from_le_bytes([row[28], row[29], row[30], row[31]]) as usize;
            shown[origin] = true;
        }
        let flags = &data[seat::HEADER + seat.capacity * seat::ROW..][..rows];
        let stays = |origin: &u32| {
            let flag = flags[*origin as usize];
            let unkept = shown[*origin as usize] && used & KEPT != 0 && flag & KEPT == 0;
            flag & DROPPED == 0 && !unkept
        };
        seat.verdict.keep = Some((0..rows as u32).filter(stays).collect());
    }

    /// Gives the collector a bounded turn between frames once enough was allocated.
    fn collect(&mut self) {
        if self.cycles_due == 0 {
            if self.lua.used_memory() < self.collected_at + GC_DEBT_BYTES {
                return;
            }
            // What died while a cycle was under way outlives it; the second one has it.
            self.cycles_due = 2;
        }
        let steps = (self.lua.used_memory() / GC_BYTES_PER_STEP).clamp(4, GC_STEPS_MAX);
        for _ in 0..steps {
            // Errors of finalisers cannot be: scripts have none.
            if self.lua.gc_step().unwrap_or(true) {
                self.cycles_due -= 1;
                self.collected_at = self.lua.used_memory();
                break;
            }
        }
    }

    /// Bytes the VM holds.
    pub(super) fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }
}

/// A fresh VM with the API in it, its sandbox closed.
fn furnish(script: &Script, host: &Host) -> mlua::Result<(Lua, Table)> {
    let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new().catch_rust_panics(false))?;
    let globals = lua.globals();
    globals.get::<Table>("math")?.get::<Function>("randomseed")?.call::<()>(script.seed())?;
    let prelude = lua.load(include_str!("prelude.luau")).set_name("=dsengine");
    let parts: Table = prelude.set_mode(mlua::chunk::ChunkMode::Text).call(host.table(&lua)?)?;
    parts.raw_get::<Table>("frame")?.set_readonly(true);
    for name in ["log", "time", "state", "table", "require"] {
        globals.raw_set(name, parts.raw_get::<Value>(name)?)?;
    }
    globals.raw_set("print", parts.raw_get::<Table>("log")?.raw_get::<Value>("info")?)?;
    globals.raw_set("config", convert::to_lua(&lua, &script.home.config, true)?)?;
    let traceback: Value = globals.get::<Table>("debug")?.get("traceback")?;
    let debug = lua.create_table()?;
    debug.raw_set("traceback", traceback)?;
    globals.raw_set("debug", debug)?;
    for name in WITHHELD {
        globals.raw_set(name, Value::Nil)?;
    }
    lua.sandbox(true)?;
    Ok((lua, parts))
}

fn zone_tables(lua: &Lua, zones: &[Zone]) -> mlua::Result<(Table, Table)> {
    let names = lua.create_sequence_from(zones.iter().map(|z| z.name.as_str()))?;
    let numbers: HashMap<&str, usize> = zones.iter().enumerate().map(|(i, z)| (z.name.as_str(), i + 1)).collect();
    Ok((names, lua.create_table_from(numbers)?))
}

/// `scripts/x.lua:12` of the innermost function that is the script's own.
fn script_line(lua: &Lua) -> String {
    (0..64)
        .find_map(|level| {
            lua.inspect_stack(level, |function| {
                let source = function.source();
                let file = source.short_src.as_deref().filter(|s| *s != "dsengine" && *s != "[C]");
                file.zip(function.current_line()).map(|(file, line)| format!("{file}:{line}"))
            })
            .flatten()
        })
        .unwrap_or_default()
}
