#include "shim/profile/script.h"

#include <unwind.h>

#include "shim/profile/backtrace.h"
#include "shim/profile/python.h"
#include "shim/profile/ruby.h"
#include "shim/profile/script_names.h"

void script_find(bool at_start)
{
    python_find();
    if (at_start)
        ruby_find();
}

struct walk {
    const struct script *s;
    uintptr_t *frame;
    unsigned depth, max, next; // next: name
    uintptr_t pc;              // of the frame whose end is not known yet
};

// The C frame ends there: the functions that it runs, or itself.
static void end_frame(struct walk *w, uintptr_t end)
{
    bool runs = false;

    for (; w->next < w->s->count && w->s->place[w->next] < end && w->depth < w->max; runs = true)
        w->frame[w->depth++] = w->s->name[w->next++];
    if (!runs && w->pc && w->depth < w->max)
        w->frame[w->depth++] = w->pc;
}

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *arg)
{
    struct walk *w = arg;
    uintptr_t pc = callsite_pc(context);

    if (!pc)
        return _URC_END_OF_STACK;
    if (!w->pc && callsite_is_ours(pc))
        return _URC_NO_REASON;
    // Where this frame's part of the stack begins, the one's that it called ends.
    if (w->pc)
        end_frame(w, _Unwind_GetCFA(context));
    w->pc = pc;
    return w->depth == w->max ? _URC_END_OF_STACK : _URC_NO_REASON;
}

unsigned script_capture(uintptr_t *frame, unsigned max)
{
    struct script s;
    struct walk w = {.s = &s, .frame = frame, .max = max};

    s.peek = (struct peek){0};
    s.count = s.placed = 0;
    if (!python_read(&s) && !ruby_read(&s))
        return 0;
    _Unwind_Backtrace(on_frame, &w);
    end_frame(&w, UINTPTR_MAX);
    // A deep recursion in C: what called it is worth more than its outer half.
    if (!w.next && w.depth > max / 2 && w.depth + s.count > max)
        w.depth = max / 2;
    // Those of frames that the walk did not reach.
    while (w.next < s.count && w.depth < max)
        frame[w.depth++] = s.name[w.next++];
    return w.depth;
}
