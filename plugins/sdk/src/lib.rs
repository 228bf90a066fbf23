//! dsengine plugins in Rust: the contract of `wit/` as types, a trait for each kind of plugin, macros to export it.
//!
//! ```ignore
//! use dsengine_plugin::*;
//!
//! struct Door;
//!
//! impl Strategy for Door {
//!     fn new() -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!     fn judge(&mut self, _frame: &Frame, detections: &[Detection]) -> Result<Verdict, Error> {
//!         let found = detections.iter().position(|d| zones::contains("door", d.bbox) == Some(true));
//!         Ok(Verdict::alerts(found.map(|i| AlertDraft::new("door").level(Level::High).about([i]))))
//!     }
//! }
//!
//! export_strategy!(Door);
//! ```
//!
//! Build for `wasm32-wasip2`. A panic is a line in the engine's log and ends the call; the frame passes unchanged, and
//! a fresh instance takes over. What has to survive that belongs into [`state`].

pub mod config;
pub mod state;
mod values;

pub use bindings::handler::dsengine::plugin::http;
pub use bindings::handler::exports::dsengine::plugin::handler::Outcome;
pub use bindings::strategy::dsengine::plugin::*;
pub use types::{Alert, AlertDraft, Attribute, Bbox, Edit, Error, Frame, Level, Point, Value, Verdict};
#[doc(hidden)]
pub use values::shown;
pub use values::{Detection, json_text};

/// The contract, generated from `wit/`. Both worlds share one set of types.
#[doc(hidden)]
pub mod bindings {
    pub mod strategy {
        wit_bindgen::generate!({
            path: "wit",
            world: "detection-strategy",
            pub_export_macro: true,
            default_bindings_module: "dsengine_plugin::bindings::strategy",
        });
    }
    pub mod handler {
        wit_bindgen::generate!({
            path: "wit",
            world: "alert-handler",
            pub_export_macro: true,
            default_bindings_module: "dsengine_plugin::bindings::handler",
            with: {
                "dsengine:plugin/types@0.1.0": crate::bindings::strategy::dsengine::plugin::types,
                "dsengine:plugin/log@0.1.0": crate::bindings::strategy::dsengine::plugin::log,
                "dsengine:plugin/metrics@0.1.0": crate::bindings::strategy::dsengine::plugin::metrics,
                "dsengine:plugin/state@0.1.0": crate::bindings::strategy::dsengine::plugin::state,
                "dsengine:plugin/shared-state@0.1.0": crate::bindings::strategy::dsengine::plugin::shared_state,
                "dsengine:plugin/config@0.1.0": crate::bindings::strategy::dsengine::plugin::config,
                "dsengine:plugin/time@0.1.0": crate::bindings::strategy::dsengine::plugin::time,
            },
        });
    }
}

/// What a strategy says of itself.
#[derive(Default)]
pub struct Wants {
    /// Whether it reads [`pixels`] and needs a picture on each frame.
    pub pixels: bool,
    /// Labels it wants to see; empty = all.
    pub labels: Vec<String>,
    /// Whether [`Strategy::should_process`] is to be asked about each detection.
    pub selective: bool,
}

/// A strategy: judges one source, frame by frame, in order.
pub trait Strategy: Sized + 'static {
    /// Checks the configuration and sets up. An error refuses the plugin and is shown to the user.
    fn new() -> Result<Self, Error>;
    /// What it wants to be given. Called before [`Strategy::new`].
    fn wants() -> Wants {
        Wants::default()
    }
    /// Whether it wants to see a detection; asked only where [`Wants::selective`].
    fn should_process(&mut self, _detection: &types::Detection) -> bool {
        true
    }
    /// Judges one frame; indices count in `detections`. An error leaves the frame unchanged and is counted as a fault.
    fn judge(&mut self, frame: &Frame, detections: &[Detection]) -> Result<Verdict, Error>;
    /// Hands over what is not in [`state`], before a reload replaces this instance.
    fn suspend(&mut self) -> Vec<u8> {
        Vec::new()
    }
    /// Takes over what the predecessor of version `from` handed over. An error refuses the reload.
    fn resume(&mut self, _from: &str, _handed: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

/// A handler: delivers one alert at a time.
pub trait Handler: Sized + 'static {
    /// Checks the configuration and sets up. An error refuses the plugin and is shown to the user.
    fn new() -> Result<Self, Error>;
    /// Delivers an alert. An error means that it can never be delivered.
    fn handle(&mut self, alert: &Alert) -> Result<Outcome, Error>;
}

/// Makes a [`Strategy`] the plugin of this crate; name and version are those of its `Cargo.toml`.
#[macro_export]
#[rustfmt::skip]
macro_rules! export_strategy {
    ($plugin:ty) => {
        const _: () = {
            use $crate::bindings::strategy::exports::dsengine::plugin::strategy as contract;
            use $crate::{Error, Frame, Strategy, Verdict, types};
            $crate::export_strategy!(@instance $plugin);
            impl contract::Guest for Exported {
                fn describe() -> contract::Descriptor {
                    let $crate::Wants { pixels, labels, selective } = <$plugin as Strategy>::wants();
                    let (name, version) = (env!("CARGO_PKG_NAME").into(), env!("CARGO_PKG_VERSION").into());
                    contract::Descriptor { name, version, needs_pixels: pixels, labels, selective }
                }
                fn init() -> Result<(), Error> { <$plugin as Strategy>::new().map(begin) }
                fn should_process(d: types::Detection) -> bool { on(|p| Strategy::should_process(p, &d)) }
                fn judge(frame: Frame, labels: Vec<String>, seen: Vec<types::Seen>) -> Result<Verdict, Error> {
                    on(|p| Strategy::judge(p, &frame, &$crate::shown(&labels, &seen)))
                }
                fn suspend() -> Vec<u8> { on(Strategy::suspend) }
                fn resume(from: String, handed: Vec<u8>) -> Result<(), Error> { on(|p| Strategy::resume(p, &from, &handed)) }
            }
            $crate::bindings::strategy::export!(Exported with_types_in $crate::bindings::strategy);
        };
    };
    (@instance $plugin:ty) => {
        struct Exported;
        use ::std::cell::RefCell;
        ::std::thread_local!(static INSTANCE: RefCell<Option<$plugin>> = const { RefCell::new(None) });
        fn begin(plugin: $plugin) { INSTANCE.set(Some(plugin)) }
        fn on<R>(call: impl FnOnce(&mut $plugin) -> R) -> R {
            INSTANCE.with_borrow_mut(|p| call(p.as_mut().expect("the engine calls init first")))
        }
    };
}

/// Makes a [`Handler`] the plugin of this crate; name and version are those of its `Cargo.toml`.
#[macro_export]
#[rustfmt::skip]
macro_rules! export_handler {
    ($plugin:ty) => {
        const _: () = {
            use $crate::bindings::handler::exports::dsengine::plugin::handler as contract;
            use $crate::{Alert, Error, Handler, Outcome};
            $crate::export_strategy!(@instance $plugin);
            impl contract::Guest for Exported {
                fn describe() -> contract::Descriptor {
                    let (name, version) = (env!("CARGO_PKG_NAME").into(), env!("CARGO_PKG_VERSION").into());
                    contract::Descriptor { name, version }
                }
                fn init() -> Result<(), Error> { <$plugin as Handler>::new().map(begin) }
                fn handle_alert(alert: Alert) -> Result<Outcome, Error> { on(|p| Handler::handle(p, &alert)) }
            }
            $crate::bindings::handler::export!(Exported with_types_in $crate::bindings::handler);
        };
    };
}

/// Writes a line to the engine's log: `log!(Warn, "{n} people in {zone}")`; `Debug`, `Info`, `Warn`, `Error`.
#[macro_export]
macro_rules! log {
    ($severity:ident, $($text:tt)+) => { $crate::log::write($crate::log::Severity::$severity, &format!($($text)+)) };
}
