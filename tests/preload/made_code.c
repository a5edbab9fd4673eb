// Allocates below code that was made at run time, and that leaves anything in the frame pointer:
// what walks the stack (TIDEPOOL_SAMPLE) must not follow that off the stack.
//
//   made_code          each bad frame pointer in turn
//   made_code keeps    a proper one: the blocks stay, for a profile at the exit

#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "victim.h"

enum { PAGE = 4096, STACK_BYTES = 64 * PAGE, BLOCKS = 500, KEPT = 400, KEPT_BYTES = 50000 };

typedef void made(void (*callee)(void), uintptr_t fp);

#ifdef __x86_64__
static const unsigned char keeps_fp[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
static const unsigned char sets_fp[] = {0x55, 0x48, 0x89, 0xf5, 0xff, 0xd7, 0x5d, 0xc3};
#else
static const uint32_t keeps_fp[] = {0xa9bf7bfd, 0x910003fd, 0xd63f0000, 0xa8c17bfd, 0xd65f03c0};
static const uint32_t sets_fp[] = {0xa9bf7bfd, 0xaa0103fd, 0xd63f0000, 0xa8c17bfd, 0xd65f03c0};
#endif

static made *make(const void *code, size_t size)
{
    void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(at != MAP_FAILED, "mmap");
    memcpy(at, code, size);
    CHECK(mprotect(at, PAGE, PROT_READ | PROT_EXEC) == 0, "mprotect");
    __builtin___clear_cache((char *)at, (char *)at + PAGE);
    return (made *)(uintptr_t)at;
}

static void takes_and_gives(void)
{
    static char *kept[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++)
        kept[i] = malloc(3000);
    for (size_t i = 0; i < BLOCKS; i++)
        free(kept[i]);
}

static void *kept[KEPT];

static __attribute__((noinline)) void keeps_blocks(void)
{
    for (size_t i = 0; i < KEPT; i++)
        kept[i] = malloc(KEPT_BYTES);
}

static __attribute__((noinline)) int below_made_code(void)
{
    make(keeps_fp, sizeof keeps_fp)(keeps_blocks, 0);
    return kept[KEPT - 1] ? 0 : 1;
}

static ucontext_t here, there;
static char *stack; // with a page behind it that cannot be read

static void each_pointer(void)
{
    made *code = make(sets_fp, sizeof sets_fp);
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0), end = (uintptr_t)stack + STACK_BYTES;
    const uintptr_t bad[] = {
        0,
        1,
        8,
        sp - 4096,
        sp + 1,
        sp - 16,
        end - 16,
        end,
        end - 8,
        end + 8,
        end + PAGE,
        end - 4096,
        sp + 4096,
        (uintptr_t)stack,
        UINTPTR_MAX,
        UINTPTR_MAX - 7,
        UINTPTR_MAX - 15,
        (uintptr_t)1 << 47,
        (uintptr_t)1 << 63,
    };
    // Frames that lead to themselves, below themselves, and behind the end.
    uintptr_t loop[6] = {
        (uintptr_t)loop, (uintptr_t)code + 6, sp - 64, (uintptr_t)code + 6, end, 1};

    for (size_t i = 0; i < COUNT(bad); i++)
        code(takes_and_gives, bad[i]);
    for (size_t i = 0; i < COUNT(loop); i += 2)
        code(takes_and_gives, (uintptr_t)&loop[i]);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "keeps") == 0)
        return below_made_code();
    stack =
        mmap(NULL, STACK_BYTES + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED, "mmap");
    CHECK(mprotect(stack + STACK_BYTES, PAGE, PROT_NONE) == 0, "mprotect");
    CHECK(getcontext(&there) == 0, "getcontext");
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = STACK_BYTES;
    there.uc_link = &here;
    makecontext(&there, each_pointer, 0);
    CHECK(swapcontext(&here, &there) == 0, "swapcontext");
    return 0;
}
