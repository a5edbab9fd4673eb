// elf - what `tidepool report` needs of an ELF file: the place of a mapped byte, the build id,
// whether there are line numbers, and functions by address.
//
// Reads by pread, so that a file that shrinks meanwhile is an error and no SIGBUS. 64-bit files of
// this machine's byte order; nothing that the file says is believed beyond the file's end.
#ifndef TIDEPOOL_SHIM_CLI_SYMBOLS_ELF_H
#define TIDEPOOL_SHIM_CLI_SYMBOLS_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ELF_ID_MAX = 64 }; // bytes of a build id

struct elf_segment {
    uint64_t offset, address, size;
};

struct elf_function {
    uint64_t start, size;
    uint32_t name; // in names
    unsigned char rank;
};

struct elf {
    int fd;
    uint64_t file_size;
    char build_id[2 * ELF_ID_MAX + 1]; // "" where it has none
    bool has_lines;                    // DWARF
    struct elf_segment *segments;
    size_t segment_count, segment_room;
    struct elf_function *functions; // ascending
    size_t function_count, function_room;
    char *names; // ends in a NUL
    size_t name_size;
};

// Regular files only. 0 or -errno, -ENOEXEC where it is no such file.
int elf_open(struct elf *e, const char *path);
void elf_close(struct elf *e);

// The address that the linker gave to a byte of the file; false where none of it is loaded.
bool elf_address(const struct elf *e, uint64_t offset, uint64_t *address);

// The function that covers the address, by .symtab, else .dynsym; NULL where none does. Its size
// counts: the nearest name before a static function's address would be a wrong one.
const char *elf_function(const struct elf *e, uint64_t address);

#endif
