#!/bin/sh
# Builds plugin.c to {{name}}.core.wasm; `dsengine plugin build {{name}}.core.wasm -o {{name}}.wasm` makes the
# component of it.
#
# Takes the first there is: zig from PyPI (`pip install ziglang`), or Debian's
# `apt-get install clang lld wasi-libc libclang-rt-dev-wasm32` (on Debian 12: libclang-rt-14-dev-wasm32).
set -eu
out=${OUT:-$(pwd)}
cd "$(dirname "$0")"
flags="--target=wasm32-wasi -mexec-model=reactor -Os -g0 -Wall -Wextra"
sources="plugin.c detection_strategy.c"
# shellcheck disable=SC2086  # lists of words
if python3 -c 'import ziglang' 2>/dev/null; then
    # The first time it builds a libc, which takes half a minute.
    python3 -m ziglang cc $flags -s $sources -o "$out/{{name}}.core.wasm"
elif command -v clang >/dev/null && [ -f /usr/lib/wasm32-wasi/libc.a ]; then
    clang $flags --sysroot=/usr -I/usr/include/wasm32-wasi -L/usr/lib/wasm32-wasi -Wl,--strip-debug \
        $sources -o "$out/{{name}}.core.wasm"
else
    echo "build.sh: no C compiler for WebAssembly: pip install ziglang" >&2
    echo "build.sh: or: apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32" >&2
    exit 1
fi
echo "$out/{{name}}.core.wasm"
