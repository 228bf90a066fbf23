//! One Luau VM with one script: built, called, measured, dropped as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mlua::{Lua, MultiValue, Table, Value, VmState};
use parking_lot::Mutex;

use super::call_state::{self, CallState, DROPPED, KEPT, Labels};
use super::convert;
use super::fault;
use super::furnish::{FrameParts, Parts, furnish};
use super::habits;
use super::host::Host;
use super::picture::Delivered;
use super::require::Modules;
use super::script::Script;
use crate::guest::{Budget, Fault, FaultKind, Interrupt, Overrun, TimeLimits};
use crate::strategy::View;
use crate::types::{Alert, Zone};

/// Initial number of rows in the buffer; doubles as needed.
const ROWS_MIN: usize = 32;
/// The garbage collector runs after a call once this much was allocated since its last cycle.
const GC_DEBT_BYTES: usize = 256 << 10;
/// Bytes in use per collector step after one call: a larger heap gets more steps, or a cycle would never finish.
const GC_BYTES_PER_STEP: usize = 64 << 10;
/// Maximum collector steps after one call, about 2 µs each, so that a frame never waits for a full cycle.
const GC_STEPS_MAX: usize = 64;

/// A script's optional functions.
const OPTIONAL: [&str; 4] = ["should_process", "suspend", "resume", "migrate"];
/// Error messages for writes while state is read-only.
const LOADING: &str = "while the script loads, state can only be read; set it from detect on";
const LOADING_HANDLER: &str = "while the script loads, state can only be read; set it from handle_alert on";
const SUSPENDING: &str = "in suspend, state can only be read: what it holds stays anyway; return the rest";

/// The cost and result of one call.
pub(super) struct Call<T> {
    /// CPU time, if the call was long enough for the watchdog to measure.
    pub(super) spent: Option<Duration>,
    pub(super) result: Result<T, Fault>,
}

/// The script's own functions, and the instance that they are methods of, or nil.
struct Entry {
    instance: Value,
    found: Table,
}

/// A VM that is ready to judge or to deliver.
pub(super) struct Vm {
    lua: Lua,
    parts: Parts,
    entry: Entry,
    labels: Labels,
    call_state: Arc<Mutex<CallState>>,
    budget: Budget,
    overrun_at: Arc<Mutex<Option<String>>>,
    modules: Arc<Mutex<Modules>>,
    staging: Vec<u8>,
    collected_at: usize,
    cycles_due: u8,
}

impl Vm {
    /// Builds a VM and runs the script's top level.
    pub(super) fn build(script: &Script, host: &Host) -> Result<Self, Fault> {
        let limits = &script.context.limits;
        let broken = |e: mlua::Error| fault::of(&e, None, &script.file, limits.load, limits);
        let call_state = Arc::clone(&host.call_state);
        let (lua, parts) = furnish(script, host).map_err(broken)?;
        let mut vm = Self {
            entry: Entry { instance: Value::Nil, found: lua.create_table().map_err(broken)? },
            parts,
            labels: Labels::default(),
            lua,
            call_state,
            budget: script.context.watchdog.budget(),
            overrun_at: Arc::default(),
            modules: Arc::clone(&host.modules),
            staging: Vec::new(),
            collected_at: 0,
            cycles_due: 0,
        };
        // There is no frame yet, but the source's zones are known: a script may check the names in its config while it
        // loads.
        vm.bind(&mut vm.call_state.lock(), ROWS_MIN, &script.context.zones, script).map_err(broken)?;
        vm.run_top_level(script)?;
        Ok(vm)
    }

    fn run_top_level(&mut self, script: &Script) -> Result<(), Fault> {
        let limits = &script.context.limits;
        let broken = |e: mlua::Error| self.explained(fault::of(&e, None, &script.file, limits.load, limits), script);
        let chunk = self.lua.load(&script.text).set_name(format!("@{}", script.file));
        let main = chunk.set_mode(mlua::chunk::ChunkMode::Text).into_function().map_err(broken)?;
        let (entry, loading) = match self.parts.frame {
            Some(_) => ("detect", LOADING),
            None => ("handle_alert", LOADING_HANDLER),
        };
        let names = OPTIONAL.into_iter().chain([entry]).map(|name| (name, true));
        let names = self.lua.create_table_from(names).map_err(broken)?;
        let globals = self.lua.globals();
        let config: Value = globals.get("config").map_err(broken)?;
        let find = &self.parts.find;
        let found = self.loading(script, Some(loading), || {
            main.call::<()>(())?;
            find.call::<(Value, Table)>((&globals, script.class.as_deref(), config, names))
        });
        let (instance, found) = found?;
        if !found.raw_get::<Value>(entry).map_err(broken)?.is_function() {
            let what = match (&script.class, entry) {
                (None, "detect") => "there is no function detect(frame)".to_owned(),
                (None, _) => "there is no function handle_alert(alert)".to_owned(),
                (Some(class), _) => format!("{class} has no function {entry}"),
            };
            return Err(Fault { kind: FaultKind::Error, message: format!("{}: {what}", script.file) });
        }
        if let Some(frame) = &self.parts.frame {
            frame.enter.call::<()>((&instance, &found)).map_err(broken)?;
        }
        self.entry = Entry { instance, found };
        self.guard(self.everyday(script));
        Ok(())
    }

    /// The limits of regular calls: judging or delivering.
    fn everyday(&self, script: &Script) -> TimeLimits {
        let limits = &script.context.limits;
        if self.parts.frame.is_some() { limits.call } else { limits.delivery }
    }

    /// Runs guest code within the load limits.
    fn loading<T>(
        &self,
        script: &Script,
        reads_only: Option<&'static str>,
        call: impl FnOnce() -> mlua::Result<T>,
    ) -> Result<T, Fault> {
        let limits = &script.context.limits;
        self.call_state.lock().reads_only = reads_only;
        self.guard(limits.load);
        let call = self.run(script, limits.load, call);
        self.guard(self.everyday(script));
        self.call_state.lock().reads_only = None;
        call.result
    }

    /// Runs guest code within its time limits.
    fn run<T>(&self, script: &Script, time: TimeLimits, call: impl FnOnce() -> mlua::Result<T>) -> Call<T> {
        let limits = &script.context.limits;
        let (result, spent, over) = self.guest(limits.memory_bytes, call);
        let result = match (result, over) {
            (Ok(value), None) => Ok(value),
            // The script caught the limit's error and returned: the call is still a fault.
            (Ok(_), over) => Err(fault::of(&mlua::Error::runtime("time"), self.met(over), &script.file, time, limits)),
            (Err(error), over) => Err(fault::of(&error, self.met(over), &script.file, time, limits)),
        };
        Call { spent, result: result.map_err(|fault| script.masked(self.explained(fault, script))) }
    }

    /// Adds a hint to a fault if its line has a construct with another name in Luau or the API.
    fn explained(&self, fault: Fault, script: &Script) -> Fault {
        if fault.kind != FaultKind::Error {
            return fault;
        }
        let modules = self.modules.lock();
        // For a module that does not compile, the message is nested in that of `require`.
        let (_, message) = fault.message.split_once("require: ").unwrap_or(("", &fault.message));
        let file = message.split(':').next().unwrap_or_default();
        let text = if file == script.file { Some(script.text.as_str()) } else { modules.text(file) };
        match text.and_then(|text| habits::hint(message, file, text)) {
            Some(hint) => {
                // A construct of another Lua fails on every frame.
                script.context.trial.iter().for_each(|trial| trial.breaks());
                Fault { message: format!("{}; {hint}", fault.message), ..fault }
            }
            None => fault,
        }
    }

    /// Sets the interrupt that enforces `limits` on guest code.
    fn guard(&self, limits: TimeLimits) {
        let interrupt: Interrupt = self.budget.interrupt(limits);
        let overrun_at = Arc::clone(&self.overrun_at);
        self.lua.set_interrupt(move |lua| match interrupt.check() {
            None => Ok(VmState::Continue),
            Some(_) => {
                let mut overrun_at = overrun_at.lock();
                *overrun_at = overrun_at.take().or_else(|| fault::script_line(lua));
                Err(mlua::Error::runtime("stopped by the time limit"))
            }
        });
    }

    /// Runs guest code within its time limits and the memory limit. The memory limit makes the host's own table
    /// building expensive, so it is removed outside of the call.
    fn guest<R>(&self, memory: usize, call: impl FnOnce() -> R) -> (R, Option<Duration>, Option<Overrun>) {
        // Cannot fail: the VM has its own allocator.
        let _ = self.lua.set_memory_limit(memory);
        self.budget.start();
        let result = call();
        let (spent, over) = self.budget.end();
        let _ = self.lua.set_memory_limit(0);
        (result, spent, over)
    }

    fn met(&self, over: Option<Overrun>) -> Option<(Overrun, Option<String>)> {
        let overrun_at = self.overrun_at.lock().take();
        over.map(|over| (over, overrun_at))
    }

    /// Judges one frame; the verdict is then in the call state.
    pub(super) fn judge(&mut self, view: &View<'_>, script: &Script) -> Call<()> {
        let limits = &script.context.limits;
        if let Err(error) = self.fill(view, script) {
            let fault = fault::of(&error, None, &script.file, limits.call, limits);
            return Call { spent: None, result: Err(fault) };
        }
        // A handler never gets a frame.
        let Some(frame) = &self.parts.frame else { return Call { spent: None, result: Ok(()) } };
        let Call { spent, result } = self.run(script, limits.call, || frame.judge.call::<(u8, u32)>(()));
        self.call_state.lock().leave();
        let result = result.map(|(marks, seen)| self.marks(marks, seen as usize));
        self.collect();
        Call { spent, result }
    }

    /// Delivers one alert; returns the script's return values.
    pub(super) fn deliver(&mut self, alert: &Alert, delivered: Option<Delivered>, script: &Script) -> Call<MultiValue> {
        let limits = &script.context.limits;
        let alert_table = match self.alert(alert, script) {
            Ok(table) => table,
            Err(error) => {
                let fault = fault::of(&error, None, &script.file, limits.delivery, limits);
                return Call { spent: None, result: Err(fault) };
            }
        };
        {
            let mut call_state = self.call_state.lock();
            (call_state.pts_ns, call_state.shared_ns, call_state.requests) = (alert.pts_ns, alert.id.unix_ns(), 0);
            call_state.deadline = tokio::time::Instant::now().checked_add(limits.delivery.wall);
            call_state.delivered = delivered;
            call_state.writes.clear();
        }
        let Entry { instance, found } = &self.entry;
        let call = self.run(script, limits.delivery, || {
            self.parts.call.call::<MultiValue>((instance, found.raw_get::<Value>("handle_alert")?, alert_table))
        });
        self.call_state.lock().leave();
        self.collect();
        call
    }

    /// The alert as a table, its fields as in JSON.
    fn alert(&self, alert: &Alert, script: &Script) -> mlua::Result<Value> {
        // Through JSON text, so that 0.9 is 0.9 and not the nearest 32-bit float.
        let json = serde_json::to_vec(alert).and_then(|text| serde_json::from_slice(&text));
        let value = convert::to_lua(&self.lua, &json.map_err(mlua::Error::external)?, false)?;
        super::strict::alert(&self.lua, value, script.context.trial.as_ref())
    }

    /// The state that the script hands to its successor: a value as JSON, or nothing.
    pub(super) fn suspend(&mut self, script: &Script) -> Result<Vec<u8>, Fault> {
        let Entry { instance, found } = &self.entry;
        let most = script.context.limits.state_bytes;
        let kept = self.loading(script, Some(SUSPENDING), || {
            let value: Value = match found.raw_get::<Value>("suspend")? {
                Value::Nil => return Ok(None),
                suspend => self.parts.call.call((instance, suspend))?,
            };
            self.parts.hand_over.call::<()>(&value)?;
            Ok((!value.is_nil()).then(|| convert::from_lua(&value, &mut { most })))
        })?;
        let Some(json) = kept else { return Ok(Vec::new()) };
        json.map(|json| json.to_string().into_bytes()).map_err(|what| Fault {
            kind: FaultKind::Verdict,
            message: format!("{}: what suspend returned: {what}", script.file),
        })
    }

    /// Takes over from a predecessor; the call state then has the writes.
    pub(super) fn resume(&mut self, script: &Script, differs: bool, from: &str, state: &[u8]) -> Result<(), Fault> {
        let limits = &script.context.limits;
        let handed = match state {
            [] => Ok(Value::Nil),
            bytes => match serde_json::from_slice(bytes) {
                Ok(json) => convert::to_lua(&self.lua, &json, false),
                // A component as predecessor hands over arbitrary bytes.
                Err(_) => self.lua.create_string(bytes).map(Value::String),
            },
        };
        let handed = handed.map_err(|e| fault::of(&e, None, &script.file, limits.load, limits))?;
        {
            let mut call_state = self.call_state.lock();
            call_state.writes.clear();
            call_state.timeless = true;
        }
        let Entry { instance, found } = &self.entry;
        let result =
            self.loading(script, None, || self.parts.resume.call::<()>((instance, found, differs, from, handed)));
        self.call_state.lock().timeless = false;
        result
    }

    /// Binds a buffer for frames of up to `capacity` rows, and the source's zones.
    fn bind(&self, call_state: &mut CallState, capacity: usize, zones: &[Zone], script: &Script) -> mlua::Result<()> {
        let Some(frame) = &self.parts.frame else { return Ok(()) };
        let buffer = self.lua.create_buffer_with_capacity(call_state::bytes(capacity, zones.len()))?;
        let (names, numbers) = zone_tables(&self.lua, zones)?;
        frame.bind.call::<()>((&buffer, capacity, names, numbers, script.source()))?;
        (call_state.buffer, call_state.capacity, call_state.zones) = (Some(buffer), capacity, zones.to_vec());
        Ok(())
    }

    /// Copies the frame to where the prelude reads it.
    fn fill(&mut self, view: &View<'_>, script: &Script) -> mlua::Result<()> {
        let mut call_state = self.call_state.lock();
        call_state.take(view, script.context.grants.has.pixels);
        let rows = view.frame.detections.len();
        if rows > call_state.capacity || call_state.zones != view.zones {
            let capacity = rows.next_power_of_two().max(call_state.capacity);
            self.bind(&mut call_state, capacity, view.zones, script)?;
        }
        self.labels.bound();
        let Some(FrameParts { labels: table, .. }) = &self.parts.frame else { return Ok(()) };
        let labels = &mut self.labels;
        let mut failed = None;
        call_state::write(&mut self.staging, view, call_state.capacity, call_state.zones.len(), |label| {
            let (number, new) = labels.number(label);
            if new {
                failed = table.raw_set(number, &**label).err().or_else(|| failed.take());
            }
            number
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(buffer) = &call_state.buffer {
            buffer.write_bytes(0, &self.staging);
        }
        Ok(())
    }

    /// Converts the frame's marks to the verdict's kept indices. Detections that `should_process` hid from the script
    /// are kept.
    fn marks(&self, used: u8, seen: usize) {
        if used == 0 {
            return;
        }
        let mut call_state = self.call_state.lock();
        let Some(data) = call_state.buffer.as_ref().map(mlua::Buffer::to_vec) else { return };
        let rows = call_state.boxes.len();
        let mut shown = vec![false; rows];
        for row in data[call_state::HEADER..].chunks_exact(call_state::ROW).take(seen) {
            let origin = u32::from_le_bytes([row[28], row[29], row[30], row[31]]) as usize;
            shown[origin] = true;
        }
        let flags = &data[call_state::HEADER + call_state.capacity * call_state::ROW..][..rows];
        let stays = |origin: &u32| {
            let flag = flags[*origin as usize];
            let unkept = shown[*origin as usize] && used & KEPT != 0 && flag & KEPT == 0;
            flag & DROPPED == 0 && !unkept
        };
        call_state.verdict.keep = Some((0..rows as u32).filter(stays).collect());
    }

    /// Runs the collector for a bounded number of steps between frames once enough was allocated.
    fn collect(&mut self) {
        if self.cycles_due == 0 {
            if self.lua.used_memory() < self.collected_at + GC_DEBT_BYTES {
                return;
            }
            // Garbage created during a cycle survives it; the second cycle frees it.
            self.cycles_due = 2;
        }
        let steps = (self.lua.used_memory() / GC_BYTES_PER_STEP).clamp(4, GC_STEPS_MAX);
        for _ in 0..steps {
            // Finalisers cannot fail: scripts have none.
            if self.lua.gc_step().unwrap_or(true) {
                self.cycles_due -= 1;
                self.collected_at = self.lua.used_memory();
                break;
            }
        }
    }

    /// Bytes that the VM holds.
    pub(super) fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }
}

fn zone_tables(lua: &Lua, zones: &[Zone]) -> mlua::Result<(Table, Table)> {
    let names = lua.create_sequence_from(zones.iter().map(|z| z.name.as_str()))?;
    let numbers: HashMap<&str, usize> = zones.iter().enumerate().map(|(i, z)| (z.name.as_str(), i + 1)).collect();
    Ok((names, lua.create_table_from(numbers)?))
}
