#!/bin/bash
# sites.sh - known call sites, against what jeprof and the folded stacks say of them.
#
# Five sites hold 10, 20, 30, 40 and 100 MiB, in C and in C++. Each has to be within 10 % and in its
# place in the order. At an interval of 4K the error of the smallest is 2 % by chance (one standard
# deviation); the rule for any other is interval and bytes held: sqrt(interval / bytes).
set -u
. "$(dirname "$0")/lib.sh"
trap 'rm -rf "$tmp"' EXIT

# within NAME GOT WANT
within() {
    if [ -n "$2" ] && awk "BEGIN { exit !($2 > 0.9 * $3 && $2 < 1.1 * $3) }"; then
        pass "$1: $2 MiB of $3"
    else
        fail "$1" "${2:-nothing} MiB instead of $3"
    fi
}

# check PROGRAM WALKER FUNCTION...: functions smallest first
check() {
    local program=$1 walker=$2 name profile folded want order
    shift 2
    export TIDEPOOL_SAMPLE_UNWIND=$walker
    sampled 4K "$V/$program"
    unset TIDEPOOL_SAMPLE_UNWIND
    profile=$(newest "$dir")
    if [ -z "$profile" ]; then
        fail "$program, $walker" "no whole profile: $(head -n 3 "$tmp/err")"
        return
    fi
    if [ "$walker" = libunwind ]; then
        if has_libunwind "$profile"; then pass "$program: libunwind was loaded"; else fail "$program" "libunwind was not loaded"; fi
    fi
    total "$V/$program" "$profile" >"$tmp/total"
    fold "$V/$program" "${profile%.heap}.folded" >"$tmp/folded"
    for name; do
        want=${name##*hold_} want=${want##*site_} want=${want%%_*}
        within "$program, $walker, jeprof: $name" "$(awk -F'\t' -v f="$name" '$1 == f { print $2; exit }' "$tmp/total")" "$want"
        within "$program, $walker, folded: $name" "$(awk -F'\t' -v f="$name" '$1 == f { print $2 }' "$tmp/folded")" "$want"
    done
    order=$(printf '%s\n' "$@" | tac | tr '\n' ' ')
    for name in total folded; do
        found=$(sort -t"$(printf '\t')" -k2 -gr "$tmp/$name" | cut -f1 | awk '!seen[$0]++' | grep -xF "$(printf '%s\n' "$@")" | tr '\n' ' ')
        if [ "$found" = "$order" ]; then pass "$program, $walker, $name: in order"; else fail "$program, $walker, $name" "order: $found"; fi
    done
}

# Few enough samples that a block which is drawn for twice, before and after it is cut, would often be missed.
# At 64K a thread may take 32768 samples at once (pool/common/sampler.h), and this program takes 11200: its
# interval does not double, and the error is 2 % by chance.
check_cuts() {
    local profile
    sampled 64K "$V/cuts"
    profile=$(newest "$dir")
    [ -n "$profile" ] && total "$V/cuts" "$profile" >"$tmp/total"
    within 'cut by realloc' "$(awk -F'\t' '$1 == "site_200_cut" { print $2; exit }' "$tmp/total")" 200
}

# fold PROGRAM FILE: MiB by function of the program, from the folded stacks; a stack counts once for
# each function on it. Template arguments and parameters are cut off, as jeprof cuts them.
fold() {
    grep -o "${1##*/}+0x[0-9a-f]*" "$2" | sort -u | sed 's/.*+//' >"$tmp/pcs"
    # The call is before the return address. Inlined functions count like others.
    while read -r pc; do printf '0x%x\n' $((pc - 1)); done <"$tmp/pcs" | addr2line -a -i -f -C -e "$1" |
        awk '/^0x/ { n++; odd = 0; next } (odd = !odd) {
            gsub(/<[^<>]*>/, ""); gsub(/<[^<>]*>/, ""); sub(/\(.*/, ""); print n, $NF }' >"$tmp/names"
    awk -v program="${1##*/}+" -v pcs="$tmp/pcs" '
        BEGIN { while ((getline pc < pcs) > 0) at[++k] = pc }
        FNR == NR { names[at[$1]] = names[at[$1]] " " $2; next }
        {
            n = split($1, frame, ";"); delete seen
            for (i = 1; i <= n; i++) {
                if (index(frame[i], program) != 1) continue
                m = split(names[substr(frame[i], length(program) + 1)], f, " ")
                for (j = 1; j <= m; j++) {
                    if (!(f[j] in seen)) sum[f[j]] += $NF
                    seen[f[j]] = 1
                }
            }
        }
        END { for (g in sum) printf "%s\t%f\n", g, sum[g] / 1048576 }' "$tmp/names" "$2"
}

if ! command -v jeprof >/dev/null; then
    skip sites "jeprof is not installed"
    finish sites
fi
for walker in builtin libunwind; do
    check sites $walker site_10_small site_20_zeroed site_30_grown site_40_aligned site_100_large
    check sites_cxx $walker store::Keeper::hold_10_small store::Cache::hold_20_strings \
        store::Keeper::hold_30_arrays store::Cache::hold_40_aligned store::Cache::hold_100_large
done
check_cuts
finish sites
