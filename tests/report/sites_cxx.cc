// The same five as sites.c, each behind another part of the C++ library.

#include <cstdio>
#include <malloc.h>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace store
{

constexpr std::size_t MIB = std::size_t(1) << 20;
// Room for objects whose destructors never run.
alignas(16) static char room[8 * MIB];
static std::size_t used;

// A macro, because an inlined function would be the call site.
#define KEEP(T, ...) (*new (room + (used += sizeof(T)) - sizeof(T)) T(__VA_ARGS__))

static void say(const char *name, std::size_t asked, std::size_t held)
{
    std::printf("%s %zu %zu\n", name, asked, held);
}

template <class T> [[gnu::noinline]] void holds_10(std::size_t n)
{
    std::size_t held = 0;
    for (std::size_t i = 0; i < 10 * MIB / n; i++)
        held += malloc_usable_size(&KEEP(T, n - 1, 'x')[0]);
    say("holds_10", 10 * MIB / n * n, held);
}

struct Cache {
    [[gnu::noinline]] void holds_20(std::size_t n)
    {
        std::size_t held = 0;
        for (std::size_t i = 0; i < 20 * MIB / n; i++)
            held += malloc_usable_size(KEEP(char *, new char[n]));
        say("holds_20", 20 * MIB / n * n, held);
    }
};

namespace
{
[[gnu::noinline]] void holds_30(std::size_t n)
{
    std::size_t held = 0;
    for (std::size_t i = 0; i < 30 * MIB / n; i++)
        held += malloc_usable_size(KEEP(std::vector<char>, n).data());
    say("holds_30", 30 * MIB / n * n, held);
}
} // namespace

[[gnu::noinline]] void holds_40(const std::vector<std::size_t> &sizes)
{
    std::size_t held = 0;
    for (std::size_t i = 0; i < 40 * MIB / sizes[0]; i++)
        held += malloc_usable_size(
            KEEP(std::unique_ptr<char[]>, std::make_unique<char[]>(sizes[0])).get());
    say("holds_40", 40 * MIB / sizes[0] * sizes[0], held);
}

struct Big {
    char bytes[2 * MIB];
    [[gnu::noinline]] static Big *holds_100()
    {
        std::size_t held = 0;
        Big *last = nullptr;
        for (std::size_t i = 0; i < 100 * MIB / sizeof(Big); i++)
            held += malloc_usable_size(last = KEEP(Big *, new Big));
        say("holds_100", 100 * MIB, held);
        return last;
    }
};

} // namespace store

int main()
{
    store::Cache cache;
    store::holds_40({400000});
    store::holds_10<std::string>(100);
    store::Big::holds_100();
    store::holds_30(50000);
    cache.holds_20(3000);
    return std::fflush(stdout) != 0;
}
