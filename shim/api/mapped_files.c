// mapped_files - the tidepool_mfile_ functions of tidepool.h.
#define TIDEPOOL_API __attribute__((visibility("default")))
#include "shim/api/tidepool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mfile/calls.h"
#include "mfile/mfile.h"
#include "mfile/range.h"
#include "pressure/watchdog_thread.h"
#include "shim/base.h"

static int result(int error)
{
    if (!error)
        return 0;
    errno = -error;
    return -1;
}

static uint64_t number(const void *address)
{
    return (uint64_t)(uintptr_t)address;
}

// How much of the file to map; grows a new one to what was asked for. 0 or -errno.
static int settle_length(int fd, size_t *length, unsigned flags)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if ((flags & TIDEPOOL_MFILE_CREATE) && *length > (uint64_t)st.st_size &&
        ftruncate(fd, (off_t)*length) != 0)
        return -errno;
    if (!*length)
        *length = (size_t)st.st_size;
    return *length ? 0 : -EINVAL;
}

void *tidepool_mfile_map(const char *path, size_t *length, unsigned flags)
{
    bool write = flags & TIDEPOOL_MFILE_WRITE, private = flags & TIDEPOOL_MFILE_PRIVATE;
    int mode = write && !private ? O_RDWR : O_RDONLY;
    size_t bytes = length ? *length : 0;

    if (flags & ~(TIDEPOOL_MFILE_WRITE | TIDEPOOL_MFILE_PRIVATE | TIDEPOOL_MFILE_CREATE))
        return errno = EINVAL, NULL;
    if (flags & TIDEPOOL_MFILE_CREATE) {
        if (mode != O_RDWR || !bytes)
            return errno = EINVAL, NULL;
        mode |= O_CREAT;
    }
    // A FIFO must not hold us up; files do not know O_NONBLOCK.
    int fd = open(path, mode | O_CLOEXEC | O_NONBLOCK, 0666);
    if (fd < 0)
        return NULL;
    void *at = MAP_FAILED;
    int error = settle_length(fd, &bytes, flags);
    if (!error) {
        at = calls_mmap(NULL, bytes, write ? PROT_READ | PROT_WRITE : PROT_READ,
                        private ? MAP_PRIVATE : MAP_SHARED, fd, 0);
        error = at == MAP_FAILED ? -errno : 0;
    }
    close(fd);
    if (error)
        return errno = -error, NULL;
    if (length)
        *length = bytes;
    return at;
}

int tidepool_mfile_close(void *address, size_t length)
{
    return calls_munmap(address, length);
}

int tidepool_mfile_advise(void *address, size_t length, enum tidepool_mfile_advice advice)
{
    static const enum advice numbers[] = {
        [TIDEPOOL_MFILE_NORMAL] = ADVICE_NORMAL,
        [TIDEPOOL_MFILE_SEQUENTIAL] = ADVICE_SEQUENTIAL,
        [TIDEPOOL_MFILE_RANDOM] = ADVICE_RANDOM,
        [TIDEPOOL_MFILE_POPULATE] = ADVICE_POPULATE,
        [TIDEPOOL_MFILE_HUGEPAGE] = ADVICE_HUGEPAGE,
        [TIDEPOOL_MFILE_NOHUGEPAGE] = ADVICE_NOHUGEPAGE,
        [TIDEPOOL_MFILE_MERGEABLE] = ADVICE_MERGEABLE,
        [TIDEPOOL_MFILE_UNMERGEABLE] = ADVICE_UNMERGEABLE,
        [TIDEPOOL_MFILE_COLD] = ADVICE_COLD,
        [TIDEPOOL_MFILE_PAGEOUT] = ADVICE_PAGEOUT,
        [TIDEPOOL_MFILE_DONTDUMP] = ADVICE_DONTDUMP,
        [TIDEPOOL_MFILE_DODUMP] = ADVICE_DODUMP,
    };

    static_assert(array_len(numbers) == TIDEPOOL_MFILE_LAZYFREE, "the last two are ours alone");
    if (advice == TIDEPOOL_MFILE_LAZYFREE || advice == TIDEPOOL_MFILE_KEEP) {
        bool lazy = advice == TIDEPOOL_MFILE_LAZYFREE;
        int error = range_opt(number(address), length, lazy);
        if (!error && lazy)
            watchdog_thread_start();
        return result(error);
    }
    if ((unsigned)advice >= array_len(numbers))
        return result(-EINVAL);
    return result(range_advise(numbers[advice], number(address), length));
}

int64_t tidepool_mfile_free_lazy(void *address, size_t length)
{
    uint64_t bytes;
    int error = range_free_lazy(number(address), length, &bytes);

    return error ? result(error) : (int64_t)bytes;
}

int tidepool_mfile_prefetch(const void *address, size_t length)
{
    mfile_start_worker();
    return result(range_prefetch(number(address), length));
}

int tidepool_mfile_remove(void *address, size_t length)
{
    return result(range_remove(number(address), length));
}
