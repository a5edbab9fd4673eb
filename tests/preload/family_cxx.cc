// Every form of new and delete, what a refusal throws, what a new handler may do, and objects that
// live in pooled blocks while exceptions fly.

#include "tests/preload/victim.h"

#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// The request travels through here, so that the compiler keeps it.
static volatile std::size_t too_much = PTRDIFF_MAX - 4096;

static void every_form(std::size_t n)
{
    std::align_val_t page{4096}, line{64};
    void *p[] = {
        ::operator new(n),
        ::operator new(n),
        ::operator new[](n),
        ::operator new[](n),
        ::operator new(n, std::nothrow),
        ::operator new[](n, std::nothrow),
        ::operator new(n, page),
        ::operator new(n, page),
        ::operator new[](n, line),
        ::operator new[](n, line),
        ::operator new(n, page, std::nothrow),
        ::operator new[](n, line, std::nothrow),
    };
    for (std::size_t i = 0; i < COUNT(p); i++) {
        CHECK(p[i], "form %zu of %zu", i, n);
        std::size_t align = i < 6 ? (n > 8 ? 16 : 8) : (i < 8 || i == 10) ? 4096 : 64;
        CHECK((std::uintptr_t)p[i] % align == 0, "form %zu of %zu: %p", i, n, p[i]);
        victim_fill(p[i], n, n + i);
    }
    for (std::size_t i = 0; i < COUNT(p); i++)
        CHECK(victim_intact(p[i], n, n, n + i), "form %zu of %zu", i, n);
    ::operator delete(p[0]);
    ::operator delete(p[1], n);
    ::operator delete[](p[2]);
    ::operator delete[](p[3], n);
    ::operator delete(p[4], std::nothrow);
    ::operator delete[](p[5], std::nothrow);
    ::operator delete(p[6], page);
    ::operator delete(p[7], n, page);
    ::operator delete[](p[8], line);
    ::operator delete[](p[9], n, line);
    ::operator delete(p[10], page, std::nothrow);
    ::operator delete[](p[11], line, std::nothrow);
}

// C and C++ share the heap.
static void mixed(std::size_t n)
{
    free(::operator new(n));
    ::operator delete(malloc(n));
    void *p = realloc(::operator new[](n), 2 * n);
    ::operator delete[](p);
}

static void null_may_be_deleted()
{
    ::operator delete(nullptr);
    ::operator delete (nullptr, std::size_t{5000});
    ::operator delete[](nullptr);
    ::operator delete (nullptr, std::align_val_t{64});
}

template <typename F> static bool throws_bad_alloc(F f)
{
    try {
        f();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

static void refusals()
{
    std::align_val_t page{4096};
    CHECK(throws_bad_alloc([] { ::operator delete(::operator new(too_much)); }), "new");
    CHECK(throws_bad_alloc([] { ::operator delete[](::operator new[](too_much)); }), "new[]");
    CHECK(throws_bad_alloc([&] { ::operator delete(::operator new(too_much, page), page); }),
          "aligned new");
    CHECK(throws_bad_alloc([&] { ::operator delete[](::operator new[](too_much, page), page); }),
          "aligned new[]");
    CHECK(!::operator new(too_much, std::nothrow), "nothrow new");
    CHECK(!::operator new[](too_much, std::nothrow), "nothrow new[]");
    CHECK(!::operator new(too_much, page, std::nothrow), "nothrow aligned new");
    CHECK(!::operator new[](too_much, page, std::nothrow), "nothrow aligned new[]");
}

static int handler_calls;

// Called until it makes room or gives up by taking itself away.
static void handler_gives_up_at_third_call()
{
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
    std::unique_ptr<char[]> room(new char[20000]);
    room[0] = 1;
}

struct own_error : std::bad_alloc {
    std::string text = std::string(5000, 'x');
};

static void handler_throws()
{
    throw own_error();
}

static void new_handlers()
{
    std::set_new_handler(handler_gives_up_at_third_call);
    CHECK(throws_bad_alloc([] { ::operator delete(::operator new(too_much)); }), "new");
    CHECK(handler_calls == 3, "handler ran %d times", handler_calls);

    handler_calls = 0;
    std::set_new_handler(handler_gives_up_at_third_call);
    CHECK(!::operator new[](too_much, std::align_val_t{64}, std::nothrow), "nothrow");
    CHECK(handler_calls == 3, "handler ran %d times", handler_calls);

    std::set_new_handler(handler_throws);
    bool caught = false;
    try {
        ::operator delete(::operator new(too_much));
    } catch (const own_error &e) {
        caught = e.text.size() == 5000;
    }
    CHECK(caught, "the handler's own exception");
    // nothrow swallows what the handler throws.
    CHECK(!::operator new(too_much, std::nothrow), "nothrow");
    std::set_new_handler(nullptr);
}

struct alignas(4096) page {
    char bytes[8192];
};

// Objects of every age die while an exception unwinds.
static void unwinding(int depth)
{
    std::vector<std::unique_ptr<page>> pages;
    std::string text(std::size_t(1000) << (depth % 8), 'a');
    pages.push_back(std::make_unique<page>());
    pages.back()->bytes[8191] = char(depth);
    CHECK((std::uintptr_t)pages.back().get() % 4096 == 0, "aligned class");
    if (depth == 40)
        throw std::runtime_error(text);
    unwinding(depth + 1);
}

static thread_local std::vector<std::string> per_thread;

static void threads_with_destructors()
{
    std::vector<std::thread> threads;
    for (int t = 0; t < 32; t++)
        threads.emplace_back([t] {
            for (int i = 0; i < 200; i++)
                per_thread.emplace_back(std::size_t(500) << (i % 10), char('a' + t % 26));
        });
    for (auto &t : threads)
        t.join();
}

int main()
{
    for (std::size_t n : victim_sizes) {
        every_form(n);
        mixed(n);
    }
    null_may_be_deleted();
    refusals();
    new_handlers();
    for (int i = 0; i < 200; i++) {
        try {
            unwinding(0);
            CHECK(false, "nothing was thrown");
        } catch (const std::runtime_error &) {
        }
    }
    threads_with_destructors();
    return 0;
}
