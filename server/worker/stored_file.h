/* Files of the data directory, checked before use: a result is only as good as the bytes it was
 * made from, and jobs, caches and results name those bytes by their SHA-256. */
#ifndef CHIPSHOT_SERVER_STORED_FILE_H
#define CHIPSHOT_SERVER_STORED_FILE_H

#include "base/cancel.h"
#include "db/store/store.h"

/* As store_file_open, and ERROR_CORRUPT when the bytes are gone. `what` names the file's owner in
 * messages ("image img_..."). Release with store_file_close. */
int stored_file_open(struct store *store, const char *what, const char *sha256,
                     const struct cancel *cancel, struct store_file *out, struct error *err);

/* As store_file_open_unchecked and store_file_check. */
int stored_file_open_unchecked(struct store *store, const char *what, const char *sha256,
                               struct store_file *out, struct error *err);
int stored_file_check(const struct store_file *file, const char *what, const char *sha256,
                      const struct cancel *cancel, struct error *err);

#endif
