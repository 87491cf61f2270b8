/* A database as the first release left it, for tests of the steps since. */
#ifndef CHIPSHOT_TESTS_UNIT_DB_VERSION_1_H
#define CHIPSHOT_TESTS_UNIT_DB_VERSION_1_H

#include "db/sql/stmt.h"
#include "tests/unit/db/fixture.h"

#define VERSION_1_PROJECT     "prj_01JABCDEFGHJKMNPQRSTVWXYZ0"
#define VERSION_1_IMAGE       "img_01JABCDEFGHJKMNPQRSTVWXYZ0"
#define VERSION_1_SUPPORT_SET "sup_01JABCDEFGHJKMNPQRSTVWXYZ0"
#define VERSION_1_JOB         "job_01JABCDEFGHJKMNPQRSTVWXYZ0"

/* Replaces the database of a closed fixture by one of version 1: a project with an image of 3 x 2
 * pixels, an encoder, a support set of two classes with an example each, and a job that succeeded
 * with a result of 2 x 3 chips without statistics. Their files are missing. The writer is the
 * caller's to close. */
struct db_connection *version_1_create(struct fixture *f);

#endif
