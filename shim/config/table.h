// table - each TIDEPOOL_ variable in one row: name, form, default, range, help, and the function
// that reads it.
//
// The loader, the launcher's options and its --help read nothing but this table. A new setting is a
// field in config.h and a row here (and lines in README.md and tidepool.7, which the tests demand).
#ifndef TIDEPOOL_SHIM_CONFIG_TABLE_H
#define TIDEPOOL_SHIM_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "shim/config/config.h"

enum { CONFIG_ROWS_MAX = 64 };

enum config_preset { CONFIG_PRESET_DEFAULT, CONFIG_PRESET_THROUGHPUT, CONFIG_PRESET_TIGHT };

// Writes the value into its field or fields; false, and nothing written, where it does not parse.
bool config_table_take(unsigned i, const char *text, struct config *c);

// What row i takes in place of a value that is not understood; NULL: its default. Switches that are
// there to turn something off fail on that side. CONFIG_DISABLES: the row's taker knows no such
// value, all is disabled.
#define CONFIG_DISABLES "TIDEPOOL_DISABLE=on"
const char *config_table_unclear(unsigned i);

// Is the text "none", which we say where row i has no default? Then it is as if it were not set.
bool config_table_unsets(unsigned i, const char *text);

// The row of a name of this length, or of its old name; -1 where there is none.
int config_table_find(const char *name, size_t length);

// The preset of that name, the default one for any other text.
enum config_preset config_table_preset(const char *text);

// The default of row i under a preset; NULL: unset.
const char *config_table_fallback(unsigned i, enum config_preset preset);

#endif
