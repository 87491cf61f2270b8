#include "server/worker/stored_file.h"

static int name_owner(const char *what, const char *sha256, const struct error *inner,
                      struct error *err)
{
    if (inner->code == ERROR_NOT_FOUND)
        return error_set(err, ERROR_CORRUPT, "%s: its file %s is gone", what, sha256);
    return error_set(err, inner->code, "%s: %.400s", what, inner->message);
}

int stored_file_open_unchecked(struct store *store, const char *what, const char *sha256,
                               struct store_file *out, struct error *err)
{
    struct error inner = {0};
    int rc = store_file_open_unchecked(store, sha256, out, &inner);
    return rc < 0 ? name_owner(what, sha256, &inner, err) : 0;
}

int stored_file_check(const struct store_file *file, const char *what, const char *sha256,
                      const struct cancel *cancel, struct error *err)
{
    struct error inner = {0};
    int rc = store_file_check(file, cancel, &inner);
    return rc < 0 ? name_owner(what, sha256, &inner, err) : 0;
}

int stored_file_open(struct store *store, const char *what, const char *sha256,
                     const struct cancel *cancel, struct store_file *out, struct error *err)
{
    struct store_file blob = {0};
    int rc = stored_file_open_unchecked(store, what, sha256, &blob, err);
    if (rc == 0)
        rc = stored_file_check(&blob, what, sha256, cancel, err);
    if (rc < 0)
        store_file_close(&blob);
    else
        *out = blob;
    return rc;
}
