/* A pass looks at each file once, whatever comes and goes meanwhile. */
#include "tests/unit/db/fixture.h"

#include <unistd.h>

#include "server/watch/scrub.h"

enum { N_FILES = 40 };

struct rig {
    struct fixture *f;
    struct scrub *scrub;
    char ids[N_FILES][DB_ID_SIZE];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    fixture_setup((void **)&rig->f);
    fixture_fill(rig->f); /* an image and an encoder */
    for (int i = 0; i < N_FILES; i++) {
        char text[32];
        snprintf(text, sizeof(text), "image %d", i);
        assert_ok(fixture_add_image(rig->f, rig->f->project_id, text, rig->ids[i]));
    }
    assert_ok(scrub_create(&rig->scrub, rig->f->store, NULL, &rig->f->err));
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    void *f = rig->f;
    scrub_destroy(rig->scrub);
    fixture_teardown(&f);
    free(rig);
    return 0;
}

static void change(const struct rig *rig, const char *text, const char *instead)
{
    char sha256[DB_SHA256_SIZE], name[100];
    fixture_sha256(text, sha256);
    snprintf(name, sizeof(name), "blobs/%.2s/%s", sha256, sha256);
    fixture_write_file(rig->f, name, instead);
}

static uint64_t n_damaged(const struct rig *rig)
{
    uint64_t n_verified = 0, n = 0;
    store_verified(rig->f->store, &n_verified, &n);
    return n;
}

static void a_pass_reads_each_file_once(void **state)
{
    struct rig *rig = *state;
    for (int pass = 0; pass < 3; pass++) {
        unsigned n_steps = 1;
        /* A small budget is a file a step. */
        while (scrub_step(rig->scrub, 1) == SCRUB_GOES_ON)
            n_steps++;
        const struct scrub_counts counts = scrub_counts(rig->scrub);
        assert_int_equal(counts.n_files, N_FILES + 2);
        assert_true(counts.size > 0);
        assert_int_equal(counts.n_damaged, 0);
        assert_true(n_steps >= N_FILES);
    }
    assert_int_equal(scrub_step(rig->scrub, UINT64_MAX), SCRUB_PASS_ENDED);
    assert_int_equal(scrub_counts(rig->scrub).n_files, N_FILES + 2);
}

static void damage_is_found_and_its_end_too(void **state)
{
    struct rig *rig = *state;
    change(rig, "image 7", "IMAGE 7");
    change(rig, "image 8", "");
    assert_int_equal(scrub_step(rig->scrub, UINT64_MAX), SCRUB_PASS_ENDED);
    assert_int_equal(scrub_counts(rig->scrub).n_damaged, 2);
    assert_int_equal(n_damaged(rig), 2);
    change(rig, "image 7", "image 7");
    assert_int_equal(scrub_step(rig->scrub, UINT64_MAX), SCRUB_PASS_ENDED);
    assert_int_equal(scrub_counts(rig->scrub).n_damaged, 1);
    assert_int_equal(n_damaged(rig), 1);
}

static void files_may_come_and_go(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    for (int i = 0; i < N_FILES; i++) {
        char text[32];
        assert_int_equal(scrub_step(rig->scrub, 1), SCRUB_GOES_ON);
        assert_ok(db_image_delete(rig->f->db, rig->f->store, rig->ids[i], &fixture_principal,
                                  &rig->f->err));
        snprintf(text, sizeof(text), "later %d", i);
        assert_ok(fixture_add_image(rig->f, rig->f->project_id, text, id));
    }
    while (scrub_step(rig->scrub, 1) == SCRUB_GOES_ON)
        continue;
    assert_int_equal(scrub_counts(rig->scrub).n_damaged, 0);
    assert_int_equal(scrub_counts(rig->scrub).n_unreadable, 0);
    assert_int_equal(scrub_step(rig->scrub, UINT64_MAX), SCRUB_PASS_ENDED);
    assert_int_equal(scrub_counts(rig->scrub).n_files, N_FILES + 2);
}

static void what_cannot_be_read_is_counted(void **state)
{
    struct rig *rig = *state;
    char sha256[DB_SHA256_SIZE], path[700], name[100];
    fixture_sha256("image 3", sha256);
    snprintf(name, sizeof(name), "blobs/%.2s/%s", sha256, sha256);
    fixture_path(rig->f, name, path);
    assert_ok(unlink(path));
    assert_ok(symlink("/dev/null", path));
    assert_int_equal(scrub_step(rig->scrub, UINT64_MAX), SCRUB_PASS_ENDED);
    assert_int_equal(scrub_counts(rig->scrub).n_unreadable, 1);
    assert_int_equal(scrub_counts(rig->scrub).n_files, N_FILES + 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pass_reads_each_file_once),
        TEST(damage_is_found_and_its_end_too),
        TEST(files_may_come_and_go),
        TEST(what_cannot_be_read_is_counted),
    };
    return test_run(tests);
}
