#!/bin/sh
# Stands before rustc: our own crates count which of their edges run, others are built as always and shared.
rustc=$1
shift
case " $* " in
*" --crate-name build_script_build "*) ;;
*" --crate-name dsengine "* | *" --crate-name dsengine_fuzz "* | *" targets/"*)
    set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares ;;
esac
exec "$rustc" "$@"
