#!/bin/sh
# Runs the test of one key with the key ignored; prints the key if the test passes, or if there is none.
set -eu
out=$1 key=$2 proof=$3
found=$(grep -E "(^|::)$proof " "$out/tests" | head -n 1)
[ -n "$found" ] || { echo "$key: there is no test $proof"; exit 0; }
log=$out/log-$(printf '%s' "$key" | tr -c 'a-z_' '-')
if DSENGINE_TEST_MUTATE=$key timeout 300 "${found#* }" --exact "${found% *}" >"$log" 2>&1 </dev/null; then
    echo "$key: ${found% *} passes without it"
fi
