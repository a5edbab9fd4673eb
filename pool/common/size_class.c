#include "pool/common/size_class.h"

uint8_t size_class_table[SIZE_CLASS_MAX_BYTES >> SIZE_CLASS_STEP_LG];

void size_class_init(void)
{
    size_t bytes = SIZE_CLASS_MIN_BYTES;

    for (unsigned plain = 1; plain <= SIZE_CLASS_PLAIN; plain++) {
        size_t run = size_class_run_bytes(plain);
        for (; bytes <= run; bytes += (size_t)1 << SIZE_CLASS_STEP_LG) {
            int coloured =
                run >= SIZE_CLASS_FIRST_COLOURED_BYTES && bytes <= run - SIZE_CLASS_COLOUR_BYTES;
            size_class_table[(bytes - 1) >> SIZE_CLASS_STEP_LG] =
                (uint8_t)(plain + (coloured ? SIZE_CLASS_COLOURED : 0));
        }
    }
}
