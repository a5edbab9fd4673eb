# report - the table and the summary from the lines that run.sh wrote:
#   pattern  size  touch  allocator  repetition  ns  peak  last RSS in KiB
# Several files may be given; they count as one run. Numbers only; what they mean is for the reader.
#
#   awk -f tests/bench/report.awk build/bench/result.tsv
BEGIN { FS = "\t" }

/^#/ { if (!seen[$0]++) print; next }

{
    row = $1 FS $2 FS $3
    if (!(row in known)) { known[row] = 1; rows[++row_count] = row }
    if (!($4 in column)) { column[$4] = 1; allocs[++alloc_count] = $4 }
    if ($6 == "failed") broken[row, $4] = 1
    else {
        value[row, $4, ++n[row, $4]] = $6 + 0
        if ($7 > peak[row, $4]) peak[row, $4] = $7
        if ($8 > last[row, $4]) last[row, $4] = $8
    }
}

function median(row, a,    i, j, k, v, t) {
    k = n[row, a]
    if (!k || (row, a) in broken) return 0
    for (i = 1; i <= k; i++) {
        t = value[row, a, i]
        for (j = i - 1; j && v[j] > t; j--) v[j + 1] = v[j]
        v[j + 1] = t
    }
    low[row, a] = v[1]; high[row, a] = v[k]
    return k % 2 ? v[(k + 1) / 2] : (v[k / 2] + v[k / 2 + 1]) / 2
}

function number(x) {
    return x == 0 ? "-" : x < 100 ? sprintf("%.1f", x) : x < 1e6 ? sprintf("%.0f", x) : \
        x < 1e8 ? sprintf("%.2fms", x / 1e6) : sprintf("%.0fms", x / 1e6)
}

# The time, and peak/last RSS in MiB where they were measured.
function cell(row, a) {
    if ((row, a) in broken) return "FAILED"
    if (!peak[row, a]) return number(med[row, a])
    return sprintf("%s %7s", number(med[row, a]), \
        int(peak[row, a] / 1024 + 0.5) "/" int(last[row, a] / 1024 + 0.5))
}

function is_among(row, patterns, sizes, touch,    f) {
    split(row, f, FS)
    return f[1] ~ patterns && f[2] ~ sizes && f[3] ~ touch
}

function spaced(row) {
    gsub(FS, " ", row)
    return row
}

# Geometric mean over rows of tidepool's median to that of `peer`, or of the better of two.
function compare(label, patterns, sizes, touch, peer, other, i, row, sum, c, r, base, worst, at) {
    for (i = 1; i <= row_count; i++) {
        row = rows[i]
        if (!is_among(row, patterns, sizes, touch)) continue
        base = med[row, peer]
        if (other && med[row, other] && (!base || med[row, other] < base)) base = med[row, other]
        if (!base || !med[row, "tidepool"]) continue
        r = med[row, "tidepool"] / base
        sum += log(r); c++
        if (r > worst) { worst = r; at = row }
    }
    if (c)
        printf "  %-45s %6.3f (x%.2f faster), worst of %d: %.2f %s\n", \
            label, exp(sum / c), exp(-sum / c), c, worst, spaced(at)
}

END {
    own = "tidepool" in column
    print "\nns an operation, highest peak/last RSS in MiB; " \
        "ratio: tidepool to the best of its peers, below 1 is faster"
    printf "%-10s %-8s %-17s", "pattern", "size", ""
    for (k = 1; k <= alloc_count; k++) printf " %15s", allocs[k]
    printf "  %-11s %s\n", "best", own ? "ratio" : ""
    for (i = 1; i <= row_count; i++) {
        row = rows[i]; split(row, f, FS)
        if (f[1] != previous) print ""
        previous = f[1]
        printf "%-10s %-8s %-17s", f[1], f[2], f[3]
        best = 0
        for (k = 1; k <= alloc_count; k++) {
            a = allocs[k]
            m = med[row, a] = median(row, a)
            printf " %15s", cell(row, a)
            if (is_peer(a) && m && (!best || m < best)) { best = m; name = a }
        }
        printf "  %-11s", best ? name : "-"
        if (med[row, "tidepool"] && best) {
            ratio[row] = med[row, "tidepool"] / best
            best_of[row] = name
            printf " %.2f", ratio[row]
        }
        print ""
    }
    if (own) summary()
    startup()
}

function is_peer(a) {
    return a ~ /^(glibc|jemalloc|jemalloc-1M|mimalloc|tcmalloc|scudo)$/
}

function summary(    main, large, small) {
    main = "^(pair|batch|rand)"
    large = "^([0-9]+[KM]|[0-9]+K-[0-9]+[KM]|mix)$"
    small = "^([0-9]+|smallmix)$"
    printf "\ntidepool's time to a peer's, geometric means (below 1 is faster)\n"
    compare("jemalloc, pair/batch/rand, 1K-1M", main, large, "", "jemalloc")
    compare("  untouched", main, large, "^untouched", "jemalloc")
    compare("  touched", main, large, "^touched", "jemalloc")
    compare("  after a history", main, large, "history$", "jemalloc")
    compare("jemalloc, pair/batch/rand, below 1K", main, small, "", "jemalloc")
    compare("  untouched", main, small, "^untouched", "jemalloc")
    compare("  touched", main, small, "^touched", "jemalloc")
    compare("jemalloc, over1000, 1K-1M", "^over", large, "", "jemalloc")
    compare("best of jemalloc and tcmalloc, pc, 1K-1M", "^pc", large, "", "jemalloc", "tcmalloc")
    compare("best of jemalloc and tcmalloc, pc, below 1K", "^pc", small, "", "jemalloc", "tcmalloc")
    compare("jemalloc, larson", "^larson", "", "", "jemalloc")
    compare("jemalloc, realloc", "^realloc", "", "", "jemalloc")
    compare("jemalloc, churn, fork, exec", "^(churn|fork|exec)", "", "", "jemalloc")

    if ("sampling" in column) {
        printf "\ntidepool's time to its own while it samples\n"
        compare("all rows", "", "", "", "sampling")
        compare("  1K-1M", main, large, "", "sampling")
        compare("  below 1K", main, small, "", "sampling")
    }
    against_best(main, large)
}

# The rows in which tidepool comes off worst, with the range of the repetitions on both sides.
function against_best(patterns, sizes,    i, k, row, top, count, over, over5) {
    for (i = 1; i <= row_count; i++) {
        row = rows[i]
        if (!(row in ratio) || !is_among(row, patterns, sizes, "")) continue
        left[row] = 1
        count++
        over += ratio[row] > 1
        over5 += ratio[row] > 1.05
    }
    if (!count) return
    printf "\ntidepool to the fastest peer, pair/batch/rand, 1K-1M: "
    printf "%d rows, %d above 1.00, %d above 1.05; the highest:\n", count, over, over5
    for (k = 1; k <= 8; k++) {
        top = ""
        for (row in left)
            if (top == "" || ratio[row] > ratio[top]) top = row
        if (top == "") break
        delete left[top]
        printf "  %.2f  %-26s %s, %s\n", ratio[top], spaced(top), \
            ranged(top, "tidepool"), ranged(top, best_of[top])
    }
}

function ranged(row, a) {
    return a " " number(med[row, a]) " (" number(low[row, a]) "-" number(high[row, a]) ")"
}

function startup(    k, a, w, c) {
    w = "startup" FS "wall" FS "-"; c = "startup" FS "user+sys" FS "-"
    if (!med[w, "glibc"]) return
    printf "\n/bin/true, us over glibc (wall, user+sys)\n"
    for (k = 1; k <= alloc_count; k++) {
        a = allocs[k]
        if (a != "glibc" && med[w, a])
            printf "  %-12s %7.0f %7.0f\n", a, (med[w, a] - med[w, "glibc"]) / 1000, \
                (med[c, a] - med[c, "glibc"]) / 1000
    }
}
