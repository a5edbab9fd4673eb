# The launcher and what the library says about its settings: each case compares exit status, stdout and
# stderr, the last two as shell patterns. Programs that cannot be preloaded are made here: copies of
# true(1) with a byte or a bit changed.
#
#   B=$PWD/build/release sh tests/preload/launcher.sh       V=1 shows each case
set -u
for name in $(env | sed -n 's/^\(TIDEPOOL_[A-Z_]*\)=.*/\1/p') LD_PRELOAD; do unset "$name"; done
T=$B/tidepool L=$B/libtidepool.so
[ -x /bin/true ] && true=/bin/true || true=/usr/bin/true # the shell has one of its own
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0

pass() { passed=$((passed + 1)); [ -z "${VERBOSE:-}" ] || echo "  ok      $1"; }
fail() { failed=$((failed + 1)); echo "  FAILED  $1: $2"; }
skip() { skipped=$((skipped + 1)); echo "  SKIPPED $1: $2"; }

# t NAME STATUS STDOUT STDERR COMMAND...
t() {
    name=$1 status=$2 out=$3 err=$4
    shift 4
    timeout -k 5 60 "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
    got=$?
    [ $got = "$status" ] || { fail "$name" "ended with $got, expected $status: $(cat "$tmp/err")"; return; }
    # shellcheck disable=SC2254 # they are patterns
    case $(cat "$tmp/out") in $out) ;; *) fail "$name" "stdout: $(cat "$tmp/out")"; return ;; esac
    case $(cat "$tmp/err") in $err) ;; *) fail "$name" "stderr: $(cat "$tmp/err")"; return ;; esac
    pass "$name"
}

# Running programs.
t 'prints the path of the library' 0 "$L" '' "$T" --path
t 'prints its version' 0 'tidepool [0-9]*' '' "$T" --version
t 'a path that nobody got is no success' 125 '' 'tidepool: standard output: No space left*' \
    sh -c "\"$T\" --path >/dev/full"
t 'nor is one said to nobody' 125 '' 'tidepool: standard output: Bad file*' sh -c "\"$T\" --version >&-"
t 'passes output and status on' 7 'hello' '' "$T" -- sh -c 'echo hello; exit 7'
t 'passes a death by signal on' 137 '' '*' sh -c "\"$T\" -- sh -c 'kill -9 \$\$'"
t 'the library is in the program' 0 'yes' '' "$T" -- sh -c 'grep -q libtidepool /proc/self/maps && echo yes'
t 'arguments stay as they are' 0 '-c|a b||--|*' '' "$T" -- printf '%s|' -c 'a b' '' -- '*'
t 'names the library alone' 0 "$L" '' "$T" -- sh -c 'echo "$LD_PRELOAD"'
libm=$(realpath "$(cc -print-file-name=libm.so.6)")
t 'keeps what LD_PRELOAD has' 0 "$libm:$L" '' env LD_PRELOAD="$libm" "$T" -- sh -c 'echo "$LD_PRELOAD"'
t 'is not named twice' 0 "$L" '' "$T" -- "$T" -- sh -c 'echo "$LD_PRELOAD"'
mkdir "$tmp/other" && cp "$L" "$tmp/other"
t 'says so where another copy is named' 0 "$tmp/other/libtidepool.so" \
    "tidepool: LD_PRELOAD names $tmp/other/libtidepool.so already; using that one" \
    env LD_PRELOAD="$tmp/other/libtidepool.so" "$T" -- sh -c 'echo "$LD_PRELOAD"'
t 'children go without where asked' 0 'none' '' \
    "$T" --no-children -- sh -c 'sh -c "grep -q libtidepool /proc/self/maps || echo none"'
t 'a parent that ignores its children is no failure' 0 '' '*CHLD*IGNORE*' \
    env --ignore-signal=CHLD "$T" -- env --list-signal-handling true
if [ "$(id -u)" = 0 ]; then
    t 'a limit of processes is no failure' 0 'ran' 'tidepool: the library was not tried first: Resource temporarily*' \
        setpriv --reuid=54399 --regid=54399 --clear-groups prlimit --nproc=0 "$T" -- /bin/echo ran
else
    skip 'a limit of processes is no failure' 'needs root'
fi

# The library that does not load.
jemalloc=$(ldconfig -p | sed -n 's/.*=> \(.*libjemalloc\.so\.2\)$/\1/p' | head -n 1)
if [ -n "$jemalloc" ]; then
    t 'refuses a malloc that comes first' 125 '' "tidepool: malloc comes from $jemalloc, which is loaded before tidepool" \
        env LD_PRELOAD="$jemalloc" "$T" -- true
else
    skip 'refuses a malloc that comes first' 'libjemalloc2 is not installed'
fi
mkdir -p "$tmp/far/alone" "$tmp/broken" "$tmp/a b" "$tmp/a:b" "$tmp/bin" "$tmp/lib"
cp "$T" "$tmp/far/alone"
t 'says where it looked' 125 '' 'tidepool: libtidepool.so is neither beside this program nor in /*' "$tmp/far/alone/tidepool" -- true
cp "$T" "$tmp/broken" && echo text >"$tmp/broken/libtidepool.so"
t 'repeats why the loader refused' 125 '' "tidepool: the library did not load: *$tmp/broken/libtidepool.so*cannot be preloaded*" \
    "$tmp/broken/tidepool" -- true
cp "$T" "$L" "$tmp/a b" && cp "$T" "$L" "$tmp/a:b"
t 'refuses a path with a blank' 125 '' "tidepool: \"$tmp/a b/libtidepool.so\": LD_PRELOAD cannot name*" "$tmp/a b/tidepool" -- true
t 'refuses a path with a colon' 125 '' "tidepool: \"$tmp/a:b/libtidepool.so\": LD_PRELOAD cannot name*" "$tmp/a:b/tidepool" -- true
cp "$T" "$tmp/bin" && cp "$L" "$tmp/lib"
t 'finds the lib folder next to its bin' 0 "$tmp/lib/libtidepool.so" '' "$tmp/bin/tidepool" --path
ln -s "$T" "$tmp/link"
t 'finds the library through a link to itself' 0 "$L" '' "$tmp/link" --path

# Programs that a preload does not reach.
forge() { cp "$true" "$tmp/$1" && printf "$3" | dd of="$tmp/$1" bs=1 seek="$2" conv=notrunc 2>/dev/null; }
static=$(command -v busybox)
if [ -n "$static" ] && ! ldd "$static" >/dev/null 2>&1; then
    t 'a static program' 126 '' "tidepool: busybox is statically linked: nothing can be preloaded into it" "$T" -- busybox true
    printf '#!%s sh\necho ran\n' "$static" >"$tmp/static.sh" && chmod +x "$tmp/static.sh"
    t 'a script of a static program' 126 '' "tidepool: $static is statically linked*" "$T" -- "$tmp/static.sh"
else
    skip 'a static program' 'busybox-static is not installed'
fi
if [ "$(id -u)" = 0 ]; then
    cp "$true" "$tmp/setuid" && chown nobody "$tmp/setuid" && chmod u+s "$tmp/setuid"
    t 'a set-uid program' 126 '' "tidepool: $tmp/setuid is set-uid: the loader preloads nothing into it" "$T" -- "$tmp/setuid"
    chown 0 "$tmp/setuid" && chmod u+s "$tmp/setuid"
    t 'a set-uid program of the same user' 0 '' '' "$T" -- "$tmp/setuid"
else
    skip 'a set-uid program' 'only root can make one of another user'
fi
forge elf32 4 '\001'
t 'a 32-bit program' 126 '' "tidepool: $tmp/elf32 is a 32-bit program, the library is for 64 bits" "$T" -- "$tmp/elf32"
forge machine 18 '\363'
t 'a program for another processor' 126 '' "tidepool: $tmp/machine is for another kind of processor*" "$T" -- "$tmp/machine"
LC_ALL=C sed 's/ld-linux-/ld-other-/' "$true" >"$tmp/libc" && chmod +x "$tmp/libc"
t 'a program of another libc' 126 '' "tidepool: $tmp/libc is built for another C library*ld-other-*" "$T" -- "$tmp/libc"
head -c 50 "$true" >"$tmp/cut" && chmod +x "$tmp/cut"
t 'a file cut short' 126 '' "tidepool: *" "$T" -- "$tmp/cut"
t 'a command that is not there' 127 '' 'tidepool: no-such-command: No such file or directory' "$T" -- no-such-command
t 'a path that is not there' 127 '' 'tidepool: /no/such: No such file or directory' "$T" -- /no/such
t 'a directory' 126 '' "tidepool: $tmp: Permission denied" "$T" -- "$tmp"
echo text >"$tmp/plain"
t 'a file that is no program' 126 '' "tidepool: $tmp/plain: Permission denied" "$T" -- "$tmp/plain"

# Scripts.
script() { printf '%b' "$2" >"$tmp/$1" && chmod +x "$tmp/$1"; }
script good.sh '#! /bin/sh\ngrep -q libtidepool /proc/self/maps && echo yes\n'
t 'a script' 0 'yes' '' "$T" -- "$tmp/good.sh"
script env.sh '#!/usr/bin/env -S A=b sh\ngrep -q libtidepool /proc/self/maps && echo yes\n'
t 'a script by env' 0 'yes' '' "$T" -- "$tmp/env.sh"
script bare.sh 'echo bare\n'
t 'a script without a first line' 0 'bare' '' "$T" -- "$tmp/bare.sh"
script lost.sh '#!/no/interpreter -x\n'
t 'a script whose interpreter is missing' 127 '' "tidepool: $tmp/lost.sh: its interpreter /no/interpreter: No such file*" "$T" -- "$tmp/lost.sh"
script lostenv.sh '#!/usr/bin/env no-such-python\n'
t 'a script whose env finds nothing' 127 '' "tidepool: $tmp/lostenv.sh: its interpreter no-such-python: No such file*" "$T" -- "$tmp/lostenv.sh"
script loop.sh "#!$tmp/loop.sh\n"
t 'a script that is its own interpreter' 126 '' "tidepool: $tmp/loop.sh: Too many levels*" "$T" -- "$tmp/loop.sh"

# Options.
t 'an option sets its variable' 0 '2K:7 1G on 1' 'tidepool: version *, up to 1024 MiB in buckets 2K:7;*' "$T" --buckets=2K:7 --pool-max 1G --strict --verbose=1 -- \
    sh -c 'echo "$TIDEPOOL_BUCKETS $TIDEPOOL_POOL_MAX $TIDEPOOL_STRICT $TIDEPOOL_VERBOSE"'
t 'an option wins over the environment' 0 '2M' '' env TIDEPOOL_LIMIT=1M "$T" --limit=2M -- printenv TIDEPOOL_LIMIT
t 'refuses a bad value' 125 '' 'tidepool: --limit=12X: expected a size from 1M up, such as 512M or 1.5G, or auto' "$T" --limit=12X -- true
t 'refuses a missing value' 125 '' 'tidepool: --limit: expected a size*' "$T" --limit -- true
t 'suggests an option' 125 '' 'tidepool: --buket: no such option; did you mean --buckets?' "$T" --buket=1K -- true
t 'suggests one for a letter too many' 125 '' 'tidepool: --pool-maxx: no such option; did you mean --pool-max?' "$T" --pool-maxx=1G -- true
for word in foo typo pid; do
    t "suggests nothing for --$word" 125 '' "tidepool: --$word: no such option; --help-all lists them" "$T" --$word -- true
done
t 'knows no such option' 125 '' 'tidepool: --xylophone: no such option; --help-all lists them' "$T" --xylophone -- true
t 'refuses a short option' 125 '' 'tidepool: -x: no such option; --help-all lists them' "$T" -x -- true
t 'a program needs no dashes' 0 'hello' '' "$T" --limit=1.5G echo hello
t 'what follows the program is its own' 0 '--limit=x -- top' '' "$T" echo --limit=x -- top
t 'a subcommand wins over a program' 0 'Usage: tidepool top *' '' "$T" top --help
t 'settings before a subcommand are refused' 125 '' \
    'tidepool: top is a subcommand, which takes no settings; the program of that name: tidepool --sample -- top' "$T" --sample top
t 'the dashes mean a program' 127 '' 'tidepool: report: No such file or directory' env PATH="$tmp/bin" "$T" -- report
gone='No such file or directory'
t 'suggests check' 127 '' "tidepool: chek: $gone; did you mean tidepool check?" env PATH="$tmp/bin" "$T" chek
t 'suggests report' 127 '' "tidepool: reprot: $gone; did you mean tidepool report?" env PATH="$tmp/bin" "$T" reprot a.heap
t 'suggests top' 127 '' "tidepool: tpo: $gone; did you mean tidepool top?" env PATH="$tmp/bin" "$T" tpo
t 'suggests an option for a setting' 127 '' "tidepool: TIDEPOOL_LIMIT=1G: $gone; did you mean tidepool --limit=1G?" "$T" TIDEPOOL_LIMIT=1G true
t 'but not for another name' 127 '' "tidepool: A=1: $gone" "$T" A=1 true
t 'suggests the value of a flag' 127 '' "tidepool: 2: $gone; did you mean tidepool --verbose=2?" "$T" --verbose 2 true
t 'a value that was given suggests none' 127 '' "tidepool: 2: $gone" "$T" --verbose=1 2 true
for word in run exec start; do
    t "$word is needless" 127 '' "tidepool: $word: $gone; did you mean tidepool redis-server?" env PATH="$tmp/bin" "$T" $word redis-server
done
t 'suggests the version' 127 '' "tidepool: version: $gone; did you mean tidepool --version?" env PATH="$tmp/bin" "$T" version
t 'an action takes no value' 125 '' 'tidepool: --version takes no value' "$T" --version=1
t 'top suggests its option' 125 '' 'tidepool: top: 12: no such option; did you mean --pid=12?' "$T" top 12
t 'top records in one form' 125 '' 'tidepool: top: --json and --watch-csv exclude each other' "$T" top --json --watch-csv
t 'dump takes no name' 125 '' 'tidepool: dump: redis-server: expected the PID of a process' "$T" dump redis-server
t 'suggests no subcommand for another word' 127 '' "tidepool: foo: $gone" env PATH="$tmp/bin" "$T" foo
t 'nor behind the dashes' 127 '' "tidepool: chek: $gone" env PATH="$tmp/bin" "$T" -- chek
t 'nor for a path' 127 '' "tidepool: ./chek: $gone" "$T" ./chek
printf '#!/bin/sh\necho ran\n' >"$tmp/bin/chek" && chmod +x "$tmp/bin/chek"
t 'a program of such a name runs' 0 'ran' '' env PATH="$tmp/bin" "$T" chek
chmod -x "$tmp/bin/chek"
t 'one that cannot run is no slip' 126 '' 'tidepool: chek: Permission denied' env PATH="$tmp/bin" "$T" chek
rm "$tmp/bin/chek"
t 'dump of a process that is not there' 125 '' 'tidepool: 2147483647: no such process' "$T" dump 2147483647
t 'report of no name' 125 '' 'tidepool: report: no profile is named (did tidepool dump fail?)' "$T" report ''
t 'help is a word' 0 'Usage: tidepool \[options\] *' '' "$T" help
t 'help on a subcommand' 0 'Usage: tidepool dump *' '' "$T" help dump
t 'help on check' 0 'Usage: tidepool check *' '' "$T" help check
t 'as its option' 0 'Usage: tidepool check *' '' "$T" check --help
t 'help on what is none' 125 '' 'tidepool: help: ls: no such subcommand' "$T" help ls
t 'a short version' 0 'tidepool [0-9]*' '' "$T" -V
t 'quiet is passed on' 0 'quiet' '' "$T" -q printenv TIDEPOOL_VERBOSE
t 'quiet has no remarks' 0 "$tmp/other/libtidepool.so" '' \
    env LD_PRELOAD="$tmp/other/libtidepool.so" "$T" -q sh -c 'echo "$LD_PRELOAD"'
t 'high above critical is refused' 125 '' 'tidepool: --high=95%: expected a percentage below --critical, which is 90%' "$T" --high=95% true
t 'so is critical below high' 125 '' 'tidepool: --critical=70%: expected a percentage above --high, which is 75%' "$T" --critical=70% true
t 'and beside a variable' 125 '' 'tidepool: --high=80%: expected a percentage below --critical, which is 78%' \
    env TIDEPOOL_CRITICAL=78% "$T" --high=80% true
t 'an old name is taken' 0 'warn' '' "$T" --check=warn printenv TIDEPOOL_ON_MISUSE
t 'an option wins over an old name' 0 'off' '' env TIDEPOOL_CHECK=warn "$T" --on-misuse=off sh -c 'echo "${TIDEPOOL_CHECK-}$TIDEPOOL_ON_MISUSE"'
t 'no command' 125 '' 'tidepool: no command; usage:*' "$T"
t 'no command behind the dashes' 125 '' 'tidepool: no command; usage:*' "$T" --

# The machine.
t 'the check has an option, too' 0 '*library * ok *' '' "$T" --check
t 'it takes settings' 1 '*prom dir * no */no/such: No such file*' '' "$T" check --prom-dir=/no/such
t 'it takes no command' 125 '' 'tidepool: check takes no command' "$T" check ls
t 'nor does its option' 125 '' 'tidepool: --check takes no command' "$T" --check ls
t 'help on a subcommand is a word' 125 '' 'tidepool: --help takes no command; did you mean tidepool help top?' "$T" --help top
t 'but not on a program' 125 '' 'tidepool: -h takes no command' "$T" -h ls
t 'check finds all that is needed' 0 '*library * ok *membarrier * ok *region * ok *cgroup *v[12] *psi *thp *prom dir *off*' '' "$T" check
t 'check shows a folder that is missing' 1 '*prom dir * no */no/such: No such file*' '' env TIDEPOOL_PROM_DIR=/no/such "$T" check
t 'check shows a folder that is there' 0 "*prom dir * ok *$tmp" '' env TIDEPOOL_PROM_DIR="$tmp" "$T" check
t 'check shows what pools may grow to' 0 '*region * ok *pools of up to 256G?cgroup *' '' "$T" check
t 'check shows little address space' 0 '*region * ok *(a quarter of ulimit -v or -d)*' '' sh -c "ulimit -v 400000; exec '$T' check"
t 'check shows too little of it' 1 '*region * no *' '' sh -c "ulimit -v 60000; exec '$T' check"
# A limit is seen from inside a cgroup made for it.
cg=/sys/fs/cgroup/memory$(awk -F: '$2 == "memory" { print $3 }' /proc/self/cgroup)/launcher.$$
if mkdir "$cg" 2>/dev/null; then
    echo 64M >"$cg/memory.limit_in_bytes"
    t 'check shows the limit of a cgroup' 0 '*cgroup * ok *v1 limit 64M *' '' sh -c "echo \$\$ >'$cg/cgroup.procs'; exec '$T' check"
    rmdir "$cg"
else
    skip 'check shows the limit of a cgroup' 'no cgroup can be made here'
fi
if unshare --mount mount -t tmpfs none /proc 2>/dev/null; then
    t 'without /proc no limit is found' 0 '*cgroup *off *No such file or directory: no limit found?psi *' '' \
        unshare --mount sh -c "mount -t tmpfs none /proc && exec '$T' check"
    t 'nor by the library' 0 '' 'tidepool: version *: no limit found*' \
        unshare --mount sh -c "mount -t tmpfs none /proc && exec '$T' --verbose true"
else
    skip 'without /proc no limit is found' 'nothing can be mounted here'
fi
t 'check shows a library that is missing' 1 '*library * no *' 'tidepool: libtidepool.so is neither*' "$tmp/far/alone/tidepool" check

# What the library says.
bad='tidepool: TIDEPOOL_BUCKETS="x": expected BOUND\[:LIMIT\],... with bounds ascending from 1K to 1M; using 1K,4K,16K,64K,256K,1M'
t 'a bad setting costs a line' 0 '' "$bad" env LD_PRELOAD="$L" TIDEPOOL_BUCKETS=x "$true"
t 'an unknown setting costs a line' 0 '' 'tidepool: TIDEPOOL_BUKETS: no such setting, ignored; did you mean TIDEPOOL_BUCKETS?' \
    env LD_PRELOAD="$L" TIDEPOOL_BUKETS=1 "$true"
t 'one that is far from all has no suggestion' 0 '' 'tidepool: TIDEPOOL_TYPO: no such setting, ignored; tidepool(7) lists them' \
    env LD_PRELOAD="$L" TIDEPOOL_TYPO=1 "$true"
t 'strict ends the program' 78 '' "${bad%; using *}" env LD_PRELOAD="$L" TIDEPOOL_BUCKETS=x TIDEPOOL_STRICT=1 "$true"
t 'so does it for an unknown name' 78 '' 'tidepool: TIDEPOOL_BUKETS: no such setting; did you mean TIDEPOOL_BUCKETS?' \
    env LD_PRELOAD="$L" TIDEPOOL_BUKETS=1 TIDEPOOL_STRICT=1 "$true"
t 'a program that is not meant hears nothing' 0 '' '' env LD_PRELOAD="$L" TIDEPOOL_ONLY=redis-server TIDEPOOL_BUCKETS=x "$true"
t 'a program that is meant hears it' 0 '' "$bad" env LD_PRELOAD="$L" TIDEPOOL_ONLY=redis-server,true TIDEPOOL_BUCKETS=x "$true"
t 'an excepted program hears nothing' 0 '' '' env LD_PRELOAD="$L" 'TIDEPOOL_EXCEPT=tru*' TIDEPOOL_BUCKETS=x "$true"
t 'a closed stderr stays closed' 0 '' '' sh -c "LD_PRELOAD='$L' TIDEPOOL_BUCKETS=x '$true' 2>&-"

# An auditing loader has little room for thread-local storage.
audit=$B/tests/preload/lib/audit.so
t 'an audited program starts' 0 '' '' env LD_AUDIT="$audit" "$T" -- "$true"
t "room is added to the user's tunables" 0 'glibc.malloc.check=0:glibc.rtld.optional_static_tls=4096' '' \
    env LD_AUDIT="$audit" GLIBC_TUNABLES=glibc.malloc.check=0 "$T" -- printenv GLIBC_TUNABLES
t 'tunables are left alone without one' 1 '' '' env "$T" -- printenv GLIBC_TUNABLES

# Help; documents.sh compares what it lists with the documents.
"$T" --help >"$tmp/help"
if [ "$(wc -l <"$tmp/help")" -le 23 ] && ! grep -q '.\{80\}' "$tmp/help"; then pass 'help fits a screen'; else fail 'help fits a screen' "$(wc "$tmp/help")"; fi
"$T" --help-all >"$tmp/all"

[ $skipped = 0 ] || echo "launcher: $skipped SKIPPED"
echo "launcher: $passed passed, $failed failed"
[ $failed = 0 ]
