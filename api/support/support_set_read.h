/* The body of a support set, read and checked against the project's images. */
#ifndef CHIPSHOT_API_SUPPORT_SET_READ_H
#define CHIPSHOT_API_SUPPORT_SET_READ_H

#include "api/call.h"
#include "db/support_sets.h"

enum { SUPPORT_NAME_MAX_LENGTH = 200, SUPPORT_CLASS_NAME_MAX_LENGTH = 100 };

/* `before`: the version that it replaces, NULL when there is none; classes without a colour of
 * their own have that of their name there, or else one by their name (palette.h).
 *
 * Fills name, chip size and classes of `out` (released with db_support_set_clear) from `json`. All
 * faults go to call->errors: wrong types and ranges, duplicate class names, too many examples,
 * examples that lie outside their image or in an image of another project. */
int support_set_read(struct api_call *call, json_t *json, const char *project_id,
                     const struct db_support_set *before, struct db_support_set *out,
                     struct error *err);

#endif
