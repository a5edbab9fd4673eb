// term - a terminal's other screen, keys without a newline, and the way back, whatever
// ends us.
#ifndef TIDEPOOL_SHIM_CLI_TOP_TERM_H
#define TIDEPOOL_SHIM_CLI_TOP_TERM_H

#include <stdbool.h>
#include <stddef.h>

enum term_key {
    TERM_NOTHING = 0, // time is up, or the size changed; else a character, or one of these
    TERM_UP = 256,
    TERM_DOWN,
    TERM_PAGE_UP,
    TERM_PAGE_DOWN,
    TERM_HOME,
    TERM_END,
    TERM_LEFT,
    TERM_RIGHT,
    TERM_CLOSED, // there is no more input, or a signal asks us to end
};

// Is standard output a terminal that can be written all over?
bool term_usable(void);

// From here on Ctrl-C ends the program by way of term_wait, and a crash leaves the terminal as it
// was.
void term_open(void);
void term_close(void);

// The size now; 80 by 24 where the terminal does not say.
void term_size(unsigned *columns, unsigned *rows);

// All of it at once.
void term_write(const char *bytes, size_t length);

// Waits for a key.
int term_wait(unsigned ms);

// The signal that ended it, 0 for none.
int term_signal(void);

#endif
