// reap - removes the files of processes that ended without removing them: SIGKILL, _exit, exec.
//
// A process that writes its file also tidies up, but only one of them in half an interval. The time
// of an empty file .tidepool-UID.reaped says when that was, so that a folder of many processes is
// not listed by each of them.
//
// Of the own pid namespace and boot a process is judged by pid and start time, a zombie counting as
// gone, and its file goes when it is. Others can only be judged by time: a file that was not
// refreshed for ten of its own intervals, and for at least half a minute, is removed. So does one
// whose process lives but has stopped writing, because it went on as another program. A file that
// is refreshed stays, as does one that a process left behind on purpose, and any file of another
// form.
#ifndef TIDEPOOL_EXPORT_TEXTFILE_REAP_H
#define TIDEPOOL_EXPORT_TEXTFILE_REAP_H

#include <stdint.h>

#include "export/identity.h"

// `dir` as folder_open() has it.
void reap(int dir, const struct identity *self, uint64_t interval_ms);

#endif
