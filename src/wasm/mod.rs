//! WASM components as strategies and handlers, against the contract in `wit/`.
//!
//! Today a component is loaded and checked: [`check`] tells what it is and whether its version fits this engine,
//! before anything of it runs. Running guests comes next, beside this.

mod component;
mod stub;
pub use stub::{Host, Program};
mod encode;

pub use component::{ComponentInfo, World, check};
pub use encode::encode;
