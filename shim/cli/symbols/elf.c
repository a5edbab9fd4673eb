// elf - headers, notes and symbols, each bounded by the file's size.

#include "shim/cli/symbols/elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/cli/profile/find.h"
#include "shim/cli/profile/intern.h"

enum {
    SEGMENTS_MAX = 1024,
    NOTES_MAX = 1 << 16,
    OVERLAP_MAX = 16, // symbols looked at, going back from an address
};
// More than any symbol table has; a file that claims more is not read.
#define TABLE_MAX ((uint64_t)1 << 30)

static const unsigned char own_order =
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;

static bool read_at(const struct elf *e, void *out, uint64_t offset, uint64_t size)
{
    if (offset > e->file_size || size > e->file_size - offset)
        return false;
    for (uint64_t done = 0; done < size;) {
        ssize_t n = pread(e->fd, (char *)out + done, size - done, (off_t)(offset + done));
        if (n <= 0)
            return false;
        done += (uint64_t)n;
    }
    return true;
}

// `extra` zero bytes follow what was read.
static void *read_table(const struct elf *e, uint64_t offset, uint64_t size, size_t extra)
{
    if (size > TABLE_MAX || offset > e->file_size || size > e->file_size - offset)
        return NULL;
    char *out = calloc(1, size + extra);
    if (out && read_at(e, out, offset, size))
        return out;
    free(out);
    return NULL;
}

static void take_note(struct elf *e, const unsigned char *id, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        e->build_id[2 * i] = digits[id[i] >> 4];
        e->build_id[2 * i + 1] = digits[id[i] & 15];
    }
    e->build_id[2 * size] = '\0';
}

static void read_notes(struct elf *e, uint64_t offset, uint64_t size)
{
    if (e->build_id[0] || size > NOTES_MAX)
        return;
    unsigned char *notes = read_table(e, offset, size, 0);
    for (uint64_t at = 0; notes && size - at >= sizeof(Elf64_Nhdr);) {
        Elf64_Nhdr n;
        memcpy(&n, notes + at, sizeof n);
        at += sizeof n;
        uint64_t name = ((uint64_t)n.n_namesz + 3) & ~3ull;
        uint64_t body = ((uint64_t)n.n_descsz + 3) & ~3ull;
        if (name > size - at || n.n_descsz > size - at - name)
            break;
        if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && memcmp(notes + at, "GNU", 4) == 0 &&
            n.n_descsz <= ELF_ID_MAX) {
            take_note(e, notes + at + name, n.n_descsz);
            break;
        }
        at += name + (body < size - at - name ? body : size - at - name);
    }
    free(notes);
}

static void read_segments(struct elf *e, const Elf64_Ehdr *h)
{
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum > SEGMENTS_MAX)
        return;
    for (unsigned i = 0; i < h->e_phnum; i++) {
        Elf64_Phdr p;
        uint64_t at;
        if (__builtin_add_overflow(h->e_phoff, i * sizeof p, &at) || !read_at(e, &p, at, sizeof p))
            return;
        if (p.p_type == PT_NOTE)
            read_notes(e, p.p_offset, p.p_filesz);
        if (p.p_type != PT_LOAD)
            continue;
        e->segments =
            room_for(e->segments, &e->segment_room, e->segment_count + 1, sizeof *e->segments);
        e->segments[e->segment_count++] = (struct elf_segment){p.p_offset, p.p_vaddr, p.p_filesz};
    }
}

static int by_start(const void *a, const void *b)
{
    const struct elf_function *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->rank < y->rank) - (x->rank > y->rank);
}

// Of the names of one function the last one in order is used: a plain one, known outside.
static unsigned char rank_of(const Elf64_Sym *s, const char *name)
{
    unsigned char binding = ELF64_ST_BIND(s->st_info);
    return (unsigned char)((binding == STB_LOCAL ? 2 : binding == STB_WEAK) + 3 * (*name == '_'));
}

static void read_symbols(struct elf *e, const Elf64_Shdr *table, const Elf64_Shdr *strings)
{
    uint64_t count = table->sh_size / sizeof(Elf64_Sym);
    Elf64_Sym *symbols = read_table(e, table->sh_offset, table->sh_size, 0);
    e->names = symbols ? read_table(e, strings->sh_offset, strings->sh_size, 1) : NULL;
    e->name_size = e->names ? strings->sh_size : 0;
    for (uint64_t i = 0; e->names && i < count; i++) {
        const Elf64_Sym *s = &symbols[i];
        unsigned char type = ELF64_ST_TYPE(s->st_info);
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || s->st_shndx == SHN_UNDEF ||
            !s->st_size || s->st_name >= e->name_size || !e->names[s->st_name])
            continue;
        e->functions =
            room_for(e->functions, &e->function_room, e->function_count + 1, sizeof *e->functions);
        e->functions[e->function_count++] = (struct elf_function){
            s->st_value, s->st_size, s->st_name, rank_of(s, e->names + s->st_name)};
    }
    free(symbols);
    if (e->function_count)
        qsort(e->functions, e->function_count, sizeof *e->functions, by_start);
}

static bool named(const char *names, uint64_t size, uint32_t at, const char *wanted)
{
    return at < size && strcmp(names + at, wanted) == 0;
}

static void read_sections(struct elf *e, const Elf64_Ehdr *h)
{
    if (h->e_shentsize != sizeof(Elf64_Shdr) || !h->e_shnum || h->e_shstrndx >= h->e_shnum)
        return;
    Elf64_Shdr *s = read_table(e, h->e_shoff, h->e_shnum * sizeof *s, 0);
    if (!s)
        return;
    const Elf64_Shdr *n = &s[h->e_shstrndx], *symbols = NULL;
    char *names = read_table(e, n->sh_offset, n->sh_size, 1);
    for (unsigned i = 0; i < h->e_shnum; i++) {
        if (s[i].sh_type == SHT_NOTE)
            read_notes(e, s[i].sh_offset, s[i].sh_size);
        if (names && (named(names, n->sh_size, s[i].sh_name, ".debug_info") ||
                      named(names, n->sh_size, s[i].sh_name, ".zdebug_info")))
            e->has_lines = true;
        if ((s[i].sh_type == SHT_SYMTAB || (s[i].sh_type == SHT_DYNSYM && !symbols)) &&
            s[i].sh_link < h->e_shnum)
            symbols = &s[i];
    }
    if (symbols)
        read_symbols(e, symbols, &s[symbols->sh_link]);
    free(names);
    free(s);
}

int elf_open(struct elf *e, const char *path)
{
    struct stat st;
    Elf64_Ehdr h;
    *e = (struct elf){0};
    // The path comes out of a file that is not trusted: no waiting at a fifo.
    e->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (e->fd < 0)
        return -errno;
    int err = fstat(e->fd, &st) < 0 ? -errno : 0;
    if (!err && !S_ISREG(st.st_mode))
        err = -ENOEXEC;
    e->file_size = err ? 0 : (uint64_t)st.st_size;
    if (!err && (!read_at(e, &h, 0, sizeof h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
                 h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != own_order))
        err = -ENOEXEC;
    if (err) {
        elf_close(e);
        return err;
    }
    read_segments(e, &h);
    read_sections(e, &h);
    return 0;
}

void elf_close(struct elf *e)
{
    if (e->fd >= 0)
        close(e->fd);
    free(e->segments);
    free(e->functions);
    free(e->names);
    *e = (struct elf){.fd = -1};
}

bool elf_address(const struct elf *e, uint64_t offset, uint64_t *address)
{
    for (size_t i = 0; i < e->segment_count; i++) {
        const struct elf_segment *s = &e->segments[i];
        if (offset >= s->offset && offset - s->offset < s->size) {
            *address = s->address + (offset - s->offset);
            return true;
        }
    }
    return false;
}

const char *elf_function(const struct elf *e, uint64_t address)
{
    size_t n = starts_up_to(e->functions, e->function_count, sizeof *e->functions, address);
    for (size_t i = n, tries = 0; i > 0 && tries < OVERLAP_MAX; i--, tries++) {
        const struct elf_function *f = &e->functions[i - 1];
        if (address - f->start < f->size)
            return e->names + f->name;
    }
    return NULL;
}
