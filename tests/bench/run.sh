#!/bin/bash
# run - tidepool beside its peers, one process for each measurement; medians in one table.
#
#   make bench                              everything, about six minutes
#   make bench BENCH='pair rand' SIZES='64K mix' TOUCH=untouched REPS=3 ALLOCS='tidepool jemalloc'
#   make bench ALLOCS='tidepool sampling' REPS=15     what TIDEPOOL_SAMPLE=on costs
#   make bench HISTORY=1                    each row also as it is late in a process's life
#
# BENCH   patterns or the beginnings of their names:
#         pair batch over rand pc larson realloc append double churn fork exec startup
# SIZES   for the patterns that have sizes: 16 ... 1M, smallmix (16-1000), mix (1K-1M, log-uniform),
#         or LOW-HIGH, uniform between the two
# HISTORY 0 fresh processes, 1 each row in a fresh one and after history.h, only: after history.h
# ALLOCS  names from the table below, or NAME=/path/of.so to compare a build of one's own
# MS      measured time of a cell after its warm-up        RESULT  the TSV, one line a measurement
# MAX_MIB rows of one size that touch more are left out, and named: filling is all they would do
#
# Beside each time stand peak and last RSS in MiB, the harness's own 1 to 5 MiB included.
# Repetitions are the outer loop of a row and allocators the inner one, each time in another
# order, so that what drifts drifts for all. It prints numbers, no verdict; it fails if something
# that is installed did not run.
set -u
export LC_ALL=C
here=$(dirname "$0")
B=$(realpath "${B:-build/release}")
bin=$B/tests/bench
RESULT=${RESULT:-$(dirname "$B")/bench/result.tsv}
REPS=${REPS:-5} MS=${MS:-20} MAX_MIB=${MAX_MIB:-256} TOUCH=${TOUCH:-untouched touched} HISTORY=${HISTORY:-0}
PATTERNS='pair batch32 batch256 over1000 rand64 rand1000 rand2000 rand10000 realloc append double pc1 pc2 larson2 larson8 churn fork exec startup'
SMALL='16 64 256 1000 smallmix' LARGE='1K 4K 16K 32K 64K 128K 256K 512K 1M mix'

# A peer's own settings would make it another peer.
unset LD_PRELOAD GLIBC_TUNABLES MALLOC_CONF SCUDO_OPTIONS
for v in $(compgen -e | grep -E '^(MALLOC|MIMALLOC|TCMALLOC)_'); do unset "$v"; done

declare -A path conf sample
library() { # NAME FILE... : the first that exists
    local name=$1 f
    shift
    for f in "$@"; do [ -e "$f" ] && path[$name]=$f && return; done
    path[$name]=
}
libs=(/usr/lib/"$(gcc -print-multiarch 2>/dev/null || uname -m)" /usr/lib64 /usr/lib /usr/local/lib)
library tidepool "$B/libtidepool.so"
path[sampling]=${path[tidepool]}
sample[sampling]=on
path[glibc]=-
library jemalloc "${libs[@]/%//libjemalloc.so.2}"
library jemalloc-1M "${path[jemalloc]}"
conf[jemalloc-1M]=tcache_max:1048576
library mimalloc "${libs[@]/%//libmimalloc.so.2}"
library tcmalloc "${libs[@]/%//libtcmalloc_minimal.so.4}"
clang_rt=/usr/lib/llvm-*/lib/clang/*/lib/linux
library scudo $(ls -r $clang_rt/libclang_rt.scudo_standalone-"$(uname -m)".so 2>/dev/null)

ALLOCS=${ALLOCS:-tidepool glibc jemalloc jemalloc-1M mimalloc tcmalloc scudo}
failed=0 notes=()
note() { # once each
    local n
    for n in "${notes[@]+"${notes[@]}"}"; do [ "$n" != "$1" ] || return 0; done
    notes+=("$1")
    echo "$1" >&2
}

present=()
for a in $ALLOCS; do
    case $a in *=*) path[${a%%=*}]=$(realpath "${a#*=}"); a=${a%%=*};; esac
    if [ -z "${path[$a]+known}" ]; then
        note "FAILED: $a: no such allocator in ALLOCS"; failed=1
    elif [ -z "${path[$a]}" ]; then
        note "ABSENT: $a is not installed: this table is without it"
    elif ! LD_PRELOAD=${path[$a]#-} MALLOC_CONF=${conf[$a]-} "$bin/single" probe; then
        note "FAILED: $a: ${path[$a]} cannot be preloaded"; failed=1
    else
        present+=("$a")
    fi
done
[ ${#present[@]} -gt 0 ] || exit 1

wanted() { # PATTERN: does BENCH name it?
    local b
    [ -n "${BENCH:-}" ] || return 0
    for b in $BENCH; do
        case " $PATTERNS " in
        *" $b "*) [ "$1" = "$b" ] && return 0;; # a whole name is that pattern alone
        *) [[ $1 == "$b"* ]] && return 0;;
        esac
    done
    return 1
}

bytes() { # SIZE: on average
    case $1 in *-*) echo $((($(bytes "${1%-*}") + $(bytes "${1#*-}")) / 2));; mix) echo 151000;; smallmix) echo 240;; *K) echo $((${1%K} << 10));;
        *M) echo $((${1%M} << 20));; *) echo "$1";; esac
}

resident() { # PATTERN SIZE TOUCH: bytes that filling it makes resident
    local live=0
    [ "$3" = touched ] || { echo 0; return; }
    case $1 in rand*) live=${1#rand};; larson*) live=$((${1#larson} * 1000));; batch*) live=${1#batch};; over*) live=${1#over};; esac
    echo $((live * $(bytes "$2")))
}

sizes_of() { # PATTERN
    local s own
    case $1 in
    pair) own="$SMALL $LARGE 3M 32M";;
    batch* | over* | rand[16]*) own="$SMALL $LARGE";;
    rand2000) own='4K-128K';;
    larson*) own='16-1000 1K-64K mix';;
    pc*) own='64 smallmix 1K 4K 16K 64K 1M mix';;
    realloc) own='1000 64K 1M';;
    append | double) own='1M 16M';;
    churn | fork | exec) own='smallmix mix';;
    startup) own=-;;
    esac
    [ -n "${SIZES:-}" ] && [ "$1" != startup ] || { echo "$own"; return; }
    case $1 in pair | batch* | over* | rand* | pc* | larson*) echo "$SIZES"; return;; esac
    for s in $SIZES; do [[ " $own " == *" $s "* ]] && echo "$s"; done
}

record() { # PATTERN SIZE TOUCH[+history] REP ALLOC
    local pattern=$1 size=$2 touch=$3 rep=$4 a=$5 ns program=single history=0
    [ "$touch" = "${touch%+history}" ] || history=1
    case $pattern in pc* | larson* | churn | fork | exec) program=threads;; esac
    if [ "$pattern" = startup ]; then
        ns=$(MALLOC_CONF=${conf[$a]-} "$bin/startup" "${path[$a]}") || ns=
        [ -z "$ns" ] || printf 'startup\twall\t-\t%s\t%s\t%s\nstartup\tuser+sys\t-\t%s\t%s\t%s\n' \
            "$a" "$rep" "${ns% *}" "$a" "$rep" "${ns#* }" >>"$RESULT"
    else
        ns=$(LD_PRELOAD=${path[$a]#-} MALLOC_CONF=${conf[$a]-} TIDEPOOL_SAMPLE=${sample[$a]-off} \
            BENCH_HISTORY=$history "$bin/$program" "$pattern" "$size" "${touch%+*}" "$MS") || ns=
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$pattern" "$size" "$touch" "$a" "$rep" \
            "$(tr ' ' '\t' <<<"${ns:-failed}")" >>"$RESULT"
    fi
    [ -n "$ns" ] || { note "FAILED: $a: $pattern $size $touch"; failed=1; }
}

row() { # PATTERN SIZE TOUCH
    local rep i n=${#present[@]} reps=$REPS
    if [ "$(resident "$1" "$2" "${3%+*}")" -gt $((MAX_MIB << 20)) ]; then
        [ "$2" = mix ] || { note "left out: $* (more than MAX_MIB=$MAX_MIB)"; return; }
        reps=$(((REPS + 1) / 2))
    fi
    [ -t 2 ] && printf '\r%-40s' "$*" >&2
    for ((rep = 0; rep < reps; rep++)); do
        for ((i = 0; i < n; i++)); do record "$@" $rep "${present[(i + rep) % n]}"; done
    done
}

mkdir -p "$(dirname "$RESULT")"
{
    cpu=$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)
    echo "# $(date -u '+%Y-%m-%d %H:%M UTC'), $(nproc) x $cpu, $(uname -sr)"
    for a in "${present[@]}"; do
        f=${path[$a]}
        [ "$f" != - ] || f=$(ldd "$bin/single" | awk '/libc\.so/ {print $3}')
        p=$(dpkg -S "$(realpath "$f")" 2>/dev/null | cut -d: -f1)
        [ -n "$p" ] || p=$(dpkg -S "$f" 2>/dev/null | cut -d: -f1)
        v=${p:+$(dpkg-query -W -f '${Package} ${Version}' "$p" 2>/dev/null | head -1)}
        echo "# $a: ${v:-$f $(git -C "$here" describe --always --dirty 2>/dev/null)} ${conf[$a]-}"
    done
    echo "# medians of $REPS runs of $MS ms ($(((REPS + 1) / 2)) where more than $MAX_MIB MiB are touched)"
} >"$RESULT"

start=$SECONDS
for pattern in $PATTERNS; do
    wanted "$pattern" || continue
    touches=$TOUCH histories=$HISTORY
    case $pattern in startup) touches=- histories=0;; churn | fork | exec) touches=touched;; esac
    for touch in $touches; do
        for size in $(sizes_of "$pattern"); do
            [ "$histories" = only ] || row "$pattern" "$size" "$touch"
            [ "$histories" = 0 ] || row "$pattern" "$size" "$touch+history"
        done
    done
done
[ -t 2 ] && printf '\r%-40s\r' '' >&2

printf '# %s\n' "${notes[@]+"${notes[@]}"}" "took $((SECONDS - start)) s" >>"$RESULT"
awk -f "$here/report.awk" "$RESULT"
echo "every measurement: $RESULT"
exit $failed
