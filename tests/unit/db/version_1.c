#include "tests/unit/db/version_1.h"

#include <sys/stat.h>

#include "db/sql/migrations.h"

static const char rows[] =
    "INSERT INTO projects VALUES ('prj_01JABCDEFGHJKMNPQRSTVWXYZ0', 'p', '', '{}',"
    " '2026-01-31T12:00:00.000Z', '2026-01-31T12:00:00.000Z', 1);"
    "INSERT INTO images VALUES ('img_01JABCDEFGHJKMNPQRSTVWXYZ0', 'prj_01JABCDEFGHJKMNPQRSTVWXYZ0',"
    " '0000000000000000000000000000000000000000000000000000000000000000', 'a.png', 'png', 'none',"
    " 3, 2, 8, 1, 9, 0.5, '2026-01-31T12:00:00.000Z');"
    "INSERT INTO encoders VALUES ('enc_01JABCDEFGHJKMNPQRSTVWXYZ0',"
    " '0000000000000000000000000000000000000000000000000000000000000000', 'e', 'resnet18', 1, 64,"
    " 512, 1, 9, 1, '2026-01-31T12:00:00.000Z');"
    "INSERT INTO support_sets VALUES ('sup_01JABCDEFGHJKMNPQRSTVWXYZ0',"
    " 'prj_01JABCDEFGHJKMNPQRSTVWXYZ0', 1, '2026-01-31T12:00:00.000Z');"
    "INSERT INTO support_set_versions VALUES ('sup_01JABCDEFGHJKMNPQRSTVWXYZ0', 1, 's', 1, 1,"
    " '2026-01-31T12:00:00.000Z');"
    "INSERT INTO classes VALUES ('sup_01JABCDEFGHJKMNPQRSTVWXYZ0', 1, 0, 'film', 255),"
    " ('sup_01JABCDEFGHJKMNPQRSTVWXYZ0', 1, 1, 'void', 256);"
    "INSERT INTO examples VALUES"
    " ('sup_01JABCDEFGHJKMNPQRSTVWXYZ0', 1, 0, 0, 'img_01JABCDEFGHJKMNPQRSTVWXYZ0', 2, 1),"
    " ('sup_01JABCDEFGHJKMNPQRSTVWXYZ0', 1, 1, 0, 'img_01JABCDEFGHJKMNPQRSTVWXYZ0', 0, 0);"
    "INSERT INTO jobs VALUES ('job_01JABCDEFGHJKMNPQRSTVWXYZ0', 'prj_01JABCDEFGHJKMNPQRSTVWXYZ0',"
    " 'sup_01JABCDEFGHJKMNPQRSTVWXYZ0', 1, 'enc_01JABCDEFGHJKMNPQRSTVWXYZ0', '{}', 0, 'succeeded',"
    " 0, 6, 6, 0, NULL, NULL, NULL, NULL, '2026-01-31T12:00:00.000Z', NULL, NULL);"
    "INSERT INTO job_images VALUES ('job_01JABCDEFGHJKMNPQRSTVWXYZ0', 0,"
    " 'img_01JABCDEFGHJKMNPQRSTVWXYZ0');"
    "INSERT INTO results VALUES ('job_01JABCDEFGHJKMNPQRSTVWXYZ0',"
    " 'img_01JABCDEFGHJKMNPQRSTVWXYZ0', 2, 3, 1, 1, 1, 1, 0, 0, 'drop', 2, 0.1,"
    " '2026-01-31T12:00:00.000Z', zeroblob(12), zeroblob(48), zeroblob(24));";

struct db_connection *version_1_create(struct fixture *f)
{
    struct db_connection *writer = NULL;
    char path[700];
    size_t n_migrations = 0;
    const struct db_migration *migrations = db_migrations(&n_migrations);
    fixture_write_file(f, "chipshot.sqlite", "");
    fixture_path(f, "blobs/00", path);
    assert_ok(mkdir(path, 0700));
    fixture_write_file(
        f, "blobs/00/0000000000000000000000000000000000000000000000000000000000000000", "x");
    fixture_path(f, "chipshot.sqlite", path);
    assert_ok(db_connection_open(&writer, path, DB_CONNECTION_WRITER, &f->err));
    assert_ok(db_migrate_with(writer, path, migrations, 1, &f->err));
    assert_ok(db_connection_run_script(writer, "filling", rows, &f->err));
    return writer;
}
