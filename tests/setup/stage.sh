#!/bin/sh
# stage.sh BUILD COMMAND [ARG...] - runs the command with three more variables:
#
#   BUILD   the build, an absolute path
#   B       the same programs where tests can use them: the build itself, or a copy
#   TMPDIR  a folder in which files can be made and programs be run: /tmp may be mounted noexec
#
# Tests start programs as other users, and name the library in LD_PRELOAD, which splits at blanks
# and colons. A build below a folder of mode 700, or below such a path, is copied for them; the copy
# is removed afterwards. The working folder stays as it is.
set -u
parts='libtidepool.so tidepool tests/preload tests/inside'
say() { printf 'stage: %s\n' "$*" >&2; }

# Can every user come to this folder, and is its path one word of plain characters?
is_open() {
    case $1 in *[!A-Za-z0-9_./+-]*) return 1 ;; esac
    at=$1
    while [ "$at" != / ]; do
        [ -n "$(find "$at" -maxdepth 0 -perm -o=x)" ] || return 1
        at=$(dirname "$at")
    done
}

runs_programs() {
    probe=$(mktemp -d "$1/tidepool-stage.XXXXXX" 2>/dev/null) || return 1
    printf '#!/bin/sh\n' >"$probe/run" && chmod +x "$probe/run" && "$probe/run" 2>/dev/null
    ran=$?
    rm -rf "$probe"
    return $ran
}

find_room() {
    for dir in "${TMPDIR:-/tmp}" /var/tmp /dev/shm "$BUILD"; do
        if is_open "$dir" && runs_programs "$dir"; then
            echo "$dir"
            return
        fi
    done
    return 1
}

copy() {
    # Beside the build, tests read jemalloc's archive.
    mkdir -p "$stage/release/tests" "$stage/jemalloc" && chmod 755 "$stage" || return 1
    for part in $parts; do
        [ ! -e "$BUILD/$part" ] || cp -R "$BUILD/$part" "$stage/release/$part" || return 1
    done
    [ ! -e "$BUILD/../jemalloc/libje.a" ] || cp "$BUILD/../jemalloc/libje.a" "$stage/jemalloc" || return 1
    chmod -R a+rX "$stage"
}

BUILD=$(cd "$1" && pwd -P) && shift || exit 1
export BUILD
if ! room=$(find_room); then
    say "no folder lets every user run programs (tried ${TMPDIR:-/tmp}, /var/tmp and /dev/shm)"
    case $BUILD in
        *[!A-Za-z0-9_./+-]*) echo "SKIPPED $*: no place that LD_PRELOAD can name" && exit 0 ;;
    esac
    mkdir -p "$BUILD/tmp" && TMPDIR=$BUILD/tmp B=$BUILD exec "$@"
fi
export TMPDIR="$room"
if is_open "$BUILD"; then
    B=$BUILD exec "$@"
fi
stage=$(mktemp -d "$room/tidepool-stage.XXXXXX") || exit 1
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT TERM
copy || {
    say "$BUILD cannot be copied to $stage"
    exit 1
}
say "$BUILD is not open to every user, or its path is not plain: a copy in $stage is tested"
B=$stage/release "$@"
