#!/bin/sh
# Stands before rustc: our own crate and its tests count which lines run, others are built as always and shared. The
# tests count so that their program writes the counts of the library in it.
rustc=$1
shift
case " $* " in
*" --crate-name dsengine "*'feature="coverage"'* | *" --crate-name it "*'feature="coverage"'*) set -- "$@" -Cinstrument-coverage ;;
esac
exec "$rustc" "$@"
