#!/bin/sh
# Stands before rustc: our own crate counts which of its lines run, others are built as always and shared.
rustc=$1
shift
case " $* " in
*" --crate-name dsengine "*'feature="coverage"'*) set -- "$@" -Cinstrument-coverage ;;
esac
exec "$rustc" "$@"
