/* Projects: the owners of images, support sets and jobs. */
#ifndef CHIPSHOT_DB_PROJECTS_H
#define CHIPSHOT_DB_PROJECTS_H

#include "base/principal.h"
#include "db/db.h"

struct db_project {
    char id[DB_ID_SIZE]; /* prj_ */
    char *name;
    char *description; /* "" when none */
    char *labels;      /* text of a JSON object of strings, "{}" when none; opaque here */
    char created_at[DB_TIME_SIZE];
    char updated_at[DB_TIME_SIZE];
    uint64_t revision;                  /* 1, 2, ...: counts changes, for ETag */
    char created_by[PRINCIPAL_ID_SIZE]; /* a principal's id; given by who inserts */
};

struct db_project_list {
    struct db_project *items;
    size_t n_items;
    bool more;        /* there is at least one item after the last */
    size_t n_damaged; /* left out: their rows cannot be read */
};

/* Sets id, times and revision of `project`. */
int db_project_insert(struct db *db, struct db_project *project, struct error *err);
/* ERROR_NOT_FOUND. */
int db_project_get(struct db *db, const char *id, struct db_project *out, struct error *err);
int db_project_list(struct db *db, const struct db_page *page, struct db_project_list *out,
                    struct error *err);
/* Stores name, description and labels of `project` for `by`. `expected_revision` 0: any; otherwise
 * ERROR_CONFLICT when the stored one differs. Updates the struct's updated_at and revision. */
int db_project_update(struct db *db, struct db_project *project, uint64_t expected_revision,
                      const struct principal *by, struct error *err);
/* Deletes a project with all its images, support sets, jobs and results. ERROR_CONFLICT while a job
 * of it is queued or running. ERROR_NOT_FOUND. */
int db_project_delete(struct db *db, struct store *store, const char *id,
                      const struct principal *by, struct error *err);

void db_project_clear(struct db_project *project);
void db_project_list_clear(struct db_project_list *list);

#endif
