#include "export/heap/modules.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mfile/parse/maps.h"
#include "pressure/kernel/text.h"
#include "shim/kernel.h"

#define MAPS "/proc/self/maps"
#define NOTES_MAX 1024
#define HEADERS_MAX 16

static const char *program(void)
{
    static char path[4096];

    if (!path[0] && kernel_read_link("/proc/self/exe", path, sizeof path) <= 0)
        path[0] = '?';
    return path;
}

void modules_find(uintptr_t pc, const char **name, uintptr_t *offset)
{
    struct dl_find_object found;

    *name = "?";
    *offset = pc;
    if (_dl_find_object((void *)pc, &found) != 0)
        return;
    const struct link_map *map = found.dlfo_link_map;
    *offset = pc - map->l_addr;
    // The program itself has no name there, and may have changed the one it was started by.
    *name = map->l_name && map->l_name[0] ? basename(map->l_name) : basename(program());
}

// Our own memory by way of the kernel: a file may have been cut short, or unmapped by now.
static bool peek(uintptr_t at, void *to, size_t size)
{
    struct iovec into = {to, size}, from = {(void *)at, size};

    return syscall(SYS_process_vm_readv, getpid(), &into, 1L, &from, 1L, 0L) == (long)size;
}

static void write_id(struct heap_text *t, const char *path, const unsigned char *id, size_t size)
{
    char hex[2];

    heap_text_add(t, "# build-id ");
    heap_text_add(t, path);
    heap_text_add(t, " ");
    for (size_t i = 0; i < size; i++) {
        hex[0] = "0123456789abcdef"[id[i] >> 4];
        hex[1] = "0123456789abcdef"[id[i] & 15];
        heap_text_bytes(t, hex, 2);
    }
    heap_text_add(t, "\n");
}

// True once the id was found.
static bool search_notes(struct heap_text *t, const char *path, uintptr_t at, size_t size)
{
    _Alignas(8) unsigned char notes[NOTES_MAX];
    ElfW(Nhdr) n;

    if (size > sizeof notes || !peek(at, notes, size))
        return false;
    for (size_t i = 0; i + sizeof n <= size;) {
        memcpy(&n, notes + i, sizeof n);
        size_t name = i + sizeof n, id = name + (((size_t)n.n_namesz + 3) & ~(size_t)3);
        size_t next = id + (((size_t)n.n_descsz + 3) & ~(size_t)3);
        if (next > size || next < i)
            return false;
        if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && memcmp(notes + name, "GNU", 4) == 0) {
            write_id(t, path, notes + id, n.n_descsz);
            return true;
        }
        i = next;
    }
    return false;
}

// `base` is where the file's first byte is mapped.
static void write_build_id(struct heap_text *t, const char *path, uintptr_t base)
{
    ElfW(Ehdr) e;
    ElfW(Phdr) p[HEADERS_MAX];
    uintptr_t first = 0;
    unsigned count;

    if (!peek(base, &e, sizeof e) || memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 ||
        e.e_phentsize != sizeof *p)
        return;
    count = e.e_phnum < HEADERS_MAX ? e.e_phnum : HEADERS_MAX;
    if (!peek(base + e.e_phoff, p, count * sizeof *p))
        return;
    for (unsigned i = 0; i < count; i++)
        if (p[i].p_type == PT_LOAD && p[i].p_offset == 0)
            first = p[i].p_vaddr;
    for (unsigned i = 0; i < count; i++)
        if (p[i].p_type == PT_NOTE &&
            search_notes(t, path, base + p[i].p_vaddr - first, p[i].p_memsz))
            return;
}

void modules_write_build_ids(struct heap_text *t)
{
    // Not on the stack: see heap_profile.h. A path too long for it goes without its id.
    static struct text_lines lines;
    struct maps_line m;

    if (text_open(&lines, MAPS) != 0)
        return;
    for (char *line; (line = text_next(&lines));)
        if (maps_parse(line, &m) && m.path[0] == '/' && !m.offset && (m.prot & PROT_READ))
            write_build_id(t, m.path, m.start);
    text_close(&lines);
}

void modules_write_maps(struct heap_text *t)
{
    static char part[4096];
    int fd = kernel_open(MAPS, O_RDONLY);

    if (fd < 0)
        return;
    for (long n; (n = kernel_read(fd, part, sizeof part)) > 0;)
        heap_text_bytes(t, part, (size_t)n);
    kernel_close(fd);
}
