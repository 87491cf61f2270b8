/* What takes room in a data directory, and freeing it while no server runs.
 *
 * Made for a full disk: nothing is written on the way, and the database is opened only where it is
 * what is looked at or shrunk. */
#ifndef CHIPSHOT_DB_DATA_UPKEEP_H
#define CHIPSHOT_DB_DATA_UPKEEP_H

#include <stdint.h>

#include "db/sql/shrink.h"
#include "db/store/claim.h"

enum upkeep_part {
    UPKEEP_DATABASE, /* with its log */
    UPKEEP_BLOBS,
    UPKEEP_QUARANTINE,
    UPKEEP_CACHE,
    UPKEEP_TMP,
    UPKEEP_RESERVE,
    UPKEEP_PARTS,
};

/* "database", "blobs", ... */
const char *upkeep_part_name(enum upkeep_part part);

struct upkeep_use {
    uint64_t n_files;
    uint64_t size;   /* bytes of the disk */
    uint64_t n_kept; /* files that were to go and that rows name */
};

/* Also while a server runs. ERROR_IO: also a symbolic link where a directory has to be. */
int upkeep_measure(const char *directory, enum upkeep_part part, struct upkeep_use *out,
                   struct error *err);

struct upkeep_project {
    char id[DB_ID_SIZE];
    char *name;                    /* the visitor's for as long as it runs */
    uint64_t n_images, image_size; /* bytes; a file of several projects counts in each */
    uint64_t result_size;          /* bytes in the database */
};

/* Calls `visit` with each project, oldest first. Also while a server runs. ERROR_FULL, ERROR_IO,
 * ERROR_CORRUPT: the database cannot be read. */
int upkeep_visit_projects(const char *directory,
                          void (*visit)(void *context, const struct upkeep_project *project),
                          void *context, struct error *err);

/* ---- freeing ---- */

struct upkeep {
    char directory[DB_PATH_SIZE]; /* absolute */
    struct db_claim claim;
};

/* ERROR_CONFLICT: a server runs. ERROR_NOT_FOUND, ERROR_IO. upkeep_end is due after success. */
int upkeep_begin(struct upkeep *out, const char *directory, struct error *err);
void upkeep_end(struct upkeep *upkeep);

/* Removes what this program put into the cache, into quarantine or into tmp; `out` is what went. Of
 * quarantine stays what the database knows, as one that was put back may: the next start brings it
 * back. The reserve is given up for reading that. ERROR_INVALID: another part. */
int upkeep_empty(const struct upkeep *upkeep, enum upkeep_part part, struct upkeep_use *out,
                 struct error *err);
/* db_shrink_whole; the reserve is given up for it. */
int upkeep_shrink(const struct upkeep *upkeep, struct db_shrunk *out, struct error *err);

#endif
