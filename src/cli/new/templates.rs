//! The files that `dsengine new` writes, by file name. `{{name}}` is substituted in contents and names.

/// Files by name.
pub(super) type Files = &'static [(&'static str, &'static str)];

macro_rules! template {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../templates/", $folder, "/", $name)))),*]
    };
}

pub(super) const STRATEGY_LUA: Files =
    template!("strategy-lua": "plugin.toml", "{{name}}.lua", "tests/two-people.yaml", "README.md");

pub(super) const HANDLER_LUA: Files =
    template!("handler-lua": "plugin.toml", "{{name}}.lua", "tests/delivered.yaml", "README.md");

pub(super) const STRATEGY_RUST: Files = &[
    ("plugin.toml", include_str!("../templates/strategy-rust/plugin.toml")),
    ("Cargo.toml", include_str!("../templates/strategy-rust/Cargo.toml")),
    ("src/lib.rs", include_str!("../templates/strategy-rust/src/lib.rs")),
    ("tests/two-people.yaml", include_str!("../templates/strategy-rust/tests/two-people.yaml")),
    ("README.md", include_str!("../templates/strategy-rust/README.md")),
    (".gitignore", include_str!("../templates/strategy-rust/gitignore")),
];

pub(super) const HANDLER_RUST: Files = &[
    ("plugin.toml", include_str!("../templates/handler-rust/plugin.toml")),
    ("Cargo.toml", include_str!("../templates/handler-rust/Cargo.toml")),
    ("src/lib.rs", include_str!("../templates/handler-rust/src/lib.rs")),
    ("tests/delivered.yaml", include_str!("../templates/handler-rust/tests/delivered.yaml")),
    ("README.md", include_str!("../templates/handler-rust/README.md")),
    (".gitignore", include_str!("../templates/handler-rust/gitignore")),
];

pub(super) const STRATEGY_C: Files = &[
    ("plugin.toml", include_str!("../templates/strategy-c/plugin.toml")),
    ("plugin.c", include_str!("../templates/strategy-c/plugin.c")),
    ("detection_strategy.c", include_str!("../../../plugins/c/detection_strategy.c")),
    ("detection_strategy.h", include_str!("../../../plugins/c/detection_strategy.h")),
    ("build.sh", include_str!("../templates/strategy-c/build.sh")),
    ("tests/two-people.yaml", include_str!("../templates/strategy-c/tests/two-people.yaml")),
    ("README.md", include_str!("../templates/strategy-c/README.md")),
];

/// The SDK for plugins in Rust, of this engine's version.
pub(super) const SDK: Files = &[
    ("sdk/Cargo.toml", include_str!("../../../plugins/sdk/Cargo.toml")),
    ("sdk/src/lib.rs", include_str!("../../../plugins/sdk/src/lib.rs")),
    ("sdk/src/config.rs", include_str!("../../../plugins/sdk/src/config.rs")),
    ("sdk/src/state.rs", include_str!("../../../plugins/sdk/src/state.rs")),
    ("sdk/src/values.rs", include_str!("../../../plugins/sdk/src/values.rs")),
    ("sdk/wit/handler.wit", include_str!("../../../wit/handler.wit")),
    ("sdk/wit/host.wit", include_str!("../../../wit/host.wit")),
    ("sdk/wit/strategy.wit", include_str!("../../../wit/strategy.wit")),
    ("sdk/wit/types.wit", include_str!("../../../wit/types.wit")),
    ("sdk/wit/worlds.wit", include_str!("../../../wit/worlds.wit")),
];
