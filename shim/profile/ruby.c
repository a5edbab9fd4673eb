#include "shim/profile/ruby.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "shim/profile/script_names.h"

// Words of an execution context, of a frame and of instructions.
enum { STACK, STACK_WORDS, FRAME, TAG, CONTEXT_WORDS };
enum { PC = 0, ISEQ = 2, ENVIRONMENT = 4, FRAME_WORDS = 8 };
enum { FLAGS = 0, BODY = 2 };

// Bytes of instructions' body.
enum { CODE_COUNT = 4, CODE = 8, PATH = 64, LABEL = 80 };

// Flags of objects and of an environment.
enum {
    TYPE = 0x1f,
    TYPE_STRING = 0x05,
    TYPE_ARRAY = 0x07,
    TYPE_INTERNAL = 0x1a,
    INTERNAL_KIND_SHIFT = 12,
    KIND_ISEQ = 7,
    NOT_EMBEDDED = 0x2000,
    EMBEDDED_LENGTH_SHIFT = 14,
    IS_C_FRAME = 0x80,
};

static struct {
    _Atomic bool found;
    intptr_t context_at; // in a thread's storage
    int (*is_native)(void);
    unsigned (*line_of)(const void *iseq, size_t instruction);
} ruby;

void ruby_find(void)
{
    const char *version;
    const char *context;

    // A thread's variable of a library that was there at the start lies in each thread at the same
    // distance.
    if (!script_symbol("ruby_version", &version) || strncmp(version, "3.1.", 4) != 0 ||
        !script_symbol("ruby_current_ec", &context) ||
        !script_symbol("ruby_native_thread_p", &ruby.is_native) ||
        !script_symbol("rb_iseq_line_no", &ruby.line_of))
        return;
    ruby.context_at = context - (const char *)__builtin_thread_pointer();
    atomic_store_explicit(&ruby.found, true, memory_order_release);
}

struct method {
    uintptr_t iseq, pc, path, label, code;
    uint32_t code_count;
};

static bool has_type(struct script *s, uintptr_t object, uintptr_t type)
{
    return !(object & 7) && (peek_word(&s->peek, object) & TYPE) == type;
}

// Its last bytes, when it is too long.
static bool add_string(struct script *s, uintptr_t string, struct script_text *t)
{
    uintptr_t word[3]; // flags, class, length or text
    size_t length, room = script_text_room(t), from;
    uintptr_t text;
    char piece[8];

    if (!has_type(s, string, TYPE_STRING) || !peek(&s->peek, string, word, sizeof word))
        return false;
    if (word[0] & NOT_EMBEDDED) {
        length = word[2];
        text = peek_word(&s->peek, string + sizeof word);
    } else {
        length = word[0] >> EMBEDDED_LENGTH_SHIFT & 0x1f;
        text = string + 2 * sizeof *word;
    }
    from = length > room ? length - room : 0;
    for (size_t i = from; i < length; i++) {
        uintptr_t at = text + i;
        if (!peek(&s->peek, at & ~(uintptr_t)7, piece, sizeof piece))
            return false;
        script_text_byte(t, (unsigned char)piece[at & 7]);
    }
    return true;
}

// The path is a string, or an array of that and the real one.
static uintptr_t path_of(struct script *s, uintptr_t path)
{
    uintptr_t flags = peek_word(&s->peek, path);

    if ((flags & TYPE) != TYPE_ARRAY)
        return path;
    // Embedded: its first element lies within.
    uintptr_t first = path + 2 * sizeof(uintptr_t);
    return peek_word(&s->peek, flags & NOT_EMBEDDED ? first : peek_word(&s->peek, path + 32));
}

static bool write_name(struct script *s, const void *function, struct script_text *t)
{
    const struct method *m = function;
    size_t at = (m->pc - m->code) / sizeof(uintptr_t);
    unsigned line = 0;

    script_text_begin(t, "ruby");
    if (!add_string(s, m->label, t))
        return false;
    script_text_end_function(t);
    if (!add_string(s, path_of(s, m->path), t))
        return false;
    script_text_end_file(t);
    // The pc is behind the instruction that runs.
    if (m->pc > m->code && at <= m->code_count)
        line = ruby.line_of((const void *)m->iseq, at - 1);
    script_text_line(t, line);
    return true;
}

static bool read_method(struct script *s, const uintptr_t *frame, struct method *m)
{
    uintptr_t flags, body;

    *m = (struct method){.iseq = frame[ISEQ], .pc = frame[PC]};
    if (!has_type(s, m->iseq, TYPE_INTERNAL))
        return false;
    flags = peek_word(&s->peek, m->iseq);
    body = peek_word(&s->peek, m->iseq + BODY * sizeof body);
    if ((flags >> INTERNAL_KIND_SHIFT & 0xf) != KIND_ISEQ || !body)
        return false;
    m->code_count = (uint32_t)(peek_word(&s->peek, body) >> 8 * CODE_COUNT);
    m->code = peek_word(&s->peek, body + CODE);
    m->path = peek_word(&s->peek, body + PATH);
    m->label = peek_word(&s->peek, body + LABEL);
    return true;
}

static bool add_frame(struct script *s, const uintptr_t *frame)
{
    uintptr_t flags = peek_word(&s->peek, frame[ENVIRONMENT]);
    struct method m;

    if (flags & IS_C_FRAME || !frame[ISEQ] || !frame[PC])
        return true;
    if (!read_method(s, frame, &m))
        return false;
    return script_add(s, (uintptr_t[]){m.iseq, m.pc, m.path, m.label}, write_name, &m);
}

bool ruby_read(struct script *s)
{
    uintptr_t context, word[CONTEXT_WORDS], frame[FRAME_WORDS];

    if (!atomic_load_explicit(&ruby.found, memory_order_acquire) || !ruby.is_native())
        return false;
    context = *(const uintptr_t *)(const void *)((const char *)__builtin_thread_pointer() +
                                                 ruby.context_at);
    if (!peek(&s->peek, context, word, sizeof word))
        return false;
    uintptr_t end = word[STACK] + word[STACK_WORDS] * sizeof *word;
    for (uintptr_t at = word[FRAME]; at > word[STACK] && at < end; at += sizeof frame)
        if (s->count == SITES_DEPTH_MAX || !peek(&s->peek, at, frame, sizeof frame) ||
            !add_frame(s, frame))
            break;
    script_place(s, word[TAG]);
    return s->count;
}
