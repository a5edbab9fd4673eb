// heap_folder - the names of heap profiles in a folder that other users may write to, as /tmp is.
//
//   tidepool-PID-NUMBER.heap, .folded      and with .tmp behind it while it is written
//
// A file is made new (O_EXCL) and named last, so no link is followed and no file of another user is
// written to or replaced. A name that another user has taken costs the caller another number.
//
// Raw system calls, no allocation, static buffers: one thread at a time. 0 or -errno.
#ifndef TIDEPOOL_EXPORT_HEAP_HEAP_FOLDER_H
#define TIDEPOOL_EXPORT_HEAP_HEAP_FOLDER_H

#include <stddef.h>

// Profiles that ended processes wrote under pressure and that stay in a folder.
#define HEAP_FOLDER_KEPT 16

// What such a profile says of itself (heap_profile_info.why).
#define HEAP_FOLDER_PRESSURE "memory pressure critical"

// The path of this process's profile; -ENAMETOOLONG where it does not fit.
int heap_folder_path(char *out, size_t size, const char *dir, unsigned number, const char *suffix);

// An empty file for PATH, mode 0600, under the temporary name; its descriptor. -EEXIST: another
// user has that name.
int heap_folder_create(const char *path);

// Gives the file its name, in place of an older file of this user. -EEXIST: a file of another user
// has that name.
int heap_folder_publish(const char *path);
void heap_folder_discard(const char *path);

// A number that another user cannot guess.
unsigned heap_folder_random(void);

// Removes PATH, if it is a regular file of this user.
void heap_folder_remove(const char *path);

// Removes what processes of this user that have ended left in the folder: unfinished files, and of
// the profiles that they wrote under pressure all but the newest HEAP_FOLDER_KEPT. A pid of another
// pid namespace counts as ended.
void heap_folder_prune(const char *dir);

#endif
