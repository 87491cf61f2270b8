/* The schema. SQL here and in the typed queries stays portable: no engine's upsert, and no rowid
 * but where a blob is read in pieces (db_blob_place).
 *
 * Who owns whom is ON DELETE CASCADE, always down from the project; who merely uses an image has
 * no cascade, so that the engine itself refuses to delete what is needed. Texts are UTF-8, times
 * RFC 3339 UTC with milliseconds, so that they sort. Columns named _ms are milliseconds since 1970.
 */
#include "db/sql/migrations.h"

#include "db/sql/pragmas.h"

static const struct db_migration all[] = {
    {"the first schema",
     "CREATE TABLE health ("
     "  id INTEGER PRIMARY KEY,"
     "  checked_at TEXT NOT NULL);"

     "CREATE TABLE projects ("
     "  id TEXT NOT NULL PRIMARY KEY,"
     "  name TEXT NOT NULL,"
     "  description TEXT NOT NULL,"
     "  labels TEXT NOT NULL," /* a JSON object */
     "  created_at TEXT NOT NULL,"
     "  updated_at TEXT NOT NULL,"
     "  revision INTEGER NOT NULL);"
     "CREATE INDEX projects_by_age ON projects (created_at, id);"

     "CREATE TABLE images ("
     "  id TEXT NOT NULL PRIMARY KEY,"
     "  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,"
     "  sha256 TEXT NOT NULL," /* of the file in blobs/ */
     "  name TEXT NOT NULL,"
     "  format TEXT NOT NULL,"
     "  conversion TEXT NOT NULL,"
     "  width INTEGER NOT NULL CHECK (width > 0),"
     "  height INTEGER NOT NULL CHECK (height > 0),"
     "  bit_depth INTEGER NOT NULL,"
     "  n_channels INTEGER NOT NULL,"
     "  byte_size INTEGER NOT NULL,"
     "  pixel_size_nm REAL NOT NULL," /* 0: unknown */
     "  created_at TEXT NOT NULL,"
     "  UNIQUE (project_id, sha256));"
     "CREATE INDEX images_by_age ON images (project_id, created_at, id);"
     "CREATE INDEX images_by_name ON images (project_id, name, created_at, id);"
     "CREATE INDEX images_by_sha256 ON images (sha256);"

     "CREATE TABLE encoders ("
     "  id TEXT NOT NULL PRIMARY KEY,"
     "  sha256 TEXT NOT NULL UNIQUE," /* of the file in blobs/ */
     "  name TEXT NOT NULL,"
     "  architecture TEXT NOT NULL,"
     "  in_channels INTEGER NOT NULL,"
     "  input_size INTEGER NOT NULL,"
     "  dimension INTEGER NOT NULL,"
     "  n_parameters INTEGER NOT NULL,"
     "  byte_size INTEGER NOT NULL,"
     "  is_default INTEGER NOT NULL CHECK (is_default IN (0, 1)),"
     "  created_at TEXT NOT NULL);"
     "CREATE INDEX encoders_by_age ON encoders (created_at, id);"

     "CREATE TABLE support_sets ("
     "  id TEXT NOT NULL PRIMARY KEY,"
     "  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,"
     "  latest_version INTEGER NOT NULL,"
     "  created_at TEXT NOT NULL);"
     "CREATE INDEX support_sets_by_age ON support_sets (project_id, created_at, id);"

     "CREATE TABLE support_set_versions ("
     "  support_set_id TEXT NOT NULL REFERENCES support_sets (id) ON DELETE CASCADE,"
     "  version INTEGER NOT NULL CHECK (version > 0),"
     "  name TEXT NOT NULL,"
     "  chip_width INTEGER NOT NULL CHECK (chip_width > 0),"
     "  chip_height INTEGER NOT NULL CHECK (chip_height > 0),"
     "  created_at TEXT NOT NULL,"
     "  PRIMARY KEY (support_set_id, version));"

     "CREATE TABLE classes ("
     "  support_set_id TEXT NOT NULL,"
     "  version INTEGER NOT NULL,"
     "  class_index INTEGER NOT NULL," /* 0, 1, ... */
     "  name TEXT NOT NULL,"
     "  color INTEGER NOT NULL," /* 0xRRGGBB */
     "  PRIMARY KEY (support_set_id, version, class_index),"
     "  FOREIGN KEY (support_set_id, version)"
     "    REFERENCES support_set_versions (support_set_id, version) ON DELETE CASCADE);"

     "CREATE TABLE examples ("
     "  support_set_id TEXT NOT NULL,"
     "  version INTEGER NOT NULL,"
     "  class_index INTEGER NOT NULL,"
     "  example_index INTEGER NOT NULL," /* 0, 1, ... within the class */
     "  image_id TEXT NOT NULL REFERENCES images (id),"
     "  x INTEGER NOT NULL,"
     "  y INTEGER NOT NULL,"
     "  PRIMARY KEY (support_set_id, version, class_index, example_index),"
     "  FOREIGN KEY (support_set_id, version, class_index)"
     "    REFERENCES classes (support_set_id, version, class_index) ON DELETE CASCADE);"
     "CREATE INDEX examples_by_image ON examples (image_id);"

     "CREATE TABLE jobs ("
     "  id TEXT NOT NULL PRIMARY KEY,"
     "  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,"
     "  support_set_id TEXT NOT NULL,"
     "  support_set_version INTEGER NOT NULL,"
     "  encoder_id TEXT NOT NULL REFERENCES encoders (id),"
     "  params TEXT NOT NULL," /* a JSON object */
     "  priority INTEGER NOT NULL,"
     "  state TEXT NOT NULL CHECK"
     "    (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),"
     "  cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),"
     "  n_chips_done INTEGER NOT NULL,"
     "  n_chips_total INTEGER NOT NULL,"
     "  attempts INTEGER NOT NULL,"
     "  error_code TEXT,"
     "  error_message TEXT,"
     "  lease_owner TEXT," /* NULL unless running */
     "  lease_expires_ms INTEGER,"
     "  created_at TEXT NOT NULL,"
     "  started_at TEXT,"
     "  finished_at TEXT,"
     "  FOREIGN KEY (support_set_id, support_set_version)"
     "    REFERENCES support_set_versions (support_set_id, version));"
     "CREATE INDEX jobs_by_age ON jobs (project_id, created_at, id);"
     "CREATE INDEX jobs_by_state ON jobs (project_id, state, created_at, id);"
     "CREATE INDEX jobs_queue ON jobs (state, priority DESC, created_at, id);"
     "CREATE INDEX jobs_by_support_set ON jobs (support_set_id, support_set_version);"
     "CREATE INDEX jobs_by_encoder ON jobs (encoder_id);"

     "CREATE TABLE job_images ("
     "  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,"
     "  image_index INTEGER NOT NULL," /* 0, 1, ...: the order of the request */
     "  image_id TEXT NOT NULL REFERENCES images (id),"
     "  PRIMARY KEY (job_id, image_index),"
     "  UNIQUE (job_id, image_id));"
     "CREATE INDEX job_images_by_image ON job_images (image_id);"

     "CREATE TABLE idempotency_keys ("
     "  scope TEXT NOT NULL,"
     "  client_key TEXT NOT NULL,"
     "  body_sha256 TEXT NOT NULL,"
     "  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,"
     "  created_ms INTEGER NOT NULL,"
     "  PRIMARY KEY (scope, client_key));"
     "CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_ms);"
     "CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job_id);"

     /* The large columns come last: reading the others then touches no page of them. */
     "CREATE TABLE results ("
     "  job_id TEXT NOT NULL,"
     "  image_id TEXT NOT NULL,"
     "  grid_rows INTEGER NOT NULL CHECK (grid_rows > 0),"
     "  grid_columns INTEGER NOT NULL CHECK (grid_columns > 0),"
     "  chip_width INTEGER NOT NULL,"
     "  chip_height INTEGER NOT NULL,"
     "  stride_x INTEGER NOT NULL,"
     "  stride_y INTEGER NOT NULL,"
     "  offset_x INTEGER NOT NULL,"
     "  offset_y INTEGER NOT NULL,"
     "  edge TEXT NOT NULL,"
     "  n_classes INTEGER NOT NULL CHECK (n_classes > 0),"
     "  temperature REAL NOT NULL,"
     "  created_at TEXT NOT NULL,"
     "  labels BLOB NOT NULL,"        /* grid_rows x grid_columns u16, little-endian */
     "  probabilities BLOB NOT NULL," /* ... x n_classes f32, little-endian */
     "  distances BLOB NOT NULL,"     /* grid_rows x grid_columns f32, little-endian */
     "  PRIMARY KEY (job_id, image_id),"
     "  FOREIGN KEY (job_id, image_id) REFERENCES job_images (job_id, image_id)"
     "    ON DELETE CASCADE);"

     "CREATE TABLE class_statistics ("
     "  job_id TEXT NOT NULL,"
     "  image_id TEXT NOT NULL,"
     "  class_index INTEGER NOT NULL,"
     "  n_chips INTEGER NOT NULL,"
     "  area_fraction REAL NOT NULL,"
     "  mean_probability REAL NOT NULL,"
     "  n_regions_4 INTEGER NOT NULL,"
     "  n_regions_8 INTEGER NOT NULL,"
     "  mean_region_chips REAL NOT NULL,"
     "  PRIMARY KEY (job_id, image_id, class_index),"
     "  FOREIGN KEY (job_id, image_id) REFERENCES results (job_id, image_id)"
     "    ON DELETE CASCADE);",
     DB_REFERENCES_HELD},
    {"statistics as named quantities",
     /* class_index -1: of the image as a whole. low and high are NULL where there is no interval.
      */
     "CREATE TABLE result_quantities ("
     "  job_id TEXT NOT NULL,"
     "  image_id TEXT NOT NULL,"
     "  class_index BIGINT NOT NULL CHECK (class_index >= -1),"
     "  name TEXT NOT NULL,"
     "  unit TEXT NOT NULL," /* '': a count or a share */
     "  value DOUBLE PRECISION NOT NULL,"
     "  low DOUBLE PRECISION,"
     "  high DOUBLE PRECISION,"
     "  PRIMARY KEY (job_id, image_id, class_index, name),"
     "  FOREIGN KEY (job_id, image_id) REFERENCES results (job_id, image_id)"
     "    ON DELETE CASCADE);"
     "INSERT INTO result_quantities (job_id, image_id, class_index, name, unit, value)"
     "  SELECT job_id, image_id, class_index, 'n_chips', '', n_chips FROM class_statistics"
     "  UNION ALL SELECT job_id, image_id, class_index, 'area_fraction', '', area_fraction"
     "    FROM class_statistics"
     "  UNION ALL SELECT job_id, image_id, class_index, 'mean_probability', '', mean_probability"
     "    FROM class_statistics"
     "  UNION ALL SELECT job_id, image_id, class_index, 'n_regions_4', '', n_regions_4"
     "    FROM class_statistics"
     "  UNION ALL SELECT job_id, image_id, class_index, 'n_regions_8', '', n_regions_8"
     "    FROM class_statistics"
     "  UNION ALL SELECT job_id, image_id, class_index, 'mean_region_chips', '', mean_region_chips"
     "    FROM class_statistics;"
     "DROP TABLE class_statistics;",
     DB_REFERENCES_HELD},
    {"a frame of a file with several is an image",
     "CREATE TABLE images_with_frame ("
     "  id TEXT NOT NULL PRIMARY KEY,"
     "  project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,"
     "  sha256 TEXT NOT NULL,"                     /* of the file in blobs/ */
     "  frame BIGINT NOT NULL CHECK (frame >= 0)," /* of the file; 0: the first */
     "  name TEXT NOT NULL,"
     "  format TEXT NOT NULL,"
     "  conversion TEXT NOT NULL,"
     "  width BIGINT NOT NULL CHECK (width > 0),"
     "  height BIGINT NOT NULL CHECK (height > 0),"
     "  bit_depth BIGINT NOT NULL,"
     "  n_channels BIGINT NOT NULL,"
     "  byte_size BIGINT NOT NULL,"
     "  pixel_size_nm DOUBLE PRECISION NOT NULL," /* 0: unknown */
     "  created_at TEXT NOT NULL,"
     "  UNIQUE (project_id, sha256, frame));"
     "INSERT INTO images_with_frame (id, project_id, sha256, frame, name, format,"
     " conversion, width, height, bit_depth, n_channels, byte_size, pixel_size_nm,"
     " created_at) SELECT id, project_id, sha256, 0, name, format, conversion, width,"
     " height, bit_depth, n_channels, byte_size, pixel_size_nm, created_at FROM images;"
     "DROP TABLE images;"
     "ALTER TABLE images_with_frame RENAME TO images;"
     "CREATE INDEX images_by_age ON images (project_id, created_at, id);"
     "CREATE INDEX images_by_name ON images (project_id, name, created_at, id);"
     "CREATE INDEX images_by_sha256 ON images (sha256);",
     DB_REFERENCES_CHECKED_AT_END},

    /* A principal's id (base/principal.h). No key to a table: keys are in a file, and go. */
    {"who made a row",
     "ALTER TABLE projects ADD COLUMN created_by TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE images ADD COLUMN created_by TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE support_set_versions ADD COLUMN created_by TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE encoders ADD COLUMN created_by TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE jobs ADD COLUMN created_by TEXT NOT NULL DEFAULT '';",
     DB_REFERENCES_HELD},
    /* Servers that knew no tokens named their owner by a process id alone, which proves nothing;
     * but they hold the directory's lock for as long as they live, and whoever migrates holds it
     * now. So their leases are over. */
    {"fencing tokens",
     "ALTER TABLE jobs ADD COLUMN lease_token BIGINT NOT NULL DEFAULT 0;"
     "UPDATE jobs SET lease_expires_ms = 0 WHERE state = 'running';",
     DB_REFERENCES_HELD},
    /* No foreign keys: an event outlives its subject. Whatever bounds the table one day keeps the
     * newest row, which is where the sequence goes on. A reader that wants an index brings it. */
    {"events",
     "CREATE TABLE events ("
     "  sequence INTEGER PRIMARY KEY," /* 64 bits */
     "  id TEXT NOT NULL,"
     "  created_at TEXT NOT NULL,"
     "  type TEXT NOT NULL,"
     "  project_id TEXT NOT NULL," /* '': none */
     "  subject_id TEXT NOT NULL,"
     "  principal TEXT NOT NULL,"
     "  data TEXT NOT NULL);", /* a JSON object */
     DB_REFERENCES_HELD},
    {"what the database knows of itself",
     "CREATE TABLE settings ("
     "  name TEXT NOT NULL PRIMARY KEY,"
     "  value TEXT NOT NULL);",
     DB_REFERENCES_HELD},
    /* So that a list of jobs or support sets reads one row for each, however much is in it. */
    {"counts of what belongs to a row",
     "ALTER TABLE jobs ADD COLUMN n_images BIGINT NOT NULL DEFAULT 0;"
     "ALTER TABLE jobs ADD COLUMN n_results BIGINT NOT NULL DEFAULT 0;"
     "UPDATE jobs SET"
     " n_images = (SELECT COUNT(*) FROM job_images i WHERE i.job_id = jobs.id),"
     " n_results = (SELECT COUNT(*) FROM results r WHERE r.job_id = jobs.id);"
     "ALTER TABLE classes ADD COLUMN n_examples BIGINT NOT NULL DEFAULT 0;"
     "UPDATE classes SET n_examples = (SELECT COUNT(*) FROM examples e"
     " WHERE e.support_set_id = classes.support_set_id AND e.version = classes.version"
     " AND e.class_index = classes.class_index);"
     "CREATE INDEX encoders_by_default ON encoders (is_default, created_at, id);",
     DB_REFERENCES_HELD},
    {"jobs that are tried again",
     "ALTER TABLE jobs ADD COLUMN n_failures BIGINT NOT NULL DEFAULT 0;"
     "ALTER TABLE jobs ADD COLUMN retry_delay_ms BIGINT NOT NULL DEFAULT 0;"
     "ALTER TABLE jobs ADD COLUMN not_before_ms BIGINT NOT NULL DEFAULT 0;"
     "ALTER TABLE jobs ADD COLUMN waiting_for TEXT;", /* NULL: its turn */
     DB_REFERENCES_HELD},
    /* Those that are there were made when there were chips alone. */
    {"what encoders encode",
     "ALTER TABLE encoders ADD COLUMN encoding TEXT NOT NULL DEFAULT 'chips';", DB_REFERENCES_HELD},
    /* A table of its own: in the results' rows it would stand behind their maps. */
    {"what results say of how they came about",
     "CREATE TABLE result_analyses ("
     "  job_id TEXT NOT NULL,"
     "  image_id TEXT NOT NULL,"
     "  analysis TEXT NOT NULL,"
     "  PRIMARY KEY (job_id, image_id),"
     "  FOREIGN KEY (job_id, image_id) REFERENCES results (job_id, image_id)"
     "    ON DELETE CASCADE);",
     DB_REFERENCES_HELD},
    /* pixel_size_nm stays that of a square pixel: what was stored knows no other. */
    {"pixels that are not square",
     "ALTER TABLE images ADD COLUMN pixel_x_nm DOUBLE PRECISION NOT NULL DEFAULT 0;"
     "ALTER TABLE images ADD COLUMN pixel_y_nm DOUBLE PRECISION NOT NULL DEFAULT 0;"
     "UPDATE images SET pixel_x_nm = pixel_size_nm, pixel_y_nm = pixel_size_nm;",
     DB_REFERENCES_HELD},
    /* What was stored came from sCAL, the one source that there was; its outliers were not counted.
     */
    {"pixel sizes that are corrected",
     "ALTER TABLE images ADD COLUMN pixel_source TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE images ADD COLUMN pixel_set_by TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE images ADD COLUMN pixel_set_at TEXT NOT NULL DEFAULT '';"
     "ALTER TABLE images ADD COLUMN n_outliers BIGINT NOT NULL DEFAULT -1;"
     "ALTER TABLE images ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;"
     "UPDATE images SET pixel_source = 'sCAL' WHERE pixel_x_nm > 0;",
     DB_REFERENCES_HELD},
    /* The image of a chip is held by the job, which the verification goes with. */
    {"chips that people look at to verify a job",
     "CREATE TABLE verifications ("
     "  id TEXT NOT NULL PRIMARY KEY,"
     "  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,"
     "  seed BIGINT NOT NULL,"
     "  n_images BIGINT NOT NULL,"
     "  area_nm2 DOUBLE PRECISION NOT NULL," /* 0: unknown */
     "  n_chips BIGINT NOT NULL CHECK (n_chips > 0),"
     "  n_answered BIGINT NOT NULL,"
     "  revision BIGINT NOT NULL,"
     "  created_at TEXT NOT NULL,"
     "  updated_at TEXT NOT NULL,"
     "  created_by TEXT NOT NULL);"
     "CREATE INDEX verifications_by_age ON verifications (job_id, created_at, id);"

     "CREATE TABLE verification_strata ("
     "  verification_id TEXT NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,"
     "  stratum BIGINT NOT NULL," /* index of a class; the last: chips without one */
     "  n_chips BIGINT NOT NULL,"
     "  n_known BIGINT NOT NULL,"
     "  PRIMARY KEY (verification_id, stratum));"

     "CREATE TABLE verification_chips ("
     "  verification_id TEXT NOT NULL REFERENCES verifications (id) ON DELETE CASCADE,"
     "  chip_index BIGINT NOT NULL," /* 0, 1, ...: the order to be looked at */
     "  image_id TEXT NOT NULL,"
     "  chip BIGINT NOT NULL,"
     "  x BIGINT NOT NULL,"
     "  y BIGINT NOT NULL,"
     "  stratum BIGINT NOT NULL,"
     "  answer BIGINT NOT NULL," /* index of a class; -1 open, -2 none, -3 unsure */
     "  PRIMARY KEY (verification_id, chip_index));",
     DB_REFERENCES_HELD},
    /* A job takes the masks that were there when it was made: those whose event came before. Those
     * that are queued were made when there were none. */
    {"what is left out of images",
     "ALTER TABLE images ADD COLUMN look TEXT;" /* NULL: nobody has looked */
     "CREATE TABLE image_masks ("
     "  image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,"
     "  version BIGINT NOT NULL,"
     "  sequence BIGINT NOT NULL," /* of its event */
     "  shapes TEXT NOT NULL,"
     "  picture_sha256 TEXT," /* of the file in blobs/; NULL: none */
     "  picture_size BIGINT NOT NULL DEFAULT 0,"
     "  created_at TEXT NOT NULL,"
     "  created_by TEXT NOT NULL,"
     "  PRIMARY KEY (image_id, version));"
     "CREATE INDEX image_masks_by_picture ON image_masks (picture_sha256);"
     "ALTER TABLE jobs ADD COLUMN masks_until BIGINT NOT NULL DEFAULT 0;",
     DB_REFERENCES_HELD},
    {"what jobs say of examples and of chips to label",
     "CREATE TABLE result_suggestions ("
     "  job_id TEXT NOT NULL,"
     "  image_id TEXT NOT NULL,"
     "  suggestions TEXT NOT NULL,"
     "  PRIMARY KEY (job_id, image_id),"
     "  FOREIGN KEY (job_id, image_id) REFERENCES results (job_id, image_id)"
     "    ON DELETE CASCADE);"

     "CREATE TABLE support_health ("
     "  support_set_id TEXT NOT NULL,"
     "  version BIGINT NOT NULL,"
     "  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,"
     "  measured_at TEXT NOT NULL,"
     "  health TEXT NOT NULL,"
     "  PRIMARY KEY (support_set_id, version),"
     "  FOREIGN KEY (support_set_id, version)"
     "    REFERENCES support_set_versions (support_set_id, version) ON DELETE CASCADE);"
     "CREATE INDEX support_health_by_job ON support_health (job_id);",
     DB_REFERENCES_HELD},
    {"classes that are mapped and not counted",
     "ALTER TABLE classes ADD COLUMN counted BIGINT NOT NULL DEFAULT 1;", DB_REFERENCES_HELD},
    /* Of results whose labels are not all the classifier's own; a table of its own, as above. */
    {"what the classifier said before later steps",
     "CREATE TABLE result_raw_labels ("
     "  job_id TEXT NOT NULL,"
     "  image_id TEXT NOT NULL,"
     "  labels BLOB NOT NULL," /* grid_rows x grid_columns u16, little-endian */
     "  PRIMARY KEY (job_id, image_id),"
     "  FOREIGN KEY (job_id, image_id) REFERENCES results (job_id, image_id)"
     "    ON DELETE CASCADE);",
     DB_REFERENCES_HELD},
};

static int apply(struct db_connection *writer, const struct db_migration *migration,
                 int64_t version, struct error *err)
{
    int rc = db_connection_begin(writer, err);
    if (rc != 0)
        return rc;
    rc = db_connection_run_script(writer, migration->what, migration->sql, err);
    if (rc == 0 && migration->references == DB_REFERENCES_CHECKED_AT_END)
        rc = db_schema_check_references(writer, err);
    if (rc == 0)
        rc = db_schema_set_version(writer, version, err);
    if (rc == 0)
        rc = db_connection_commit(writer, err);
    if (rc != 0)
        db_connection_rollback(writer);
    return rc;
}

/* What https://sqlite.org/lang_altertable.html says in twelve steps: dropping the old table would
 * remove what refers to it, or be refused, and a transaction cannot switch that off. */
static int apply_without_references(struct db_connection *writer,
                                    const struct db_migration *migration, int64_t version,
                                    struct error *err)
{
    int rc = db_schema_release_references(writer, err);
    if (rc != 0)
        return rc;
    rc = apply(writer, migration, version, err);
    int rc_on = db_schema_hold_references(writer, rc == 0 ? err : NULL);
    return rc != 0 ? rc : rc_on;
}

static int refuse_on_full_disk(const char *path, int64_t version, size_t wanted, struct error *err)
{
    return error_set(err, ERROR_FULL,
                     "%.200s has schema version %lld and this program needs version %zu: the disk "
                     "has no room to migrate it, and it was left as it was",
                     path, (long long)version, wanted);
}

static int apply_all(struct db_connection *writer, int64_t version,
                     const struct db_migration *migrations, size_t n_migrations, struct error *err)
{
    int rc = 0;
    for (size_t i = (size_t)version; rc == 0 && i < n_migrations; i++)
        rc = migrations[i].references == DB_REFERENCES_CHECKED_AT_END
                 ? apply_without_references(writer, &migrations[i], (int64_t)i + 1, err)
                 : apply(writer, &migrations[i], (int64_t)i + 1, err);
    return rc;
}

int db_migrate_with(struct db_connection *writer, const char *path,
                    const struct db_migration *migrations, size_t n_migrations, struct error *err)
{
    int64_t version = 0;
    int rc = db_schema_version(writer, &version, err);
    if (rc != 0)
        return rc;
    if (version > (int64_t)n_migrations)
        return error_set(err, ERROR_CONFLICT,
                         "%s has schema version %lld and this program knows versions up to %zu: "
                         "it was written by a newer chipshot; use that one",
                         path, (long long)version, n_migrations);
    /* Only before there is anything in the file. */
    if (version == 0)
        rc = db_pages_make_returnable(writer, err);
    if (rc == 0)
        rc = db_connection_enable_writes(writer, err);
    if (rc == 0)
        rc = db_files_configure(writer, err);
    if (rc == 0)
        rc = apply_all(writer, version, migrations, n_migrations, err);
    const bool was_due = version > 0 && version < (int64_t)n_migrations;
    return rc == ERROR_FULL && was_due ? refuse_on_full_disk(path, version, n_migrations, err) : rc;
}

const struct db_migration *db_migrations(size_t *n_migrations)
{
    *n_migrations = sizeof(all) / sizeof(all[0]);
    return all;
}

int db_migrate(struct db_connection *writer, const char *path, struct error *err)
{
    return db_migrate_with(writer, path, all, sizeof(all) / sizeof(all[0]), err);
}
