# Runs the victims of this folder, each under LD_PRELOAD, and asserts how it ends and every line it prints.
#
#   B=$PWD/build/release sh tests/preload/run.sh ['fork*' ...]     only these victims
#   SAMPLE=4K                     with call sites sampled at that interval
#   PRIVATE=off                   with the public interface of jemalloc alone
#   LANE=0|1                      half of them, by the length of their names; else both halves at once
#   LIB=none|PATH                 without a library, or with another: what then passes is no merit of ours
set -u
B=${B:-$PWD/build/release}
LIB=${LIB:-$B/libtidepool.so}
ONLY=${*:-}
V=$B/tests/preload
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"; [ -z "${both:-}" ] || kill "$both" 2>/dev/null' EXIT
ulimit -c 0
# A user's settings would change what is expected.
for name in $(env | sed -n 's/^\(TIDEPOOL_[A-Z_]*\)=.*/\1/p') MALLOC_CONF; do unset "$name"; done
passed=0 failed=0 skipped=0
[ "$LIB" = none ] && preload= || preload=$LIB

# Most victims wait more than they work.
if [ -z "$ONLY${LANE:-}" ]; then
    mkfifo "$tmp/lane1.out" || exit 1
    LANE=1 sh "$0" >"$tmp/lane1.out" &
    both=$! LANE=0
    awk -v total="$tmp/lane1" '/^preload: / { print > total; next } { print; fflush() }' "$tmp/lane1.out" &
fi

selected() {
    [ -z "$ONLY" ] && { [ $((${#1} % 2)) = "$LANE" ]; return; }
    for pattern in $ONLY; do case $1 in $pattern) return 0 ;; esac; done
    return 1
}

pass() { passed=$((passed + 1)); [ -z "${VERBOSE:-}" ] || echo "  ok      $1"; }
fail() { failed=$((failed + 1)); echo "  FAILED  $1: $2"; [ ! -s "$tmp/err" ] || sed 's/^/          /' "$tmp/err" | head -n 12; }
# What a victim asks for that jemalloc's public interface alone does not give; else empty.
private_part() {
    case $1 in
        gives_way) echo 'no request can be refused new pages' ;;
        moves_on | 'near_limit under qemu-user') echo 'pages are not moved' ;;
        'grows again') echo 'blocks above 1 MiB are not kept' ;;
        'large_blocks '[rit][edw][uli]*) echo 'blocks above 1 MiB are not kept' ;;
        'marked_pages reused' | 'large_blocks marked' | 'grows large'*) echo 'pages keep the marks of the program' ;;
        'frees_without_room refused') echo 'jemalloc makes a thread cache without an arena, and crashes' ;;
        fork_while_purging) echo 'a fork does not wait for purges' ;;
        'raw_children asm') echo 'children that no handler sees may wait for a lock' ;;
        small_beyond_limit) echo 'small requests are not refused at the limit' ;;
        'private parts differ') echo 'they are off' ;;
    esac
}
skip() { selected "$1" || return 0; skipped=$((skipped + 1)); echo "  SKIPPED $1: $2"; }

# case_ NAME STATUS CHECK [VARIABLE=VALUE ...] COMMAND ...
# STATUS is the exit status, 128 + signal for a death by one; CHECK is a function that judges $tmp/err.
case_() {
    name=$1 status=$2 check=$3
    shift 3
    selected "$name" || return 0
    [ "${PRIVATE:-on}" = on ] || [ -z "$(private_part "$name")" ] || { skip "$name" "without private parts $(private_part "$name")"; return; }
    # Sampled requests are not among the figures of the pools.
    [ -n "${SAMPLE:-}" ] && case $name in bucket_limits* | refused_then_reused | 'setting POOL_MAX'*) skip "$name" "it counts requests"; return ;; esac
    # The inner shell becomes the command and the outer one swallows what a shell says of deaths.
    ((exec timeout -k 5 "${LIMIT:-120}" env LD_PRELOAD="${EXTRA_BEFORE:-}$preload${EXTRA_AFTER:-}" \
        ${PRIVATE:+TIDEPOOL_PRIVATE=$PRIVATE} ${SAMPLE:+TIDEPOOL_SAMPLE=$SAMPLE} "$@" >"$tmp/out" 2>"$tmp/err")
        exit $?) 2>/dev/null
    got=$?
    [ $got = 124 ] && { fail "$name" "still running after ${LIMIT:-120} s"; return; }
    [ $got = "$status" ] || { fail "$name" "ended with $got, expected $status"; return; }
    "$check" || { fail "$name" "stderr is not what was expected"; return; }
    pass "$name"
}

# Without pools nothing can be sampled, which is said where it was asked for.
silent() { ! grep -qvx "${SAMPLE:+tidepool: sampling is off: it needs the pools}" "$tmp/err"; }
# Misuse is told in one line; where a backtrace follows, its lines bear our name too.
one_report() {
    [ "$(grep -cE "^tidepool: .*($1)" "$tmp/err")" = 1 ] && ! grep -qv '^tidepool: ' "$tmp/err"
}
double_free() { one_report 'double free'; }
allocated_at() { double_free && grep -q '^tidepool: allocated at: misuse+0x' "$tmp/err"; }
invalid_free() { one_report 'invalid free'; }
either_free() { one_report '(double|invalid) free'; }
no_membarrier() {
    [ "$(wc -l <"$tmp/err")" = 1 ] && grep -q '^tidepool: .*membarrier' "$tmp/err"
}
# Page moves say so once where they are off; the levels have lines of their own.
moves_are_off() {
    [ "$(grep -c '^tidepool: free pages are not moved' "$tmp/err")" = 1 ] &&
        ! grep -qvE '^tidepool: (memory pressure|free pages are not moved)' "$tmp/err"
}
# A feature that steps aside says so in one line, and says nothing else.
one_line() { [ "$(wc -l <"$tmp/err")" = 1 ] && grep -q "^tidepool: $1" "$tmp/err"; }
unseen_pages() { one_line "jemalloc's private parts are not used: pages that it takes are not seen\$"; }
walled() { one_line 'pools grow no further: another mapping lies behind 0x'; }
unwatched() { one_line 'memory is not watched: '; }
ours_alone() { ! grep -qv '^tidepool: ' "$tmp/err"; }
pools_stay() { ours_alone && ! grep -q 'pools are off' "$tmp/err"; }
# By TIDEPOOL_VERBOSE=1: what the line at the start says of the pools is what was said of them.
pools_tell() {
    ours_alone && case $(grep -c '^tidepool: pools are off' "$tmp/err") in
        0) grep -q '^tidepool: version .*; pools on,' "$tmp/err" ;;
        1) grep -q '^tidepool: version .*; pools off,' "$tmp/err" ;;
        *) false ;;
    esac
}
# The levels of TIDEPOOL_VERBOSE.
started() { one_line "version [0-9.]*: limit 640 MiB (TIDEPOOL_LIMIT), high from 75 %; pools on, up to 80 MiB in buckets 1K:7,1M:64M; membarrier yes, page moves [a-z]*, huge pages never, sampling off, metrics off\$"; }
first_reclaim() {
    ours_alone && ! grep -qE '^tidepool: (evaluation by|reclaim .*; wanted 0 KiB, gave back 0 KiB )' "$tmp/err" &&
        grep -qE '^tidepool: reclaim by (watchdog|growing thread) at (high|critical): (memory is short|others may need what this process does not use|room runs out); wanted [0-9]+ [KM]iB, gave back [0-9]+ [KM]iB in [0-9]+ us; usage [0-9]+ [KM]iB, then [0-9]+ [KM]iB, of 100 MiB$' "$tmp/err" &&
        grep -qE '^tidepool: level [a-z]+: [0-9]+ MiB used, high begins at 75 MiB and critical at 90 MiB; ' "$tmp/err" &&
        grep -q '^tidepool: events that ask for an evaluation: MEMORY_PRESSURE_WATCH none, PSI ' "$tmp/err"
}
each_evaluation() { ours_alone && grep -qE '^tidepool: evaluation by growing thread: normal, used [0-9]+ [KM]iB, ' "$tmp/err"; }
watch_refused() { grep -q '^tidepool: MEMORY_PRESSURE_WATCH cannot be listened to: ' "$tmp/err"; }
# Changes of level, of which the first 16 are shown.
level_lines() { ! grep -qvE '^tidepool: (memory pressure|more lines of this kind are not shown$)' "$tmp/err"; }
# ok NAME ...: exits 0 and says nothing.
ok() { name=$1; shift; case_ "$name" 0 silent "$@"; }

# The family, and what its blocks are worth. Again without jemalloc's private parts, with every pool
# tiny, with pools off, and in the mode that must be a plain jemalloc.
for mode in '' TIDEPOOL_PRIVATE=off TIDEPOOL_BUCKETS=1K:2,4K:2,16K:1,64K:1,256K:1,1M:1 \
    TIDEPOOL_BUCKETS=1K:0,4K:0,16K:0,64K:0,256K:0,1M:0 TIDEPOOL_DISABLE=1; do
    for victim in family family_cxx errno_rules usable_size alignment realloc_keeps calloc_zeroes \
        glibc_extras jemalloc_api producer_consumer thread_exit; do
        [ $victim != family_cxx ] || [ -x "$V/$victim" ] || { skip "$victim${mode:+ $mode}" 'no C++ compiler'; continue; }
        ok "$victim${mode:+ $mode}" ${mode:+"$mode"} "$V/$victim"
    done
done
ok nallocx_keeps "$V/nallocx_keeps"
ok 'nallocx_keeps sampled' TIDEPOOL_SAMPLE=4K "$V/nallocx_keeps"
ok 'nallocx_keeps sampled, most buckets off' TIDEPOOL_SAMPLE=4K TIDEPOOL_BUCKETS=1K:0,4K:0,16K:0,64K:0,256K:0,1M:9 "$V/nallocx_keeps"
ok exports "$V/exports" "$(basename "$LIB")"
ok trim_gives_back "$V/trim_gives_back"
ok zero_again "$V/zero_again"
ok 'zero_again retain:false' MALLOC_CONF=retain:false "$V/zero_again"
ok 'zero_again under RLIMIT_AS' sh -c 'ulimit -v 4000000 && exec "$0"' "$V/zero_again"
ok public_api "$V/public_api"
ok refused_then_reused "$V/refused_then_reused"
ok fork_at_start "$V/fork_at_start"
if grep -qs user_notif /proc/sys/kernel/seccomp/actions_avail; then
    ok 'fork_at_start slow' "$V/fork_at_start" slow
else
    skip 'fork_at_start slow' 'this kernel lets no thread answer for another (seccomp)'
fi
ok rounds "$V/rounds"
ok moves_on "$V/moves_on"
ok gives_way "$V/gives_way"
# It ends in moments, or in more than a minute. GiB for which the count takes steps of various lengths.
mkdir -p "$tmp/wide"
for gib in 1 20 100 200 65536; do
    LIMIT=30 ok "wide_heap $gib" TIDEPOOL_PROM_DIR="$tmp/wide" TIDEPOOL_PROM_KEEP=on "$V/wide_heap" $gib
done
case_ wall 0 walled "$V/wall"
case_ 'wall, huge pages' 0 walled TIDEPOOL_THP=madvise "$V/wall"
# A program that marks pages (madvise, mprotect, mlock ...) and frees them.
for what in reused threads arena marked child idle; do ok "large_blocks $what" "$V/large_blocks" $what; done
ok 'large_blocks threads, no pools' TIDEPOOL_BUCKETS=1K:0,4K:0,16K:0,64K:0,256K:0,1M:0 "$V/large_blocks" threads
case_ 'large_blocks threads near a limit' 0 level_lines TIDEPOOL_LIMIT=90M "$V/large_blocks" threads
case_ 'large_blocks twice' 0 double_free TIDEPOOL_CHECK=warn "$V/large_blocks" twice
for what in keeps bounded outgrows marked usable large again; do ok "grows $what" "$V/grows" $what; done
ok 'grows keeps, most buckets off' TIDEPOOL_BUCKETS=1K:9,4K:0,16K:9,64K:9,256K:9,1M:0 "$V/grows" keeps
ok 'grows keeps sampled' TIDEPOOL_SAMPLE=64K "$V/grows" keeps
case_ 'grows keeps near a limit' 0 level_lines TIDEPOOL_LIMIT=40M "$V/grows" keeps
case_ 'grows large near a limit' 0 level_lines TIDEPOOL_LIMIT=120M "$V/grows" large
ok 'grows large under RLIMIT_AS' sh -c 'ulimit -v 4000000 && exec "$0" large' "$V/grows"
for what in reused child shared undone; do ok "marked_pages $what" "$V/marked_pages" $what; done
ok 'marked_pages sampled' TIDEPOOL_SAMPLE=4K "$V/marked_pages" undone
case_ 'marked_pages moved' 0 level_lines TIDEPOOL_LIMIT=40M "$V/marked_pages" moved
case_ near_limit 0 level_lines TIDEPOOL_LIMIT=64M "$V/near_limit" 50 20000
case_ cut_near_limit 0 level_lines TIDEPOOL_LIMIT=64M "$V/cut_near_limit"
case_ hands_over 0 level_lines TIDEPOOL_LIMIT=128M "$V/hands_over"
for victim in 'near_limit 50 20000' hands_over; do
    set -- $victim
    name=$1
    shift
    case_ "$name TIDEPOOL_PRIVATE=off" 0 level_lines TIDEPOOL_PRIVATE=off TIDEPOOL_LIMIT=128M "$V/$name" "$@"
done
# A library that lacks one of its wraps, as one would that another jemalloc no longer passes.
case_ 'private parts differ' 0 unseen_pages env LD_PRELOAD="$V/lib/unwrapped.so" "$V/family"
# An emulator in which a page that moved away never reads as zero again.
if command -v qemu-x86_64 >/dev/null; then
    LIMIT=60 case_ 'near_limit under qemu-user' 0 moves_are_off env -u LD_PRELOAD qemu-x86_64 ${preload:+-E LD_PRELOAD="$preload"} \
        -E TIDEPOOL_LIMIT=64M "$V/near_limit" 50 10000
else
    skip 'near_limit under qemu-user' 'there is no qemu-x86_64: apt-get install qemu-user'
fi
# CAP_IPC_LOCK is bit 14.
for private in on off; do
    if [ $((0x$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status) >> 14 & 1)) = 1 ]; then
        ok "locks_future PRIVATE=$private" TIDEPOOL_PRIVATE=$private "$V/locks_future"
    else
        skip "locks_future PRIVATE=$private" 'locking more than RLIMIT_MEMLOCK takes CAP_IPC_LOCK'
    fi
done
ok sampled_locked TIDEPOOL_SAMPLE=4K "$V/sampled_locked"
for how in setrlimit prlimit; do ok "limits_itself $how" "$V/limits_itself" $how; done
for walker in builtin fp libunwind; do
    ok "odd_stack $walker" TIDEPOOL_SAMPLE=4K TIDEPOOL_SAMPLE_UNWIND=$walker "$V/odd_stack"
    ok "made_code $walker" TIDEPOOL_SAMPLE=4K TIDEPOOL_SAMPLE_UNWIND=$walker "$V/made_code"
done
case_ borrows_memory 0 level_lines TIDEPOOL_LIMIT=100M "$V/borrows_memory"
for how in exit thrd return cancelled forked; do
    LIMIT=20 ok "main_leaves $how" 'TIDEPOOL_MFILE=*=random' "$V/main_leaves" $how
done
LIMIT=20 case_ 'main_leaves killed' 143 silent 'TIDEPOOL_MFILE=*=random' "$V/main_leaves" killed
# What only a process of one thread may do, and what a process may give up: without our threads in the way.
for mode in is_confined is_not_urgent keeps_capabilities changes_ids enters_namespaces locks_itself_up \
    filters_by_number filters_by_prctl filters_all_but_the_end filters_while_small child_filters_itself many_at_once child_borrows_memory in_a_handler; do
    if [ "$(id -u)" = 0 ]; then
        LIMIT=60 ok "one_thread $mode" "$V/one_thread" $mode
        # For mapped files of others the thread keeps a capability.
        [ $mode = is_confined ] || [ $mode = locks_itself_up ] ||
            LIMIT=60 ok "one_thread $mode, beside mapped files" 'TIDEPOOL_MFILE=none=random' "$V/one_thread" $mode
        # Behind such a filter nothing is written at exit.
        case $mode in filters*)
            LIMIT=60 ok "one_thread $mode, with much to write" TIDEPOOL_PROM_DIR="$tmp" TIDEPOOL_PROM_KEEP=on \
                TIDEPOOL_STATS=exit TIDEPOOL_SAMPLE_DUMP=exit "$V/one_thread" $mode ;;
        esac
    else
        skip "one_thread $mode" 'it gives up what only root has'
    fi
done
# name COMMAND ...: a program of the system that changes its ids, or enters namespaces, then runs another.
changes() {
    name=$1
    shift
    if LD_PRELOAD='' "$@" >"$tmp/err" 2>&1; then
        case_ "$name" 0 "${CHECK:-silent}" TIDEPOOL_SAMPLE=4K 'TIDEPOOL_MFILE=none=random' sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do "$@" || exit; done' sh "$@"
    else
        skip "$name" "it does not work here without the library either: $(head -n 1 "$tmp/err")"
    fi
}
changes 'setpriv' setpriv --reuid 1234 --clear-groups true
changes 'setpriv, no_new_privs' setpriv --reuid 1234 --regid 1234 --clear-groups --inh-caps=-all --no-new-privs true
changes 'capsh' capsh --drop=cap_sys_admin --uid=1234 -- -c true
changes 'su' su -s /bin/sh -c true nobody
changes 'chroot' chroot --userspec=1234:1234 --groups=1234 / true
changes 'unshare' unshare -U -r true
changes 'unshare, a pid namespace' unshare -Ur --mount-proc -pf true
# Between two roots it has no /proc, and the library says that it watches no memory.
CHECK=ours_alone changes 'bubblewrap' bwrap --unshare-all --dev-bind / / --cap-drop ALL true
changes 'python' python3 -c 'import os, threading
t = [threading.Thread(target=lambda: bytearray(1 << 24)) for i in range(8)]
[x.start() for x in t]
os.setgroups([]), os.setresgid(1234, 1234, 1234), os.setresuid(1234, 1234, 1234)
[x.join() for x in t]'

ok lowest_number TIDEPOOL_INTERVAL=10ms TIDEPOOL_LIMIT=128M "$V/lowest_number"
ok 'lowest_number beside mapped files' 'TIDEPOOL_MFILE=*=random' "$V/lowest_number" "$V/lowest_number"

for setting in '' 'TIDEPOOL_MFILE=*=lazyfree' 'TIDEPOOL_MFILE=*=random' TIDEPOOL_KSM=on; do
    ok "mapping_calls${setting:+ $setting}" ${setting:+"$setting"} "$V/mapping_calls"
done

ok 'merges_pages off' "$V/merges_pages" no
if [ -e /sys/kernel/mm/ksm ]; then
    ok 'merges_pages on' TIDEPOOL_KSM=on "$V/merges_pages" yes
else
    skip 'merges_pages on' 'this kernel has no KSM'
fi

# Mapped files: the same bytes whatever is advised, and when memory is short, too; and what is advised arrives.
ksm='' thp=''
if [ -e /sys/kernel/mm/ksm ]; then ksm=mg; else skip 'mergeable files' 'this kernel has no KSM'; fi
if [ -e /sys/kernel/mm/transparent_hugepage ]; then thp=hg; else skip 'huge pages of files' 'this kernel has none'; fi
for case in prefetch: populate: sequential:sr random:rr "hugepage:$thp" "mergeable:$ksm" cold: lazyfree: dontdump:dd keep: \
    "lazyfree,prefetch,sequential,hugepage:sr $thp" 'populate,random:rr' 'populate,dontdump,sequential:dd sr'; do
    hint=${case%%:*}
    # shellcheck disable=SC2086 # flags, a word each
    ok "mapped_files $hint" "TIDEPOOL_MFILE=*mapped_files.*=$hint" "$V/mapped_files" policy ${case#*:}
done
ok 'mapped_files, many of them' 'TIDEPOOL_MFILE=*mapped_files.*=sequential' "$V/mapped_files" many sr
ok 'mapped_files of another name' 'TIDEPOOL_MFILE=other.*=sequential,dontdump,hugepage' "$V/mapped_files" policy
ok 'mapped_files moved' 'TIDEPOOL_MFILE=/var/tmp/mapped_files.*.b/*=random;none=populate' "$V/mapped_files" moved
ok 'mapped_files grown' 'TIDEPOOL_MFILE=*mapped_files.*=sequential' "$V/mapped_files" grown sr
case_ 'mapped_files pressed' 0 level_lines 'TIDEPOOL_MFILE=mapped_files.*=lazyfree,cold' TIDEPOOL_LIMIT=64M TIDEPOOL_INTERVAL=100ms \
    "$V/mapped_files" policy pressed
for setting in '' 'TIDEPOOL_MFILE=*=lazyfree,prefetch' TIDEPOOL_WATCHDOG=off; do
    for mode in api fork; do
        ok "mapped_files $mode${setting:+ $setting}" ${setting:+"$setting"} "$V/mapped_files" $mode
    done
done
case_ 'misuse, sampled' 0 allocated_at TIDEPOOL_SAMPLE=4K TIDEPOOL_CHECK=warn "$V/misuse" twice 500000
for buckets in '' 1K:9,4K:20,64K:7,1M:3 2K:64K,96K:300K,1M:4M; do
    ok "bucket_limits $buckets" ${buckets:+TIDEPOOL_BUCKETS=$buckets} "$V/bucket_limits"
done

# Misuse: told and fatal by default; told, or not even that, and survived where the user says so.
for size in 1024 5000 65536 1048576; do
    for kind in twice twice-with-others-between twice-in-two-threads twice-after-trim \
        resize-after-free rallocx-after-free rallocx-not-in-place rallocx-interior interior interior-unaligned \
        never-allocated; do
        case $kind in
        twice-after-trim | resize-after-free) check=either_free ;;
        twice* | rallocx-after-free | rallocx-not-in-place) check=double_free ;;
        *) check=invalid_free ;;
        esac
        # There is nothing inside a block of one KiB but its unaligned addresses.
        [ $kind$size = interior1024 ] && continue
        case_ "misuse $kind $size" 134 $check "$V/misuse" $kind $size
        case_ "misuse $kind $size abort" 134 $check TIDEPOOL_CHECK=abort "$V/misuse" $kind $size
        case_ "misuse $kind $size warn" 0 $check TIDEPOOL_CHECK=warn "$V/misuse" $kind $size
        case_ "misuse $kind $size off" 0 silent TIDEPOOL_CHECK=off "$V/misuse" $kind $size
    done
done

# What addr2line makes of the frames: the lines of the calls, as call_lines.c marks them.
lines_of() {
    sed -n "s/^tidepool: $1: //p" "$tmp/err" | tr ' ' '\n' | sed -n "s/^$victim+//p" | xargs addr2line -fse "$V/$victim" |
        paste -d ' ' - - | sed -n 's/\(call_lines.c:[0-9]*\).*/\1/p' | sort
}
marked() { awk -v "what=// $1 of " 'i = index($0, what) { print substr($0, i + length(what)), "call_lines.c:" NR }' "$(dirname "$0")/call_lines.c" | sort; }
told_lines() { [ "$(lines_of "$1")" = "$(marked "$2")" ]; }
calls_told() { told_lines backtrace call && told_lines 'allocated at' allocation && [ -n "$(marked call)" ]; }
for victim in call_lines call_lines_fixed; do
    if command -v addr2line >/dev/null; then
        case_ $victim 0 calls_told TIDEPOOL_SAMPLE=4K TIDEPOOL_ON_MISUSE=warn "$V/$victim"
    else
        skip $victim 'there is no addr2line'
    fi
done

# The ages of a process, its threads and its children.
ok before_constructors "$V/before_constructors"
EXTRA_AFTER=" $V/lib/early.so" ok before_constructors_early "$V/before_constructors"
EXTRA_AFTER=" $V/lib/early_thread.so" ok thread_before_constructors "$V/before_constructors"
EXTRA_BEFORE="$V/lib/early.so " ok before_constructors_late "$V/before_constructors"
EXTRA_AFTER=" $V/lib/hooks.so" ok hooked_mappings_behind "$V/hooked_mappings"
EXTRA_BEFORE="$V/lib/hooks.so " ok hooked_mappings_in_front "$V/hooked_mappings"
EXTRA_AFTER=" $V/lib/hooks.so" ok hooked_mappings_recorded TIDEPOOL_MFILE='*=cold' "$V/hooked_mappings"
EXTRA_AFTER=" $V/lib/fakes.so" ok own_calls_before_fakes TIDEPOOL_INTERVAL=10ms "$V/own_calls"
EXTRA_BEFORE="$V/lib/fakes.so " ok own_calls_after_fakes TIDEPOOL_INTERVAL=10ms "$V/own_calls"
faketime=$(find /usr/lib /usr/lib64 -name libfaketime.so.1 2>/dev/null | head -n 1)
if [ -n "$faketime" ]; then
    EXTRA_AFTER=" $faketime" ok faketime_behind FAKETIME=-10d "$V/family"
    EXTRA_BEFORE="$faketime " ok faketime_in_front FAKETIME=-10d "$V/family"
else
    skip faketime 'it needs libfaketime'
fi
steps_aside_for_other_heap() { one_report 'steps aside: malloc is that of .*/other_heap\.so$'; }
steps_aside_for_the_program() { one_report 'steps aside: malloc is that of .*/foreign_own$'; }
EXTRA_BEFORE="$V/lib/other_heap.so " case_ foreign_front 0 steps_aside_for_other_heap "$V/foreign_front"
# The first library in front defines no malloc.
EXTRA_BEFORE="$V/lib/hooks.so $V/lib/other_heap.so " case_ foreign_front_fixed 0 steps_aside_for_other_heap "$V/foreign_front_fixed"
case_ foreign_own 0 steps_aside_for_the_program "$V/foreign_own"
EXTRA_BEFORE="$V/lib/watcher.so " ok watched_family "$V/family"
EXTRA_BEFORE="$V/lib/watcher.so " ok watched_pools "$V/trim_gives_back"
ok short_threads "$V/short_threads"
ok racing_start "$V/racing_start" 80
ok trim_after_race "$V/trim_after_race" 20
ok fork_storm "$V/fork_storm"
ok fork_while_purging "$V/fork_while_purging"
ok fork_handlers "$V/fork_handlers"
ok joins_threads TIDEPOOL_SAMPLE=4K "$V/joins_threads"
LIMIT=10 ok own_sigaction "$V/own_sigaction"
for what in never refused; do ok "frees_without_room $what" "$V/frees_without_room" $what; done
LIMIT=10 ok own_names "$V/own_names"
for how in syscall clone3 fork clone _Fork asm; do
    case_ "raw_children $how" 0 level_lines TIDEPOOL_INTERVAL=10ms TIDEPOOL_LIMIT=75M "$V/raw_children" $how
done
ok spawns "$V/spawns"
ok dlopen_loop "$V/dlopen_loop" "$V/lib/plugin.so"
ok deepbind "$V/deepbind"
ok 'deepbind TIDEPOOL_DISABLE' TIDEPOOL_DISABLE=1 "$V/deepbind"
# Not `jump`: a handler that leaves jemalloc by siglongjmp leaves its locks held, for good.
for kind in warm cold; do LIMIT=30 ok "signal_alloc $kind" "$V/signal_alloc" $kind; done
LIMIT=30 case_ 'signal_alloc short of memory' 0 level_lines TIDEPOOL_LIMIT=24M "$V/signal_alloc" cold
# Handlers that use the whole family, in the middle of each call of it.
for call in small zeroed aligned pooled large resized figures controls trims prints jumps lives; do
    LIMIT=60 ok "any_handler $call" "$V/any_handler" $call
    LIMIT=60 ok "any_handler $call, threads" "$V/any_handler" $call 3
done
for call in small resized; do
    LIMIT=60 ok "any_handler $call, sampled" TIDEPOOL_SAMPLE=4K "$V/any_handler" $call 2
    LIMIT=60 ok "any_handler $call, no pools" TIDEPOOL_DISABLE=1 "$V/any_handler" $call 2
    LIMIT=60 case_ "any_handler $call, short of memory" 0 level_lines TIDEPOOL_LIMIT=40M "$V/any_handler" $call 2
done
for guard in 0 1; do
    case_ "beyond_limit san_guard_large:$guard" 0 level_lines MALLOC_CONF=san_guard_large:$guard TIDEPOOL_LIMIT=200M \
        TIDEPOOL_ON_LIMIT=enomem "$V/beyond_limit"
done
case_ small_beyond_limit 0 level_lines TIDEPOOL_LIMIT=100M TIDEPOOL_ON_LIMIT=enomem:1 "$V/small_beyond_limit"
LIMIT=60 ok handler_frees_small TIDEPOOL_ON_LIMIT=enomem:1 "$V/handler_frees_small"
told_by_the_option() { level_lines && ! grep -qv 'of 100 MiB used (TIDEPOOL_LIMIT)$' "$tmp/err"; }
critical_as_seen() { grep -q '^tidepool: evaluation by watchdog: critical' "$tmp/err" && ! grep -q ' used 0 KiB' "$tmp/err"; }
for mib in 6 50; do
    case_ "takes_all_fds $mib" 0 critical_as_seen TIDEPOOL_VERBOSE=3 TIDEPOOL_LIMIT=100M "$V/takes_all_fds" $mib
done
case_ level_ends 0 told_by_the_option TIDEPOOL_LIMIT=100M "$V/level_ends"
# One reclaim a second, at most, and one more; 3500 requests take less than that.
hardly_reclaimed() {
    awk '$2 == "reclaims:" { n = $4 + $6 + $8; seen = 1 } $2 == "pressure:" { looks = $10 } \
        END { exit !(seen && n <= 10 && looks < 1000) }' "$tmp/err"
}
case_ too_large 0 hardly_reclaimed TIDEPOOL_STATS=exit "$V/too_large"
ok small_process "$V/small_process"
ok maps_little "$V/maps_little"

# What is said where it is asked for.
case_ 'verbose 1' 0 started TIDEPOOL_VERBOSE=1 TIDEPOOL_LIMIT=640M TIDEPOOL_BUCKETS=1K:7,1M:64M "$V/small_process"
no_pools() { one_line "version [0-9.]*: limit 640 MiB (TIDEPOOL_LIMIT), high from 75 %; pools off, page moves [a-z]*, huge pages never, sampling off, metrics off\$"; }
case_ 'verbose 1, no pools' 0 no_pools TIDEPOOL_VERBOSE=1 TIDEPOOL_LIMIT=640M TIDEPOOL_BUCKETS=1K:0,4K:0,16K:0,64K:0,256K:0,1M:0 "$V/small_process"
off_by() { one_line "version [0-9.]*: off in this process, by TIDEPOOL_$1\$"; }
off_by_disable() { off_by DISABLE; }
off_by_only() { off_by ONLY; }
off_by_except() { off_by EXCEPT; }
off_by_a_slip() { [ "$(wc -l <"$tmp/err")" = 2 ] && grep -q 'off in this process, by TIDEPOOL_ONLY$' "$tmp/err" && grep -q '; using TIDEPOOL_DISABLE=on$' "$tmp/err"; }
case_ 'verbose 1, disabled' 0 off_by_disable TIDEPOOL_VERBOSE=1 TIDEPOOL_DISABLE=1 "$V/small_process"
case_ 'verbose 1, another is meant' 0 off_by_only TIDEPOOL_VERBOSE=1 TIDEPOOL_ONLY=redis-server TIDEPOOL_LIMIT=x "$V/small_process"
case_ 'verbose 1, excepted' 0 off_by_except TIDEPOOL_VERBOSE=1 'TIDEPOOL_EXCEPT=small*' "$V/small_process"
case_ 'verbose 1, a slip in a list' 0 off_by_a_slip TIDEPOOL_VERBOSE=1 TIDEPOOL_ONLY=/bin/x "$V/small_process"
ok 'disabled without a word' TIDEPOOL_EXCEPT='small*' "$V/small_process"
case_ 'verbose 2' 0 first_reclaim TIDEPOOL_VERBOSE=2 TIDEPOOL_LIMIT=100M "$V/rounds"
case_ 'verbose 3' 0 each_evaluation TIDEPOOL_VERBOSE=3 "$V/borrows_memory"
case_ 'a watch that cannot be' 0 watch_refused MEMORY_PRESSURE_WATCH=/dev/zero TIDEPOOL_LIMIT=100M "$V/rounds"
case_ 'a watch that is missing' 0 watch_refused MEMORY_PRESSURE_WATCH=/no/such TIDEPOOL_LIMIT=100M "$V/rounds"
case_ 'a watch that is not wanted' 0 level_lines MEMORY_PRESSURE_WATCH=/dev/null TIDEPOOL_LIMIT=100M "$V/rounds"
echo mine >"$tmp/mine"
case_ 'a watch on a file of the user' 0 watch_refused MEMORY_PRESSURE_WATCH="$tmp/mine" MEMORY_PRESSURE_WRITE=eA== TIDEPOOL_LIMIT=100M "$V/rounds"

# What README.md says of a setting, seen from the program.
ok 'setting WARMUP' TIDEPOOL_WARMUP=64K:32 "$V/settings" warmup
ok 'setting POOL_MAX' TIDEPOOL_POOL_MAX=1M "$V/settings" pool_max 65536 1048576
ok 'setting POOL_MAX auto' TIDEPOOL_BUCKETS=64K:64 "$V/settings" pool_max 4194304 4194304
ok 'setting POOL_MAX auto, where a range starts with 512 KiB' "$V/settings" pool_max 524288 524288
if [ -e /sys/kernel/mm/transparent_hugepage ]; then
    ok 'setting THP never' "$V/settings" thp ' nh'
    ok 'setting THP madvise' TIDEPOOL_THP=madvise "$V/settings" thp ' hg'
    ok 'setting THP default' TIDEPOOL_THP=default "$V/settings" thp -
else
    skip 'setting THP' 'this kernel has no huge pages'
fi
ok 'setting DEEPBIND strip' "$V/settings" deepbind strip
ok 'setting DEEPBIND keep' TIDEPOOL_DEEPBIND=keep "$V/settings" deepbind keep
# The loader preloads into a set-uid program what is set-uid itself and lies in one of its own folders.
secure() {
    libs=$(dirname "$(ldd "$V/settings" | awk '/libc\.so/ { print $3 }')")
    mkdir "$tmp/secure" && cp "$LIB" "$tmp/secure/libtidepool.so" && cp "$V/settings" "$tmp/settings" &&
        chmod 755 "$tmp" "$tmp/secure" && chmod 4755 "$tmp/settings" "$tmp/secure/libtidepool.so"
    ok 'settings of a set-uid program' LD_PRELOAD= unshare -m sh -c "mount -t overlay -o lowerdir=$tmp/secure:$libs overlay $libs &&
        exec setpriv --reuid=65534 --regid=65534 --clear-groups env LD_PRELOAD=libtidepool.so \
            TIDEPOOL_POOL_MAX=64K TIDEPOOL_BUCKETS=x $tmp/settings secure"
}
if unshare -m sh -c "mount -t overlay -o lowerdir=/usr/lib:/usr/share overlay /usr/share" 2>/dev/null; then
    secure
else
    skip 'settings of a set-uid program' 'overlay mounts are refused'
fi
# A byte in the fifo leads to an evaluation by the thread, beside its first one. So far from a limit it has no other.
watched() { [ "$(grep -c '^tidepool: evaluation by watchdog' "$tmp/err")" = "$1" ]; }
watched_once() { watched 1; }
watched_twice() { watched 2 && grep -q 'MEMORY_PRESSURE_WATCH on' "$tmp/err"; }
mkfifo "$tmp/fifo"
for how in 'quiet watched_once' 'ring watched_twice'; do
    case_ "MEMORY_PRESSURE_WATCH ${how% *}" 0 "${how#* }" MEMORY_PRESSURE_WATCH="$tmp/fifo" TIDEPOOL_VERBOSE=3 \
        TIDEPOOL_LIMIT=10000G TIDEPOOL_SOURCE=rss TIDEPOOL_INTERVAL=60m "$V/settings" watch "${how% *}"
done

# Where something is missing.
limited() { echo "ulimit -v $1 && exec $2"; }
case_ little_address_space_512M 0 pools_stay sh -c "$(limited 524288 "$V/little_address_space")"
# What the program maps without a heap of ours, and 64 MiB: too little for any region.
need=$(LD_PRELOAD= sh -c "awk '/VmPeak/ { print \$2 }' /proc/self/status")
case_ little_address_space_64M 0 pools_tell TIDEPOOL_VERBOSE=1 sh -c "$(limited $((need + 65536)) "$V/little_address_space")"
# One call at the start fails, each in turn. From set_tid_address on: before it ld.so itself crashes without some of them.
# What it then does without is a start (127).
fails_in_turn() {
    LD_PRELOAD= strace -f -o "$tmp/trace" -E LD_PRELOAD="$preload" -e trace="$1,set_tid_address" "$V/starts_short"
    first=$(sed '/set_tid_address/,$d' "$tmp/trace" | wc -l)
    for n in $(seq $((first + 1)) $((first + 40))); do
        ((exec strace -f -o "$tmp/trace" -E LD_PRELOAD="$preload" -e trace="$1" -e inject="$1:error=ENOMEM:when=$n" \
            "$V/starts_short" >"$tmp/out" 2>"$tmp/err")
            exit $?) 2>/dev/null
        got=$?
        grep -q INJECTED "$tmp/trace" || break
        [ $got = 0 ] || [ $got = 127 ] || { fail "starts_short $1" "ended with $got where call $n failed"; return; }
    done
    [ "$n" -gt $((first + 1)) ] && pass "starts_short $1" || fail "starts_short $1" "no call failed"
}
for call in mmap mprotect madvise; do
    selected "starts_short $call" || continue
    if strace -o /dev/null true 2>/dev/null; then fails_in_turn $call; else skip "starts_short $call" 'strace does not work here'; fi
done
# MIB, and the parts in percent that jemalloc alone makes of -d and -v, in round figures. jemalloc has a
# table of 2 MiB for each GiB of addresses: where the heap lies across the border of two, which random
# addresses bring about in one run of 50, a small limit holds less. So the addresses are fixed.
fixed='setarch -R'
$fixed true 2>/dev/null || fixed=
while read -r mib data space; do
    for size in 100 1500 65536 1000000; do
        case_ "runs_out -d ${mib}M $size" 0 ours_alone $fixed sh -c "ulimit -d $((mib * 1024)) && exec $V/runs_out $size $data"
        case_ "runs_out -v ${mib}M $size" 0 ours_alone $fixed sh -c "ulimit -v $((mib * 1024)) && exec $V/runs_out $size $space"
    done
done <<'END'
24 50 33
32 58 45
48 67 55
64 75 65
END
ok closes_fds "$V/closes_fds"
case_ no_fds 0 unwatched "$V/no_fds"
case_ "no_membarrier EPERM" 0 no_membarrier "$V/no_membarrier" 1
case_ "no_membarrier ENOSYS" 0 no_membarrier "$V/no_membarrier" 38

# A root with nothing in it but the program and its libraries: no /proc, no /sys, no /dev.
bare_root() {
    mkdir -p "$tmp/root/tmp"
    for victim in producer_consumer family no_fds; do
        for f in $(ldd "$V/$victim" ${preload:+"$preload"} | awk '{ for (i = 1; i <= NF; i++) if ($i ~ "^/.*[^:]$") print $i }' | sort -u) \
            "$V/$victim" $preload; do
            mkdir -p "$tmp/root$(dirname "$f")"
            cp -L "$f" "$tmp/root$f"
        done
    done
}
if [ "$(id -u)" = 0 ]; then
    bare_root
    for victim in producer_consumer family no_fds; do
        selected "no_proc $victim" || continue
        case_ "no_proc $victim" 0 unwatched chroot "$tmp/root" "$V/$victim"
    done
else
    skip no_proc "chroot needs root"
fi

# The file itself.
if selected static_tls; then
    of() { printf '%d' "$(readelf -lW "$1" | awk '$1 == "TLS" { print $6 }')"; }
    je=0
    for size in $(readelf -SW "$B/../jemalloc/libje.a" | sed 's/^ *\[ *[0-9]*\]//' | awk '$1 ~ /^\.t(bss|data)/ { print $5 }'); do
        je=$((je + 0x$size))
    done
    echo "TLS: ours $(of "$LIB"), jemalloc's $je" >"$tmp/err"
    if [ "$(of "$LIB")" -le $((je + 64)) ]; then pass static_tls; else fail static_tls "more than 64 bytes beside jemalloc's"; fi
fi
if selected needs_libc_only; then
    readelf -dW "$LIB" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc|libdl|libpthread|librt|ld-linux[-a-z0-9_]*)\.so' >"$tmp/err"
    if silent; then pass needs_libc_only; else fail needs_libc_only "these come on top of libc"; fi
fi
if selected initial_exec; then
    readelf -dW "$LIB" | grep -E 'TEXTREL' >"$tmp/err"
    readelf -rW "$LIB" | grep -E 'DTPMOD|TLSDESC' >>"$tmp/err"
    if silent; then pass initial_exec; else fail initial_exec "thread-local storage by way of a call that allocates"; fi
fi

if [ -n "${both:-}" ]; then
    wait
    read -r _ p _ f _ s _ <"$tmp/lane1" || p=0 f=1 s=0
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
fi
echo "preload: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]
