// sites_cxx - sites.c in C++: operator new in its forms, containers, templates, and exceptions that
// pass through sampled frames. Nothing that is kept is destroyed: a profile at exit comes later.
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "walker.h"

namespace store
{
constexpr std::size_t MiB = 1 << 20;

template <typename T> auto &never_destroyed()
{
    static auto &all = *new std::vector<T>;
    return all;
}

template <typename T> struct Keeper {
    __attribute__((noinline)) static void hold_10_small(std::size_t bytes)
    {
        never_destroyed<std::unique_ptr<T[]>>().push_back(std::make_unique<T[]>(bytes / sizeof(T)));
    }
    __attribute__((noinline)) static void hold_30_arrays(std::size_t bytes)
    {
        never_destroyed<T *>().push_back(new T[bytes / sizeof(T)]);
    }
};

class Cache
{
  public:
    struct alignas(4096) Page {
        char bytes[4096];
    };

    __attribute__((noinline)) void hold_20_strings(std::size_t size)
    {
        never_destroyed<std::string>().emplace_back(size, 'x');
    }
    __attribute__((noinline)) void hold_40_aligned(std::size_t size)
    {
        never_destroyed<Page *>().push_back(new Page[size / sizeof(Page)]);
    }
    __attribute__((noinline)) void hold_100_large(std::size_t size)
    {
        never_destroyed<void *>().push_back(::operator new(size, std::nothrow));
    }
};

__attribute__((noinline)) void refuse(std::size_t size)
{
    auto scratch = std::make_unique<char[]>(size);
    throw std::runtime_error(std::string(size, scratch[size / 2] ? 'a' : 'b'));
}
} // namespace store

int main()
{
    walker_wait();
    using namespace store;
    static Cache cache;
    auto fill = [](std::size_t bytes, std::size_t size, auto add) {
        for (std::size_t got = 0; got < bytes; got += size)
            add(size);
    };

    never_destroyed<std::unique_ptr<char[]>>().reserve(200000); // 1.6 MiB, held by main()
    fill(10 * MiB, 100, Keeper<char>::hold_10_small);
    fill(20 * MiB, 3000, [](std::size_t size) { cache.hold_20_strings(size); });
    fill(30 * MiB, 40000, Keeper<double>::hold_30_arrays);
    fill(40 * MiB, 65536, [](std::size_t size) { cache.hold_40_aligned(size); });
    fill(100 * MiB, 2 * MiB, [](std::size_t size) { cache.hold_100_large(size); });
    for (int i = 0; i < 1000; i++)
        try {
            refuse(50000);
        } catch (const std::exception &) {
        }
    std::puts("done");
    return 0;
}
