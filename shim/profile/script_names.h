// script_names - a sample's functions of an interpreter, as its reader (python.c, ruby.c) finds
// them.
//
// Any thread, any handler: no lock, no allocation.
#ifndef TIDEPOOL_SHIM_PROFILE_SCRIPT_NAMES_H
#define TIDEPOOL_SHIM_PROFILE_SCRIPT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "export/heap/sites.h"
#include "shim/profile/peek.h"

// Fills in a symbol's address; false, and NULL, where there is none.
bool script_symbol(const char *name, void *to);

// A sample's functions, innermost first.
struct script {
    struct peek peek;
    uintptr_t name[SITES_DEPTH_MAX];
    uintptr_t place[SITES_DEPTH_MAX]; // on the stack, in the C frame that runs the function
    unsigned count, placed;
};

// Where the functions since the last call of this run; UINTPTR_MAX: not known.
void script_place(struct script *s, uintptr_t place);

// The text of a name: LANGUAGE FUNCTION FILE LINE, with tabs.
struct script_text {
    char bytes[SITES_NAME_MAX];
    size_t used, end;
};

// What does not fit is left out, and '?' stands for what is no text. All but the characters end
// with a tab.
void script_text_begin(struct script_text *t, const char *language);
void script_text_byte(struct script_text *t, unsigned char c);
void script_text_character(struct script_text *t, uint32_t c); // in UTF-8
void script_text_end_function(struct script_text *t);
void script_text_end_file(struct script_text *t);
void script_text_line(struct script_text *t, unsigned line);

// How many characters have room in what is written now.
size_t script_text_room(const struct script_text *t);

// Adds a function. `key` are four words that tell it from others: a name that was made for them
// before is taken, otherwise make() writes it. Where another object has taken the same memory with
// the same names in the same places, the name is the old one. False where make() returned that;
// nothing is added either where there is no room for a name.
typedef bool script_make(struct script *s, const void *function, struct script_text *t);
bool script_add(struct script *s, const uintptr_t key[4], script_make *make, const void *function);

#endif
