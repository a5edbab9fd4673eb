#!/bin/sh
# write_cost.sh PROGRAM - what a write costs in a folder in memory: alone, and in a crowd.
set -eu
dir=$(mktemp -d /dev/shm/tidepool-bench.XXXXXX)
trap 'rm -rf "$dir"' EXIT
for crowd in '0 0' '200 0' '200 1000'; do
    # shellcheck disable=SC2086
    "$1" "$dir" $crowd
    echo
done
