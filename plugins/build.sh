#!/bin/sh
# Builds the Rust guests and refreshes prebuilt/. The C one: c/build.sh.
set -eu
cd "$(dirname "$0")"
if [ ! -d "$(rustc --print target-libdir --target wasm32-wasip2)" ]; then
    echo "build.sh: Rust's target wasm32-wasip2 is missing; get it with: rustup target add wasm32-wasip2" >&2
    exit 1
fi
# Paths of this machine must not get into what is committed.
home=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="--remap-path-prefix=$(pwd)=plugins --remap-path-prefix=$home=cargo ${RUSTFLAGS:-}"
export RUSTFLAGS
cargo build --release --locked --target wasm32-wasip2
for guest in crowd chat; do
    cp "target/wasm32-wasip2/release/$guest.wasm" "prebuilt/$guest.wasm"
done
ls -l prebuilt
