//! Log lines, figures, settings and time.

use serde_json::Value;

use crate::guest::Severity;
use crate::wasm::bindings::dsengine::plugin::{config, log, metrics, time};
use crate::wasm::seat::Seat;

impl log::Host for Seat {
    fn write(&mut self, severity: log::Severity, message: String) -> wasmtime::Result<()> {
        let severity = match severity {
            log::Severity::Debug => Severity::Debug,
            log::Severity::Info => Severity::Info,
            log::Severity::Warn => Severity::Warn,
            log::Severity::Error => Severity::Error,
        };
        self.home.log(severity, &message, self.call.pts_ns);
        Ok(())
    }
}

impl metrics::Host for Seat {
    fn add(&mut self, name: String, by: f64) -> wasmtime::Result<()> {
        if !self.home.rehearsal {
            self.home.meter.add(&name, by);
        }
        Ok(())
    }

    fn set(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        if !self.home.rehearsal {
            self.home.meter.set(&name, value);
        }
        Ok(())
    }

    fn observe(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        if !self.home.rehearsal {
            self.home.meter.observe(&name, value);
        }
        Ok(())
    }
}

impl config::Host for Seat {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(match self.home.config.get(&key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(value) => Some(value.to_string()),
        })
    }

    fn all(&mut self) -> wasmtime::Result<String> {
        Ok(if self.home.config.is_object() { self.home.config.to_string() } else { "{}".to_owned() })
    }
}

impl time::Host for Seat {
    fn frame_ns(&mut self) -> wasmtime::Result<u64> {
        Ok(self.call.pts_ns)
    }
}
