// env_copy - copies of texts from the environment.
//
// A program that shows its state in ps(1) (redis, nginx, postgres) writes that title over the
// memory in which its arguments and its environment lay. Pointers into it see other text from then
// on.
#ifndef TIDEPOOL_SHIM_BASE_ENV_COPY_H
#define TIDEPOOL_SHIM_BASE_ENV_COPY_H

// For ever; NULL for NULL, and where no memory is to be had. Takes a page or more: for settings.
const char *keep_text(const char *text);

#endif
