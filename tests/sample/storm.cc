// storm SECONDS PLUGIN.so - all that is hard for a sampler, at once, in eight threads and their
// guests: blocks of all sizes handed around, exceptions through sampled frames, a library loaded
// and unloaded, signals, fork, short threads whose keys' destructors allocate, small stacks.
//
// Every block carries a seed that is checked when it is freed. What hangs is ended by alarm(2), in a
// child as well, with status 142. At the end nothing is held. STORM_NO_CALLBACK leaves out
// dl_iterate_phdr() with a callback that takes a lock.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

namespace
{
std::atomic<bool> over{false};
std::atomic<unsigned> shared_seed{1};
const char *plugin;

[[noreturn]] void broken(const char *what)
{
    std::fprintf(stderr, "storm: %s\n", what);
    std::_Exit(1);
}

struct Dice {
    unsigned state = shared_seed++ * 2654435761u;

    unsigned roll(unsigned n)
    {
        state = state * 1103515245 + 12345;
        return (state >> 8) % n;
    }
    // 8 bytes to some MiB, small ones most often.
    std::size_t size()
    {
        return 8 + roll(1u << (3 + roll(19)));
    }
};

struct Block {
    unsigned *at = nullptr;
    unsigned seed = 0;
    std::size_t size = 0;
};

void fill(Block &b, std::size_t size, void *at, unsigned seed)
{
    if (!at || malloc_usable_size(at) < size)
        broken("no block, or a short one");
    b = {static_cast<unsigned *>(at), seed, size};
    b.at[0] = seed;
    b.at[size / sizeof(unsigned) - 1] = seed;
}

void check(const Block &b)
{
    if (b.at && (b.at[b.size / sizeof(unsigned) - 1] != b.seed ||
                 (b.size >= 8 && b.at[0] != b.seed)))
        broken("a block was overwritten");
}

void take(Block &b, Dice &dice)
{
    std::size_t size = dice.size();
    void *at;

    switch (dice.roll(6)) {
    case 0:
        at = std::calloc(1, size);
        break;
    case 1:
        if (posix_memalign(&at, 16u << dice.roll(9), size) != 0)
            broken("posix_memalign");
        break;
    case 2:
        at = std::realloc(std::malloc(dice.size()), size);
        break;
    default:
        at = std::malloc(size);
    }
    fill(b, size, at, dice.state);
}

// Blocks go from thread to thread.
std::mutex exchange;
Block pot[256];

__attribute__((noinline)) void trade(Dice &dice)
{
    Block mine;
    take(mine, dice);
    {
        std::lock_guard<std::mutex> hold(exchange);
        std::swap(mine, pot[dice.roll(256)]);
    }
    check(mine);
    std::free(mine.at);
}

__attribute__((noinline)) void throw_from(Dice &dice, int depth)
{
    std::string on_the_way(dice.roll(5000) + 1, 'x');
    auto array = std::make_unique<char[]>(dice.size());

    array[0] = 1;
    if (depth)
        throw_from(dice, depth - 1);
    throw std::runtime_error(on_the_way);
}

void load_and_unload(Dice &dice)
{
    void *library = dlopen(plugin, dice.roll(2) ? RTLD_NOW : RTLD_LAZY);
    if (!library)
        broken(dlerror());
    auto work = reinterpret_cast<void (*)(int, std::size_t)>(dlsym(library, "plugin_work"));
    for (int i = 0; i < 20; i++)
        work(static_cast<int>(dice.roll(20)), dice.size());
    dlclose(library);
}

// Takes a lock of the program's under a lock of the loader's, and others allocate with it held.
std::mutex inner;

int on_object(dl_phdr_info *, std::size_t, void *)
{
    std::lock_guard<std::mutex> hold(inner);
    std::free(std::malloc(3000));
    return 0;
}

void allocate_inside(Dice &dice)
{
    std::lock_guard<std::mutex> hold(inner);
    std::free(std::malloc(dice.size()));
}

pthread_key_t key;

void at_thread_end(void *block)
{
    Dice dice;
    std::free(block);
    for (int i = 0; i < 50; i++)
        std::free(std::malloc(dice.size()));
    if (dice.roll(3) == 0)
        pthread_setspecific(key, std::malloc(100)); // once more
}

void *short_life(void *)
{
    Dice dice;
    pthread_setspecific(key, std::malloc(dice.size()));
    for (int i = 0; i < 30; i++)
        trade(dice);
    return nullptr;
}

void start_short_thread(bool small_stack)
{
    pthread_attr_t attr;
    pthread_t t;
    pthread_attr_init(&attr);
    if (small_stack)
        pthread_attr_setstacksize(&attr, 64 << 10);
    if (pthread_create(&t, &attr, short_life, nullptr) == 0)
        pthread_join(t, nullptr);
    pthread_attr_destroy(&attr);
}

void fork_and_work(Dice &dice)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        alarm(30);
        for (int i = 0; i < 200; i++)
            std::free(std::malloc(dice.size()));
        try {
            throw_from(dice, 5);
        } catch (const std::exception &) {
        }
        if (dice.roll(4) == 0)
            execl("/bin/true", "true", nullptr);
        _exit(0);
    }
    if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != 0))
        broken(WIFSIGNALED(status) ? "a child was ended by a signal" : "a child failed");
}

// On a stack of its own, as a coroutine would be.
ucontext_t home, away;

void on_other_stack()
{
    Dice dice;
    for (int i = 0; i < 200; i++)
        std::free(std::malloc(dice.size()));
}

std::mutex one_coroutine;

void switch_stacks()
{
    static char stack[64 << 10];
    std::lock_guard<std::mutex> hold(one_coroutine);
    getcontext(&away);
    away.uc_stack.ss_sp = stack;
    away.uc_stack.ss_size = sizeof stack;
    away.uc_link = &home;
    makecontext(&away, on_other_stack, 0);
    swapcontext(&home, &away);
}

// Between requests a handler may allocate; within one it may do so no more than anywhere.
thread_local volatile sig_atomic_t between;
std::atomic<unsigned long> signals{0};

void on_signal(int)
{
    signals++;
    if (between)
        std::free(std::malloc(20000));
}

void idle_between()
{
    between = 1;
    for (volatile int i = 0; i < 2000; i = i + 1)
        ;
    between = 0;
}

void work(unsigned thread)
{
    Dice dice;
    while (!over) {
        for (int i = 0; i < 100; i++)
            trade(dice);
        idle_between();
        try {
            throw_from(dice, static_cast<int>(dice.roll(30)));
        } catch (const std::exception &) {
        }
        allocate_inside(dice);
        switch (thread) {
        case 0:
        case 1:
            load_and_unload(dice);
            break;
        case 2:
            if (!std::getenv("STORM_NO_CALLBACK"))
                dl_iterate_phdr(on_object, nullptr);
            break;
        case 3:
            start_short_thread(dice.roll(2));
            break;
        case 4:
            fork_and_work(dice);
            break;
        case 5:
            switch_stacks();
            break;
        case 6:
            if (dice.roll(50) == 0)
                malloc_trim(0);
            break;
        }
    }
}
} // namespace

int main(int argc, char **argv)
{
    unsigned seconds = argc > 2 ? static_cast<unsigned>(std::atoi(argv[1])) : 0;
    std::vector<std::thread> threads;
    struct sigaction act = {};

    if (!seconds)
        broken("usage: storm SECONDS PLUGIN.so");
    plugin = argv[2];
    alarm(seconds + 60);
    pthread_key_create(&key, at_thread_end);
    act.sa_handler = on_signal;
    act.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &act, nullptr);
    for (unsigned i = 0; i < 8; i++)
        threads.emplace_back(work, i);
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (std::chrono::steady_clock::now() < end) {
        for (auto &t : threads)
            pthread_kill(t.native_handle(), SIGUSR1);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    over = true;
    for (auto &t : threads)
        t.join();
    for (auto &b : pot) {
        check(b);
        std::free(b.at);
    }
    std::printf("%lu signals\n", signals.load());
    return 0;
}
