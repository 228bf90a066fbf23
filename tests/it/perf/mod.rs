//! What needs the machine for itself: run one at a time (`./dev test performance`).

mod memory;
mod overload;
mod oversubscribed;
mod reload;
mod zoo;
