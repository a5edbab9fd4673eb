#include "shim/profile/python.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "shim/base.h"
#include "shim/base/log.h"
#include "shim/profile/script_names.h"

// Where a thread's state, a frame and the record of a run of the interpreter's loop (3.11, 3.12)
// have what is read here, in bytes.
struct layout {
    unsigned version;                    // the upper half of Py_Version
    uint8_t state_thread, state_top;     // pthread_self(); the record, or the frame that runs
    uint8_t run_frame, run_previous;     // of the record
    uint8_t code, previous, instruction; // of the frame
    uint8_t border;                      // the byte that tells where a run of the loop began:
    uint8_t border_value;                // with this frame
    bool has_runs;                       // the state leads to a record
    bool is_border_own;                  // that frame is the run's own, on its stack, without code
};

static const struct layout layouts[] = {
    {.version = 0x030b,
     .state_thread = 152,
     .state_top = 56,
     .run_frame = 8,
     .run_previous = 16,
     .code = 32,
     .previous = 48,
     .instruction = 56,
     .border = 68,
     .border_value = 1,
     .has_runs = true},
    {.version = 0x030c,
     .state_thread = 136,
     .state_top = 56,
     .run_frame = 0,
     .run_previous = 8,
     .code = 0,
     .previous = 8,
     .instruction = 56,
     .border = 70,
     .border_value = 3,
     .has_runs = true,
     .is_border_own = true},
    {.version = 0x030d,
     .state_thread = 152,
     .state_top = 72,
     .code = 0,
     .previous = 8,
     .instruction = 56,
     .border = 70,
     .border_value = 3,
     .is_border_own = true},
};

// Of any object, and of a type.
enum { OBJECT_TYPE = 8, TYPE_SIZE = 32, TYPE_MEMBERS = 240, STATE_INTERPRETER = 16 };
enum { FRAME_BYTES = 72, CODE_BYTES_MAX = 256 };

// PyMemberDef.
struct member {
    const char *name;
    int type;
    intptr_t offset;
    int flags;
    const char *doc;
};

static struct {
    _Atomic(const struct layout *) layout; // NULL: no interpreter, or one that is not read
    _Atomic bool looked_at;
    _Atomic uint32_t strange; // threads whose frames could not be read
    _Atomic bool proven;      // some could

    // All of these take no lock, allocate nothing and need no lock to be held.
    void *(*this_state)(void);
    void *(*interpreter_of)(void *state);
    int (*is_finalizing)(void);
    int (*line_of)(void *code, int byte);
    intptr_t (*length_of)(void *string);
    uint32_t (*character_of)(void *string, intptr_t at);
    uintptr_t code_type, string_type;
    size_t code_size, function_at, file_at, first_line_at;
} python;

enum { STRANGE_MAX = 16, STEPS_MAX = 256 };

static bool find_member(const struct member *m, const char *name, size_t *offset)
{
    while (m && m->name && strcmp(m->name, name) != 0)
        m++;
    if (!m || !m->name || m->offset <= 0 || m->offset > CODE_BYTES_MAX - 8)
        return false;
    *offset = (size_t)m->offset;
    return true;
}

static bool find_code_members(void)
{
    const struct member *m;
    const char *type = (const char *)python.code_type;

    memcpy(&m, type + TYPE_MEMBERS, sizeof m);
    memcpy(&python.code_size, type + TYPE_SIZE, sizeof python.code_size);
    return python.code_size <= CODE_BYTES_MAX &&
           find_member(m, "co_qualname", &python.function_at) &&
           find_member(m, "co_filename", &python.file_at) &&
           find_member(m, "co_firstlineno", &python.first_line_at);
}

static bool find_functions(void)
{
    return script_symbol("PyCode_Type", &python.code_type) &&
           script_symbol("PyUnicode_Type", &python.string_type) &&
           script_symbol("PyThreadState_GetInterpreter", &python.interpreter_of) &&
           script_symbol("PyCode_Addr2Line", &python.line_of) &&
           script_symbol("PyUnicode_GetLength", &python.length_of) &&
           script_symbol("PyUnicode_ReadChar", &python.character_of) &&
           (script_symbol("Py_IsFinalizing", &python.is_finalizing) ||
            script_symbol("_Py_IsFinalizing", &python.is_finalizing));
}

// 3.13 and later say it at the start of the runtime's state.
static bool is_free_threaded(void)
{
    const char *runtime;
    uint64_t flag;

    if (!script_symbol("_PyRuntime", &runtime) || memcmp(runtime, "xdebugpy", 8) != 0)
        return false;
    memcpy(&flag, runtime + 16, sizeof flag);
    return flag;
}

// A library that was opened could be closed again.
static void pin(const void *symbol)
{
    Dl_info info;

    if (dladdr(symbol, &info) && !dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE))
        dlerror();
}

void python_find(void)
{
    const unsigned long *version; // since 3.11
    const struct layout *l = layouts, *end = layouts + array_len(layouts);

    if (atomic_load(&python.looked_at) ||
        !script_symbol("PyGILState_GetThisThreadState", &python.this_state))
        return;
    atomic_store(&python.looked_at, true);
    if (script_symbol("Py_Version", &version))
        while (l < end && l->version != *version >> 16)
            l++;
    else
        l = end;
    if (l < end && !is_free_threaded() && find_functions() && find_code_members()) {
        pin(version);
        atomic_store_explicit(&python.layout, l, memory_order_release);
        return;
    }
    log_line(LOG_FEATURE, "samples do not name the functions of this version of Python");
}

// A string; its last characters, when it is too long.
static void add_string(struct script_text *t, void *string)
{
    intptr_t length = python.length_of(string), room = (intptr_t)script_text_room(t);

    for (intptr_t i = length > room ? length - room : 0; i < length; i++)
        script_text_character(t, python.character_of(string, i));
}

static bool is_string(struct script *s, uintptr_t at)
{
    uintptr_t head[2];

    return peek(&s->peek, at, head, sizeof head) && (uint32_t)head[0] &&
           head[1] == python.string_type;
}

// A code object, copied, and what is read of it.
struct code {
    uintptr_t at, instruction;
    uintptr_t function, file;
    int first_line;
    uint32_t size; // instructions
};

static int line_of(const struct code *c)
{
    uintptr_t byte = c->instruction - c->at - python.code_size;
    int line = byte < (uintptr_t)c->size * 2 ? python.line_of((void *)c->at, (int)byte) : 0;

    return line > 0 ? line : c->first_line;
}

static bool write_name(struct script *s, const void *function, struct script_text *t)
{
    const struct code *c = function;
    int line;

    if (!is_string(s, c->function) || !is_string(s, c->file))
        return false;
    script_text_begin(t, "python");
    add_string(t, (void *)c->function);
    script_text_end_function(t);
    add_string(t, (void *)c->file);
    script_text_end_file(t);
    line = line_of(c);
    script_text_line(t, line > 0 ? (unsigned)line : 0);
    return true;
}

static bool add_function(struct script *s, const struct code *c)
{
    return script_add(s, (uintptr_t[]){c->at, c->instruction, c->function, c->file}, write_name, c);
}

// False where that is no code that lives.
static bool read_code(struct script *s, uintptr_t at, struct code *c)
{
    char bytes[CODE_BYTES_MAX];
    uintptr_t head[3]; // references, type, size

    if (!peek(&s->peek, at, bytes, python.code_size))
        return false;
    memcpy(head, bytes, sizeof head);
    if (!(uint32_t)head[0] || head[1] != python.code_type)
        return false;
    c->at = at;
    c->size = (uint32_t)head[2];
    memcpy(&c->function, bytes + python.function_at, sizeof c->function);
    memcpy(&c->file, bytes + python.file_at, sizeof c->file);
    memcpy(&c->first_line, bytes + python.first_line_at, sizeof c->first_line);
    return true;
}

// The frames from the innermost on; false where the first of them is none.
static bool read_frames(struct script *s, const struct layout *l, uintptr_t run, uintptr_t frame)
{
    char bytes[FRAME_BYTES];
    struct code code;
    uintptr_t at;

    for (unsigned steps = 0; frame && s->count < SITES_DEPTH_MAX && steps < STEPS_MAX; steps++) {
        if (!peek(&s->peek, frame, bytes, sizeof bytes))
            break;
        bool border = bytes[l->border] == l->border_value;
        if (border && l->is_border_own) {
            script_place(s, frame);
        } else {
            memcpy(&at, bytes + l->code, sizeof at);
            memcpy(&code.instruction, bytes + l->instruction, sizeof code.instruction);
            if (!read_code(s, at, &code) || !add_function(s, &code))
                break;
            if (border) {
                script_place(s, run);
                run = peek_word(&s->peek, run + l->run_previous);
            }
        }
        memcpy(&frame, bytes + l->previous, sizeof frame);
    }
    script_place(s, l->is_border_own ? UINTPTR_MAX : run);
    return s->count || !frame;
}

// This thread's; false where it has no state that looks like one.
static bool read_state(struct script *s, const struct layout *l, uintptr_t state)
{
    uintptr_t interpreter = peek_word(&s->peek, state + STATE_INTERPRETER);
    uintptr_t top = peek_word(&s->peek, state + l->state_top);

    if (peek_word(&s->peek, state + l->state_thread) != (uintptr_t)pthread_self() || !interpreter ||
        interpreter != (uintptr_t)python.interpreter_of((void *)state))
        return false;
    return read_frames(s, l, top, l->has_runs ? peek_word(&s->peek, top + l->run_frame) : top);
}

static void give_up(const struct layout *l)
{
    atomic_store(&python.layout, NULL);
    log_line(LOG_FEATURE,
             "samples do not name Python's functions: its frames are not those of a Python %u.%u "
             "that is known here",
             l->version >> 8, l->version & 0xff);
}

bool python_read(struct script *s)
{
    const struct layout *l = atomic_load_explicit(&python.layout, memory_order_acquire);
    uintptr_t state;

    // At the end other threads' states are freed while these still run.
    if (!l || python.is_finalizing() || !(state = (uintptr_t)python.this_state()))
        return false;
    bool good = read_state(s, l, state);
    if (unlikely(!atomic_load_explicit(&python.proven, memory_order_relaxed))) {
        if (s->count)
            atomic_store_explicit(&python.proven, true, memory_order_relaxed);
        else if (!good && atomic_fetch_add(&python.strange, 1) == STRANGE_MAX)
            give_up(l);
    }
    return s->count;
}
