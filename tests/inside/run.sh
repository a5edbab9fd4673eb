# Runs victims that have the library linked in, under a sanitizer, with settings that switch its parts on: each has
# to end well, and neither the sanitizer nor the library may complain. See rules.mk.
#
#   B=$PWD/build/address sh tests/inside/run.sh ['fork*' ...]     only these victims
set -uf
B=${B:-$PWD/build/address}
ONLY=${*:-'*'}
V=$B/tests/inside
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
ulimit -c 0
for name in $(env | sed -n 's/^\(TIDEPOOL_[A-Z_]*\)=.*/\1/p') MALLOC_CONF; do unset "$name"; done
# What a process keeps at its end is the kernel's; jemalloc's memory is none that leaks are looked for in.
export ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:handle_abort=0:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="suppressions=tests/race/tsan.supp:${TSAN_OPTIONS:-}"
passed=0 failed=0 skipped=0

# What the library says of its own accord.
expected='^tidepool: (version|memory pressure|level |reclaim |evaluation |events that|heap profile|bucket |pressure:|reclaims:|levels:|pages:|samples:|double_frees|double free|invalid free|allocated at|backtrace: |more lines of this kind)'

# run STATUS VICTIM [VARIABLE=VALUE ...] [-- ARGUMENT ...]
run() {
    status=$1 victim=$2 name="$*"
    shift 2
    # shellcheck disable=SC2254 # patterns
    for pattern in $ONLY; do case $victim in $pattern) break ;; *) false ;; esac; done || return 0
    settings=''
    while [ $# -gt 0 ]; do
        case $1 in
            --) shift && break ;;
            *) settings="$settings $1" && shift ;;
        esac
    done
    # shellcheck disable=SC2086 # a word each
    start=$(date +%s)
    timeout -k 5 "${LIMIT:-200}" env $settings "$V/$victim" "$@" >"$tmp/out" 2>"$tmp/err"
    got=$?
    [ -z "${VERBOSE:-}" ] || echo "  $(($(date +%s) - start)) s  $name"
    if [ $got = "$status" ] && ! grep -qvE "$expected" "$tmp/err"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "  FAILED  $name: ended with $got, expected $status"
        grep -vE "$expected" "$tmp/err" | head -n 30 | sed 's/^/          /'
    fi
}

mkdir "$tmp/prom" "$tmp/heap"
near='TIDEPOOL_LIMIT=64M TIDEPOOL_INTERVAL=20ms TIDEPOOL_COOLDOWN=100ms'
sampled="TIDEPOOL_SAMPLE=4K TIDEPOOL_SAMPLE_DIR=$tmp/heap TIDEPOOL_SAMPLE_DUMP=exit"
metrics="TIDEPOOL_PROM_DIR=$tmp/prom TIDEPOOL_PROM_INTERVAL=100ms TIDEPOOL_PROM_KEEP=on TIDEPOOL_STATS=exit"
# shellcheck disable=SC2086 # a word each
{
    for victim in errno_rules usable_size alignment calloc_zeroes jemalloc_api thread_exit; do
        run 0 $victim $sampled $metrics TIDEPOOL_VERBOSE=3
    done
    for victim in fork_handlers short_threads producer_consumer; do run 0 $victim $sampled $near $metrics; done
    # gcc 12's own allocator locks are not given up in the child of a process of several threads.
    case ${BUILD:-$B} in
        */address) skipped=$((skipped + 1)) && echo '  SKIPPED fork_storm: AddressSanitizer itself hangs after such forks' ;;
        *) run 0 fork_storm $sampled $near $metrics ;;
    esac
    for victim in rounds trim_gives_back; do run 0 $victim $near TIDEPOOL_VERBOSE=3; done
    for kind in twice resize-after-free interior; do run 0 misuse TIDEPOOL_CHECK=warn $sampled -- $kind 65536; done
}
run 0 alignment TIDEPOOL_DISABLE=1
run 0 calloc_zeroes TIDEPOOL_BUCKETS=1K:2,4K:2,16K:1,64K:1,256K:1,1M:1
run 0 signal_alloc -- cold
run 0 mapping_calls 'TIDEPOOL_MFILE=*=random' TIDEPOOL_KSM=on
run 0 mapped_files 'TIDEPOOL_MFILE=*mapped_files.*=lazyfree,prefetch,sequential' -- policy sr

echo "inside: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]
