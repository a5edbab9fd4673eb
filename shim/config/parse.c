// parse - see parse.h.

#include "shim/config/parse.h"

#include <limits.h>
#include <string.h>

#include "mfile/parse/policy.h"
#include "shim/base.h"
#include "shim/number.h"

enum {
    BOUND_MIN = 1 << 10,
    BOUND_MAX = 1 << 20,
    FOLLOWS_FROM = 500,             // blocks
    FOLLOWS_FROM_BYTES = 512 << 10, // or these, whichever is less, rounded up
    WARMUP_COUNT_MAX = 1000000,
    NAME_MAX_COMPARED = 40,
};
// More free blocks, or bytes, than any machine has; what lies above is a slip of the finger.
static const uint64_t limit_max_blocks = UINT32_MAX;
static const uint64_t limit_max_bytes = 1ull << 48;

bool scan_number(const char **at, uint64_t *n)
{
    return number_read(at, n) && *n != UINT64_MAX;
}

enum { MILLION = 1000000, FRACTION_DIGITS = 6 };

// Digits, and behind a dot up to six more, in millionths.
static bool scan_decimal(const char **at, uint64_t *whole, uint64_t *millionths)
{
    const char *p = *at;
    if (!scan_number(&p, whole))
        return false;
    *millionths = 0;
    if (*p == '.') {
        const char *digits = p + 1;
        if (!scan_number(&(const char *){digits}, millionths))
            return false;
        size_t count = strspn(digits, "0123456789");
        if (count > FRACTION_DIGITS)
            return false;
        p = digits + count;
        for (; count < FRACTION_DIGITS; count++)
            *millionths *= 10;
    }
    *at = p;
    return true;
}

// That number of units of up to 1T, rounded down. There is no half of the smallest one.
static bool scale(uint64_t whole, uint64_t millionths, uint64_t unit, uint64_t *out)
{
    uint64_t n;
    if ((unit == 1 && millionths) || __builtin_mul_overflow(whole, unit, &n))
        return false;
    return !__builtin_add_overflow(n, millionths * unit / MILLION, out);
}

bool scan_size(const char **at, uint64_t *bytes, bool *unit)
{
    static const char letters[] = "KkMmGgTt";
    uint64_t whole, millionths, factor = 1;
    const char *p = *at;
    if (!scan_decimal(&p, &whole, &millionths))
        return false;
    const char *end = p, *letter = *p ? strchr(letters, *p) : NULL;
    if (letter) {
        factor <<= 10 * ((unsigned)(letter - letters) / 2 + 1);
        p++;
        if (p[0] == 'i' && p[1] == 'B')
            p += 2;
        else if (p[0] == 'B')
            p++;
    } else if (*p == 'B') {
        p++;
    }
    if (!scale(whole, millionths, factor, bytes))
        return false;
    *unit = p != end;
    *at = p;
    return true;
}

bool scan_duration(const char **at, uint64_t *ms)
{
    uint64_t whole, millionths, factor;
    if (!scan_decimal(at, &whole, &millionths))
        return false;
    if (strncmp(*at, "ms", 2) == 0) {
        factor = 1;
        *at += 2;
    } else if (**at == 's' || **at == 'm') {
        factor = **at == 's' ? 1000 : 60000;
        *at += 1;
    } else {
        return false;
    }
    return scale(whole, millionths, factor, ms);
}

bool scan_percent(const char **at, uint64_t *milli)
{
    uint64_t whole, millionths;
    return scan_decimal(at, &whole, &millionths) && millionths % 1000 == 0 && *(*at)++ == '%' &&
           scale(whole, millionths, 1000, milli);
}

static bool scan_bound(const char **at, size_t *bound)
{
    uint64_t bytes;
    bool unit;
    if (!scan_size(at, &bytes, &unit) || bytes < BOUND_MIN || bytes > BOUND_MAX)
        return false;
    *bound = (size_t)bytes;
    return true;
}

static bool scan_bucket(const char **at, struct config_bucket *b)
{
    if (!scan_bound(at, &b->bound_bytes))
        return false;
    b->limit = (FOLLOWS_FROM_BYTES + b->bound_bytes - 1) / b->bound_bytes;
    if (b->limit > FOLLOWS_FROM)
        b->limit = FOLLOWS_FROM;
    b->limit_is_bytes = false;
    b->limit_follows = **at != ':';
    if (b->limit_follows)
        return true;
    ++*at;
    return scan_size(at, &b->limit, &b->limit_is_bytes) &&
           b->limit <= (b->limit_is_bytes ? limit_max_bytes : limit_max_blocks);
}

// Past a comma with something behind it, or at the end?
static bool scan_comma_or_end(const char **at)
{
    if (**at == '\0')
        return true;
    return *(*at)++ == ',' && **at != '\0';
}

bool parse_bucket_list(const char *text, struct config_bucket *bucket, unsigned *count)
{
    struct config_bucket found[CONFIG_BUCKETS_MAX] = {0};
    unsigned n = 0;
    do {
        if (n == CONFIG_BUCKETS_MAX || !scan_bucket(&text, &found[n]) || !scan_comma_or_end(&text))
            return false;
        if (n && found[n].bound_bytes <= found[n - 1].bound_bytes)
            return false;
        n++;
    } while (*text);
    memcpy(bucket, found, sizeof found);
    *count = n;
    return true;
}

static bool scan_warmup(const char **at, struct config_warmup *w)
{
    uint64_t count;
    if (!scan_bound(at, &w->size_bytes) || *(*at)++ != ':' || !scan_number(at, &count) ||
        count < 1 || count > WARMUP_COUNT_MAX)
        return false;
    w->count = (uint32_t)count;
    return true;
}

bool parse_warmup_list(const char *text, struct config_warmup *warmup, unsigned *count)
{
    struct config_warmup found[CONFIG_WARMUP_MAX] = {0};
    unsigned n = 0;
    do {
        if (n == CONFIG_WARMUP_MAX || !scan_warmup(&text, &found[n]) || !scan_comma_or_end(&text))
            return false;
        n++;
    } while (*text);
    memcpy(warmup, found, sizeof found);
    *count = n;
    return true;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

// Not libc's, which goes by the program's locale.
static bool is_word(const char *text, const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (lower(text[i]) != word[i])
            return false;
    return !text[length];
}

int parse_word(const char *text, const char *words)
{
    for (int i = 0; *words; i++) {
        size_t word = strcspn(words, " ");
        if (is_word(text, words, word))
            return i;
        words += word;
        words += *words == ' ';
    }
    return -1;
}

bool globs_valid(const char *globs)
{
    for (;;) {
        size_t length = strcspn(globs, ",");
        // Names are compared without their folder, so a pattern with a slash never matches.
        if (!length || memchr(globs, '/', length))
            return false;
        if (!globs[length])
            return true;
        globs += length + 1;
    }
}

bool globs_match(const char *globs, const char *name)
{
    for (;;) {
        size_t length = strcspn(globs, ",");
        if (policy_glob_matches(globs, globs + length, name))
            return true;
        if (!globs[length])
            return false;
        globs += length + 1;
    }
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

// Three rows of the usual matrix: the one being filled, the one above it, and the one above that,
// which the swap of two neighbours needs.
unsigned edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    if (a_length > NAME_MAX_COMPARED || b_length > NAME_MAX_COMPARED)
        return UINT_MAX;
    unsigned rows[3][NAME_MAX_COMPARED + 1];
    for (unsigned j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a_length; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b_length; j++) {
            row[j] = min3(row[j - 1] + 1, above[j] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                above2[j - 2] + 1 < row[j])
                row[j] = above2[j - 2] + 1;
        }
    }
    return rows[a_length % 3][b_length];
}
