#include "shim/files.h"

#include "mfile/mfile.h"
#include "mfile/prefetch.h"

bool files_init(const struct config *c)
{
    const struct mfile_options options = {
        .policy = c->mfile,
        .record = c->prom_dir != NULL,
        .merge = c->ksm,
    };

    mfile_init(&options);
    return options.policy || options.record;
}

void files_start(void)
{
    if (mfile_wants_prefetch())
        prefetch_thread();
}
