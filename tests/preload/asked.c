// A program that does as it is told, a word a line on its standard input, and says so: what tools
// ask of a process is asked of this one (control.py).

#include "tests/preload/victim.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { BLOCKS = 48, FIRST = 3, LAST = 700, LARGE = 96 * MIB };

// What is kept for good is growth again the next time, and in a child.
static void grow(void)
{
    static void *kept;
    for (size_t i = 0; i < BLOCKS; i++) {
        void **block = malloc(MIB);
        memset(block, 1, MIB);
        *block = kept;
        kept = block;
    }
}

// One block, larger than any of the pools'.
static void large(void)
{
    static void *volatile kept;
    kept = malloc(LARGE);
    memset(kept, 1, LARGE);
}

// All descriptors, as daemons do.
static void close_all(void)
{
    for (int fd = FIRST; fd <= LAST; fd++)
        close(fd);
}

// All of them, and then each number is a file of ours.
static void take_all(void)
{
    int file = open("/dev/null", O_RDWR);
    for (int fd = FIRST; fd <= LAST; fd++)
        if (fd != file)
            dup2(file, fd);
}

static void check_all(void)
{
    struct stat null, other;
    CHECK(stat("/dev/null", &null) == 0, "stat");
    for (int fd = FIRST; fd <= LAST; fd++)
        CHECK(fstat(fd, &other) == 0 && other.st_rdev == null.st_rdev, "%d was closed", fd);
}

// In hexadecimal, because names may be anything.
static void rename_to(const char *hex)
{
    char name[16] = "";
    for (unsigned i = 0, byte; i < 15 && sscanf(hex + 2 * (size_t)i, "%2x", &byte) == 1; i++)
        name[i] = (char)byte;
    prctl(PR_SET_NAME, name);
}

static bool obey(const char *word)
{
    if (strcmp(word, "grow") == 0)
        grow();
    else if (strcmp(word, "large") == 0)
        large();
    else if (strcmp(word, "close") == 0)
        close_all();
    else if (strcmp(word, "take") == 0)
        take_all();
    else if (strcmp(word, "check") == 0)
        check_all();
    else if (strcmp(word, "hush") == 0)
        close(STDERR_FILENO);
    else if (strncmp(word, "name ", 5) == 0)
        rename_to(word + 5);
    else if (strcmp(word, "fork") == 0)
        return fork() == 0 || wait(NULL) > 0; // the child goes on with the input
    else if (strcmp(word, "sleep") == 0)
        execlp("sleep", "sleep", "60", NULL);
    else
        return false;
    return true;
}

int main(void)
{
    char line[64];
    setvbuf(stdin, NULL, _IONBF, 0);
    do {
        printf("%d\n", (int)getpid());
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin))
            return 0;
        line[strcspn(line, "\n")] = '\0';
    } while (obey(line));
    return 1;
}
