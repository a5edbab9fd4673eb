#include "mfile/mfile.h"

#include <stdatomic.h>
#include <string.h>

#include "mfile/calls.h"
#include "mfile/maps.h"
#include "mfile/prefetch.h"
#include "mfile/record.h"
#include "shim/base.h"

static struct policy policy;
// The program may write over its environment (setproctitle), and rules are looked at for ever.
static char policy_text[MFILE_POLICY_MAX + 1];

static uint16_t rule_of_path(const char *path)
{
    int rule = policy_find(&policy, path);

    return rule < 0 ? 0 : policy.rule[rule].hints;
}

void mfile_init(const struct mfile_options *o)
{
    unsigned on = (o->record ? CALLS_RECORD : 0) | (o->merge ? CALLS_MERGE : 0);

    if (o->policy && strlen(o->policy) <= MFILE_POLICY_MAX &&
        policy_parse(strcpy(policy_text, o->policy), &policy)) {
        record_rule = rule_of_path;
        calls_init(&policy);
        on |= CALLS_RECORD;
        // Without such hints files need not be told apart while they are mapped.
        if (policy.all & HINT_AT_ONCE)
            on |= CALLS_RULES;
    }
    calls_switch_on(on);
}

void mfile_record(void)
{
    calls_switch_on(CALLS_RECORD);
}

static bool is_recording(void)
{
    return atomic_load_explicit(&calls_on, memory_order_relaxed) & CALLS_RECORD;
}

bool mfile_wants_prefetch(void)
{
    return policy.all & HINT_PREFETCH;
}

bool mfile_wants_watchdog(void)
{
    return policy.all & HINT_ON_PRESSURE;
}

void mfile_prefork(void)
{
    if (is_recording())
        record_prefork();
}

void mfile_postfork_parent(void)
{
    record_postfork_parent();
}

void mfile_postfork_child(void)
{
    prefetch_postfork_child();
    record_postfork_child();
}
