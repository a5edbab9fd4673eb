# report - the table and the summary from the lines that run.sh wrote:
#   pattern  size  touch  allocator  repetition  ns
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
    else value[row, $4, ++n[row, $4]] = $6 + 0
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

# Geometric mean over rows of tidepool's median to that of `peer` (or the best of two).
function compare(label, patterns, sizes, touch, peer, other,    i, f, sum, c, r, base, worst, at) {
    for (i = 1; i <= row_count; i++) {
        split(rows[i], f, FS)
        if (f[1] !~ patterns || f[2] !~ sizes || f[3] !~ touch || !med[rows[i], "tidepool"]) continue
        base = med[rows[i], peer]
        if (other && med[rows[i], other] && (!base || med[rows[i], other] < base)) base = med[rows[i], other]
        if (!base) continue
        r = med[rows[i], "tidepool"] / base
        sum += log(r); c++
        if (r > worst) { worst = r; at = f[1] " " f[2] " " f[3] }
    }
    if (c) printf "  %-52s %6.3f  (x%.2f faster), worst %.2f: %s; %d rows\n", label, exp(sum / c), exp(-sum / c), worst, at, c
}

END {
    own = "tidepool" in column
    printf "\nns an operation; best: the fastest peer; ratio: tidepool to the best, below 1 is faster\n"
    printf "%-10s %-8s %-9s", "pattern", "size", ""
    for (k = 1; k <= alloc_count; k++) printf " %11s", allocs[k]
    printf "  %-11s %s\n", "best", own ? "ratio" : ""
    for (i = 1; i <= row_count; i++) {
        row = rows[i]; split(row, f, FS)
        if (f[1] != previous) print ""
        previous = f[1]
        printf "%-10s %-8s %-9s", f[1], f[2], f[3]
        best = 0
        for (k = 1; k <= alloc_count; k++) {
            a = allocs[k]
            m = med[row, a] = median(row, a)
            printf " %11s", (row, a) in broken ? "FAILED" : number(m)
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

function summary(    i, k, row, f, main, over, over5, top, t, done) {
    main = "^(pair|batch|rand)"
    large = "^([0-9]+[KM]|mix)$"
    small = "^([0-9]+|smallmix)$"
    printf "\ntidepool's time to a peer's, geometric means (below 1 is faster)\n"
    compare("jemalloc, pair/batch/rand, 1K-1M", main, large, "", "jemalloc")
    compare("  untouched", main, large, "^untouched", "jemalloc")
    compare("  touched", main, large, "^touched", "jemalloc")
    compare("jemalloc, pair/batch/rand, below 1K", main, small, "", "jemalloc")
    compare("  untouched", main, small, "^untouched", "jemalloc")
    compare("  touched", main, small, "^touched", "jemalloc")
    compare("best of jemalloc and tcmalloc, pc, 1K-1M", "^pc", large, "", "jemalloc", "tcmalloc")
    compare("best of jemalloc and tcmalloc, pc, below 1K", "^pc", small, "", "jemalloc", "tcmalloc")
    compare("jemalloc, realloc", "^realloc", "", "", "jemalloc")
    compare("jemalloc, churn, fork, exec", "^(churn|fork|exec)", "", "", "jemalloc")

    for (i = 1; i <= row_count; i++) {
        split(rows[i], f, FS)
        if (f[1] ~ main && f[2] ~ large && rows[i] in ratio) {
            done++
            if (ratio[rows[i]] > 1) over++
            if (ratio[rows[i]] > 1.05) over5++
        }
    }
    if (!done) return
    printf "\nagainst the fastest peer of each row, pair/batch/rand, 1K-1M: %d rows, %d above 1.00, %d above 1.05; the highest\n", done, over, over5
    for (k = 1; k <= 8; k++) {
        top = ""
        for (i = 1; i <= row_count; i++) {
            row = rows[i]; split(row, f, FS)
            if (f[1] ~ main && f[2] ~ large && row in ratio && !(row in shown) && (top == "" || ratio[row] > ratio[top])) top = row
        }
        if (top == "") break
        shown[top] = 1
        t = top; gsub(FS, " ", t)
        printf "  %.2f  %-28s tidepool %s (%s-%s), %s %s (%s-%s)\n", ratio[top], t, number(med[top, "tidepool"]), \
            number(low[top, "tidepool"]), number(high[top, "tidepool"]), best_of[top], number(med[top, best_of[top]]), \
            number(low[top, best_of[top]]), number(high[top, best_of[top]])
    }
}

function startup(    k, a, w, c) {
    w = "startup" FS "wall" FS "-"; c = "startup" FS "user+sys" FS "-"
    if (!med[w, "glibc"]) return
    printf "\n/bin/true, us over glibc (wall, user+sys)\n"
    for (k = 1; k <= alloc_count; k++) {
        a = allocs[k]
        if (a != "glibc" && med[w, a])
            printf "  %-12s %7.0f %7.0f\n", a, (med[w, a] - med[w, "glibc"]) / 1000, (med[c, a] - med[c, "glibc"]) / 1000
    }
}
