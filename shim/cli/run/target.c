// target - can the preload work in that program?
//
// The loader says nothing where LD_PRELOAD has no effect (static programs, set-uid ones), and where
// it cannot work it says so from inside the program. Both are found here, before anything runs;
// scripts are followed to their interpreter. What cannot be read is left to exec.

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shim/cli/common/cli.h"

enum {
    HEAD_MAX = 4096,
    SCRIPT_LINE_MAX = 255, // what the kernel reads of a script's first line
    DEPTH_MAX = 5,         // as the kernel: a script whose interpreter is a script, and so on
};

// This program's own header, which the linker provides: what it is, a preloaded program must be.
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static int inspect(const char *shown, const char *path, unsigned depth);

// The loader this program itself was started by.
static const char *own_loader(void)
{
    const char *base = (const char *)&__ehdr_start;
    const ElfW(Phdr) *segment = (const ElfW(Phdr) *)(const void *)(base + __ehdr_start.e_phoff);
    for (unsigned i = 0; i < __ehdr_start.e_phnum; i++)
        if (segment[i].p_type == PT_INTERP)
            return base + segment[i].p_vaddr;
    return "";
}

// As execvp: a name with a slash is a path, another is searched along PATH. True for the first file
// that may be executed; else errno is ENOENT, or EACCES where one was there.
static bool resolve(const char *command, char *out, size_t size)
{
    struct stat st;
    if (strchr(command, '/')) {
        snprintf(out, size, "%s", command);
        if (stat(command, &st) < 0 || access(command, X_OK) < 0)
            return false;
        errno = EACCES;
        return S_ISREG(st.st_mode);
    }
    const char *path = getenv("PATH");
    int why = ENOENT;
    for (path = path ? path : "/bin:/usr/bin"; *command; path++) {
        size_t length = strcspn(path, ":");
        snprintf(out, size, "%.*s%s%s", (int)length, path, length ? "/" : "./", command);
        if (stat(out, &st) == 0 && S_ISREG(st.st_mode)) {
            if (access(out, X_OK) == 0)
                return true;
            why = EACCES;
        }
        path += length;
        if (!*path)
            break;
    }
    errno = why;
    return false;
}

// Would the kernel start it in secure mode, in which the loader drops every LD_PRELOAD with a
// slash?
static const char *secure_mode(int fd, const struct stat *st)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOSUID))
        return NULL;
    if ((st->st_mode & S_ISUID) && st->st_uid != geteuid())
        return "set-uid";
    if ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st->st_gid != getegid())
        return "set-gid";
    if (geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return "given capabilities";
    return NULL;
}

static int inspect_elf(const char *shown, int fd, const struct stat *st, const char *head, size_t n)
{
    const ElfW(Ehdr) *elf = (const ElfW(Ehdr) *)(const void *)head;
    if (n < sizeof *elf || elf->e_ident[EI_CLASS] != __ehdr_start.e_ident[EI_CLASS] ||
        elf->e_ident[EI_DATA] != __ehdr_start.e_ident[EI_DATA])
        return launcher_fail(EXIT_CANNOT, "%s is a %d-bit program, the library is for %d bits",
                             shown, head[EI_CLASS] == ELFCLASS32 ? 32 : 64,
                             __ehdr_start.e_ident[EI_CLASS] == ELFCLASS32 ? 32 : 64);
    if (elf->e_machine != __ehdr_start.e_machine)
        return launcher_fail(EXIT_CANNOT,
                             "%s is for another kind of processor (ELF machine %u, "
                             "the library's is %u)",
                             shown, elf->e_machine, __ehdr_start.e_machine);
    char loader[PATH_MAX] = "";
    for (unsigned i = 0; i < elf->e_phnum; i++) {
        ElfW(Phdr) segment;
        off_t at = (off_t)(elf->e_phoff + (size_t)i * elf->e_phentsize);
        if (pread(fd, &segment, sizeof segment, at) != (ssize_t)sizeof segment)
            break;
        if (segment.p_type != PT_INTERP || segment.p_filesz >= sizeof loader)
            continue;
        if (pread(fd, loader, segment.p_filesz, (off_t)segment.p_offset) < 0)
            loader[0] = '\0';
    }
    if (!*loader)
        return launcher_fail(EXIT_CANNOT,
                             "%s is statically linked: nothing can be preloaded into "
                             "it",
                             shown);
    if (strcmp(basename(loader), basename(own_loader())) != 0)
        return launcher_fail(EXIT_CANNOT,
                             "%s is built for another C library (its loader is %s, "
                             "the library's %s)",
                             shown, loader, own_loader());
    const char *secure = secure_mode(fd, st);
    if (secure)
        return launcher_fail(EXIT_CANNOT, "%s is %s: the loader preloads nothing into it", shown,
                             secure);
    return 0;
}

// The program that `env` in a script's first line starts; NULL where that cannot be told.
static char *env_command(char *rest)
{
    char *state = NULL;
    for (char *word = strtok_r(rest, " \t", &state); word; word = strtok_r(NULL, " \t", &state))
        if (word[0] != '-' && !strchr(word, '='))
            return word;
    return NULL;
}

static int no_interpreter(const char *shown, const char *interpreter)
{
    return launcher_fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT,
                         "%s: its interpreter %s: %s", shown, interpreter, strerror(errno));
}

static int inspect_script(const char *shown, const char *head, size_t n, unsigned depth)
{
    char line[SCRIPT_LINE_MAX + 1], found[PATH_MAX];
    size_t length = n - 2 < SCRIPT_LINE_MAX ? n - 2 : SCRIPT_LINE_MAX;
    memcpy(line, head + 2, length);
    line[length] = '\0';
    line[strcspn(line, "\n")] = '\0';
    char *interpreter = line + strspn(line, " \t");
    char *rest = interpreter + strcspn(interpreter, " \t");
    if (*rest)
        *rest++ = '\0';
    if (!*interpreter || depth == DEPTH_MAX)
        return 0;
    if (!resolve(interpreter, found, sizeof found))
        return no_interpreter(shown, interpreter);
    char *command = strcmp(basename(interpreter), "env") == 0 ? env_command(rest) : NULL;
    if (command && !resolve(command, found, sizeof found))
        return no_interpreter(shown, command);
    return inspect(found, found, depth + 1);
}

static int inspect(const char *shown, const char *path, unsigned depth)
{
    _Alignas(ElfW(Ehdr)) char head[HEAD_MAX];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    // A program may be executable and not readable.
    if (fd < 0)
        return 0;
    ssize_t n = fstat(fd, &st) < 0 ? -1 : pread(fd, head, sizeof head, 0);
    int status = 0;
    if (n >= EI_NIDENT && memcmp(head, ELFMAG, SELFMAG) == 0)
        status = inspect_elf(shown, fd, &st, head, (size_t)n);
    else if (n > 2 && head[0] == '#' && head[1] == '!')
        status = inspect_script(shown, head, (size_t)n, depth);
    close(fd);
    return status;
}

int launcher_inspect(const char *command, const char *meant)
{
    char path[PATH_MAX];
    if (!resolve(command, path, sizeof path)) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        if (!missing)
            meant = NULL;
        return launcher_fail(missing ? EXIT_NOT_FOUND : EXIT_CANNOT, "%s: %s%s%s%s", command,
                             strerror(errno), meant ? "; did you mean tidepool " : "",
                             meant ? meant : "", meant ? "?" : "");
    }
    return inspect(command, path, 0);
}
