#!/bin/bash
# bench.sh - what a pair of mmap and munmap costs beside the raw one, and what prefetch gains a cold sequential
# read. Prints medians; never a verdict. B=build/release, RUNS=7, BYTES=1G, WORK=/var/tmp (on a disk)
set -u
export LC_ALL=C
B=${B:-build/release}
lib=$B/libtidepool.so
runs=${RUNS:-7}
mkdir -p build/bench
out=build/bench/mfile.tsv
work=$(mktemp -d "${WORK:-/var/tmp}/mfile-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

printf 'a pair of mmap and munmap, ns: raw, and what is added\n%-34s %8s %8s %8s %8s %8s\n' \
    setting mappings file more anon more
for live in 0 100 10000; do
    for setting in nothing "TIDEPOOL_PROM_DIR=$work" 'TIDEPOOL_MFILE=*.x=lazyfree' 'TIDEPOOL_MFILE=*.x=random' 'TIDEPOOL_MFILE=*.x=populate'; do
        read -r file more anon anon_more < <(env LD_PRELOAD="$lib" "${setting/nothing/X=}" "$B/tests/mfile/pair" $live)
        printf '%-34s %8s %8s %8s %8s %8s\n' "${setting%=/*}" $live "$file" "$more" "$anon" "$anon_more"
        printf 'pair\t%s\t%s\t%s\t%s\t%s\t%s\n' "$setting" $live "$file" "$more" "$anon" "$anon_more" >>"$out"
    done
done

head -c "${BYTES:-1G}" /dev/urandom >"$work/file" && sync "$work/file" || exit 1
device=$(stat -c %Hd:%Ld "$work/file")
echo
echo "a cold sequential read of $(stat -c %s "$work/file") mapped bytes, s, median of $runs; the disk reads" \
    "$(cat "/sys/class/bdi/$device/read_ahead_kb" 2>/dev/null || echo '?') KiB ahead by itself"
printf '%-34s %10s %10s %7s\n' 'first does something else for' 'no policy' prefetch ratio
for wait in 0 300; do
    for _ in $(seq "$runs"); do
        # In turn, so that a busy disk is no merit of one of them.
        for policy in none file; do
            env LD_PRELOAD="$lib" TIDEPOOL_MFILE="$policy=prefetch" "$B/tests/mfile/sequential" "$work/file" $wait |
                cut -d' ' -f1 >>"$work/$policy.$wait"
        done
    done
    plain=$(median <"$work/none.$wait") ahead=$(median <"$work/file.$wait")
    printf '%-34s %10s %10s %7.2f\n' "$wait ms" "$plain" "$ahead" "$(awk "BEGIN { print $plain / $ahead }")"
    printf 'prefetch\t%s\t%s\t%s\n' $wait "$plain" "$ahead" >>"$out"
done
