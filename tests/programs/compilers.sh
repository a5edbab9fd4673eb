# programs: gcc clang g++

# Hundreds of functions that call each other, and the sources of this tree.
big_source() {
    awk 'BEGIN {
        print "#include <stdint.h>\n#include <stdio.h>\n#include <string.h>"
        for (i = 0; i < 400; i++) {
            printf "static uint32_t f%d(uint32_t x, uint32_t *t)\n{\n", i
            for (j = 0; j < 6; j++)
                printf "    for (uint32_t i = 0; i < (x & %d); i++)\n        t[(x + i) & 255] ^= x * %du + (t[i & 255] >> %d);\n", 3 + j, 2654435761 % (i * 7 + j + 3) + 1, (i + j) % 13
            printf "    return %s ^ t[x & 255];\n}\n", i ? "f" int(i / 2) "(x >> 1, t)" : "x"
        }
        print "int main(void)\n{\n    uint32_t t[256] = {1}, sum = 0;"
        for (i = 0; i < 400; i += 3) printf "    sum += f%d(%du, t);\n", i, i * 77
        print "    printf(\"%u\\n\", sum);\n    return 0;\n}"
    }'
}

compile_c() {
    big_source >big.c
    under "$1" -std=c17 -O2 -g -c big.c -o big.o
    digest <big.o
    under "$1" -O1 big.o -o big
    under ./big
    for f in "$TREE"/tests/preload/*.c; do
        under "$1" -std=c17 -D_GNU_SOURCE -O2 -g -w -I"$TREE" -c "$f" -o t.o
        echo "$(basename "$f") $(digest <t.o)"
    done
    # Diagnostics are made of many small blocks.
    echo 'int main(void) { return undeclared + "text" * 3; }' >wrong.c
    under "$1" -fdiagnostics-color=never -c wrong.c 2>&1 && return 1
    return 0
}

prog_gcc() {
    need gcc awk
    compile_c gcc
    under gcc -std=gnu17 -O2 -flto=2 -w big.c -o lto
    under ./lto
}

prog_clang() {
    need clang awk
    compile_c clang
}

prog_g__() {
    need g++
    cat >t.cc <<'S'
#include <bits/stdc++.h>
template <int N> struct tower { using type = std::map<int, typename tower<N - 1>::type>; };
template <> struct tower<0> { using type = std::vector<std::string>; };
int main()
{
    tower<12>::type deep;
    std::regex words("([a-z]+)-([0-9]+)");
    std::map<std::string, std::vector<std::string>> found;
    for (int i = 0; i < 3000; i++) {
        std::string s = "abc" + std::string(i % 90, 'x') + "-" + std::to_string(i * 31);
        std::smatch m;
        if (std::regex_match(s, m, words)) found[m[1]].push_back(m[2]);
    }
    std::vector<std::future<std::size_t>> sums;
    for (int t = 0; t < 4; t++)
        sums.push_back(std::async(std::launch::async, [t] {
            std::size_t n = 0;
            for (int i = 0; i < 3000; i++) n += std::vector<int>((i * 37 + t) % 200000, 1).size();
            return n;
        }));
    for (auto &s : sums) std::cout << s.get() << '\n';
    for (auto &[k, v] : found) std::cout << k.size() << ' ' << v.size() << ' ' << v.back() << '\n';
    try { std::vector<int>().at(1); } catch (const std::exception &e) { std::cout << e.what() << '\n'; }
}
S
    under g++ -std=c++17 -O2 -g -pthread t.cc -o t
    digest <t
    under ./t
}
