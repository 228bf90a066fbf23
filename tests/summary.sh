#!/bin/sh
# Reads a log of `cargo test -- --nocapture`; prints failures, every skip with its reason, and the counts.
# A skip that tests/skips.allow does not name is a failure: a test that did not run proves nothing.
set -eu
log=$1 allow=$2
rc=0

# Some tests make a guest or a handler panic on purpose, and some print errors of the program: neither says anything.
broken='^error\[E[0-9]|^error: (could not compile|test failed|doctest failed|no such command|failed to)'
if grep -qE "^test result: FAILED|$broken|process didn.t exit successfully" "$log"; then
    grep -nE "$broken" "$log" | head -20 || true
    # cargo lists the names at the end: what a test prints can stand between its name and its verdict.
    sed -n '/^failures:$/,/^test result/s/^    \([a-z][A-Za-z0-9_:]*\)$/\1/p' "$log" | sort -u | while IFS= read -r name; do
        printf 'failed: %s\n' "$name"
        grep -F -A12 "thread '$name'" "$log" | sed '/^stack backtrace:$/,$d' | head -12 || true
    done
    rc=1
fi

grep -oE 'SKIP [^ ]+: .*' "$log" | sort -u >"$log.skips" || true
skipped=$(wc -l <"$log.skips")
while IFS= read -r line; do
    name=$(printf '%s\n' "$line" | sed -E 's/^SKIP ([^ ]+): .*/\1/')
    if grep -qxF "$name" "$allow" 2>/dev/null; then
        printf 'skipped: %s\n' "${line#SKIP }"
    else
        printf 'skipped, and not allowed to: %s\n' "${line#SKIP }"
        rc=1
    fi
done <"$log.skips"

# The last result of each test binary: some tests run their own binary again, and print a result of their own.
counts=$(awk '
    function flush() { passed += p; failed += f; p = 0; f = 0 }
    /^ +(Running|Doc-tests) / { flush() }
    /^test result: / { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p = $i; if ($(i+1) == "failed;") f = $i } }
    END { flush(); print passed + 0, failed + 0 }' "$log")
passed=${counts% *}
failed=${counts#* }
[ "$passed" -gt 0 ] || rc=1
[ "$failed" -eq 0 ] || rc=1
# A test that skips returns early and counts as passed for the runner; here it does not.
printf '%s passed, %s failed, %s skipped\n' "$((passed - skipped))" "$failed" "$skipped"
exit $rc
