//! Log lines, metrics, settings and time.

use serde_json::Value;

use crate::guest::Severity;
use crate::telemetry::Meter;
use crate::wasm::bindings::dsengine::plugin::{config, log, metrics, time};
use crate::wasm::store_data::StoreData;

/// Maximum length of a dropped metric's name in the message.
const NAME_BYTES_SHOWN: usize = 100;

impl log::Host for StoreData {
    fn write(&mut self, severity: log::Severity, message: String) -> wasmtime::Result<()> {
        let severity = match severity {
            log::Severity::Debug => Severity::Debug,
            log::Severity::Info => Severity::Info,
            log::Severity::Warn => Severity::Warn,
            log::Severity::Error => Severity::Error,
        };
        self.context.log(severity, &message, self.call.pts_ns);
        Ok(())
    }
}

impl StoreData {
    /// Passes a value to the meter; logs a rejected one in the guest's log, within its rate limit.
    fn figure(&self, name: &str, value: f64, put: impl FnOnce(&Meter, &str, f64) -> bool) {
        if self.context.rehearsal || put(&self.context.meter, name, value) {
            return;
        }
        let name = &name[..name.floor_char_boundary(NAME_BYTES_SHOWN)];
        let rules = self.context.meter.rules(name);
        let text = format!("the figure {name} = {value} was dropped: {rules}");
        self.context.log(Severity::Warn, &text, self.call.pts_ns);
    }
}

impl metrics::Host for StoreData {
    fn add(&mut self, name: String, by: f64) -> wasmtime::Result<()> {
        self.figure(&name, by, Meter::add);
        Ok(())
    }

    fn set(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.figure(&name, value, Meter::set);
        Ok(())
    }

    fn observe(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.figure(&name, value, Meter::observe);
        Ok(())
    }
}

impl config::Host for StoreData {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(match self.context.config.get(&key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(value) => Some(value.to_string()),
        })
    }

    fn all(&mut self) -> wasmtime::Result<String> {
        Ok(if self.context.config.is_object() { self.context.config.to_string() } else { "{}".to_owned() })
    }
}

impl time::Host for StoreData {
    fn frame_ns(&mut self) -> wasmtime::Result<u64> {
        Ok(self.call.pts_ns)
    }
}
