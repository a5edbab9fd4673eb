// $MEMORY_PRESSURE_WRITE, PSI files and single limits.

#include <stdint.h>
#include <string.h>

#include "pressure/kernel/text.h"
#include "pressure/triggers/psi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[512];
    unsigned char out[256];
    uint64_t x;
    if (size >= sizeof text)
        size = sizeof text - 1;
    memcpy(text, data, size);
    text[size] = '\0';
    int n = psi_decode(text, out, sizeof out);
    if (n > (int)sizeof out || (n > 0 && (size_t)n > size * 3 / 4 + 1))
        __builtin_trap();
    psi_parse_total(text, &x);
    text_limit(text, &x);
    text_value(text, "inactive_file", &x);
    return 0;
}
