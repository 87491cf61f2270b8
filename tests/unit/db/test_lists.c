/* What a page costs: as much in a database with a long history as in a small one, and as much when
 * what it lists holds very many images or examples. Counted in steps of the database engine. */
#include "tests/unit/db/fixture.h"

#include "db/events.h"
#include "db/sql/connection.h"

enum { FEW = 40, MANY = 2000, PAGE = 10 };

/* `n` of everything, of which each job, set and result in the middle holds `n` things more. Most
 * jobs have ended. "%u" is n. */
static const char *const texts[] = {
    "PRAGMA foreign_keys = OFF",
    "CREATE TEMP TABLE numbers (i INTEGER PRIMARY KEY)",
    "WITH RECURSIVE c (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i + 1 < %u)"
    " INSERT INTO numbers SELECT i FROM c",
    "INSERT INTO projects (id, name, description, labels, created_at, updated_at, revision)"
    " SELECT printf('prj_%%026d', i), 'p', '', '{}', '1970-01-01T00:00:00.000Z',"
    " '1970-01-01T00:00:00.000Z', 1 FROM numbers",
    "INSERT INTO images (id, project_id, sha256, frame, name, format, conversion, width, height,"
    " bit_depth, n_channels, byte_size, pixel_size_nm, created_at)"
    " SELECT printf('img_%%026d', i), printf('prj_%%026d', 0), printf('%%064d', i), 0, 'n', 'png',"
    " 'none', 1, 1, 8, 1, 1, 0, '1970-01-01T00:00:00.000Z' FROM numbers",
    "INSERT INTO encoders (id, sha256, name, architecture, in_channels, input_size, dimension,"
    " n_parameters, byte_size, is_default, created_at)"
    " SELECT printf('enc_%%026d', i), printf('%%064d', i), 'e', 'resnet', 1, 32, 8, 1, 1, i = 0,"
    " '1970-01-01T00:00:00.000Z' FROM numbers",
    "INSERT INTO support_sets (id, project_id, latest_version, created_at)"
    " SELECT printf('sup_%%026d', i), printf('prj_%%026d', 0), 1, '1970-01-01T00:00:00.000Z'"
    " FROM numbers",
    "INSERT INTO support_set_versions (support_set_id, version, name, chip_width, chip_height,"
    " created_at) SELECT printf('sup_%%026d', i), 1, 's', 8, 8, '1970-01-01T00:00:00.000Z'"
    " FROM numbers",
    "INSERT INTO classes (support_set_id, version, class_index, name, color, n_examples)"
    " SELECT printf('sup_%%026d', i), 1, 0, 'c', 0, %u FROM numbers",
    "INSERT INTO examples (support_set_id, version, class_index, example_index, image_id, x, y)"
    " SELECT printf('sup_%%026d', s.i), 1, 0, e.i, printf('img_%%026d', e.i), 0, 0"
    " FROM numbers s, numbers e WHERE s.i BETWEEN %u / 2 AND %u / 2 + 12",
    "INSERT INTO jobs (id, project_id, support_set_id, support_set_version, encoder_id, params,"
    " priority, state, cancel_requested, n_images, n_chips_done, n_chips_total, attempts,"
    " created_at) SELECT printf('job_%%026d', i), printf('prj_%%026d', 0), printf('sup_%%026d', 0),"
    " 1, printf('enc_%%026d', 0), '{}', i %% 3, CASE WHEN i %% (%u / 20) = 0 THEN 'queued'"
    " ELSE 'succeeded' END, 0, %u, 0, 0, 0, '1970-01-01T00:00:00.000Z' FROM numbers",
    "INSERT INTO job_images (job_id, image_index, image_id)"
    " SELECT printf('job_%%026d', j.i), i.i, printf('img_%%026d', i.i)"
    " FROM numbers j, numbers i WHERE j.i BETWEEN %u / 2 AND %u / 2 + 12",
    "INSERT INTO results (job_id, image_id, grid_rows, grid_columns, chip_width, chip_height,"
    " stride_x, stride_y, offset_x, offset_y, edge, n_classes, temperature, created_at, labels,"
    " probabilities, distances) SELECT printf('job_%%026d', %u / 2), printf('img_%%026d', i), 1, 1,"
    " 8, 8, 8, 8, 0, 0, 'drop', 1, 1, '1970-01-01T00:00:00.000Z', X'0000', X'00000000',"
    " X'00000000' FROM numbers",
    "INSERT INTO result_quantities (job_id, image_id, class_index, name, unit, value)"
    " SELECT printf('job_%%026d', %u / 2), printf('img_%%026d', i), 0, 'n_chips', '', 1"
    " FROM numbers",
    "INSERT INTO events (sequence, id, created_at, type, project_id, subject_id, principal, data)"
    " SELECT i + 1, printf('evt_%%026d', i), '1970-01-01T00:00:00.000Z', 'job.queued', '', '', '',"
    " '{}' FROM numbers",
};

static void fill(struct fixture *f, unsigned n)
{
    char script[8192];
    size_t length = 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        /* No text asks for n more than twice. */
        length += (size_t)snprintf(script + length, sizeof(script) - length, texts[i], n, n);
        length += (size_t)snprintf(script + length, sizeof(script) - length, ";");
        assert_true(length < sizeof(script));
    }
    fixture_close(f);
    fixture_edit(f, script);
    assert_ok(fixture_open(f));
}

/* ---- the lists, each read in the middle ---- */

struct place {
    char project[DB_ID_SIZE], middle[DB_ID_SIZE], job[DB_ID_SIZE];
    unsigned n;
};

static const char *id_of(struct place *place, const char *prefix)
{
    snprintf(place->middle, sizeof(place->middle), "%s%026u", prefix, place->n / 2 - 1);
    return place->middle;
}

static size_t list_projects(struct fixture *f, struct place *place)
{
    struct db_project_list list;
    const struct db_page page = {id_of(place, "prj_"), PAGE};
    assert_ok(db_project_list(f->db, &page, &list, &f->err));
    const size_t n = list.n_items;
    db_project_list_clear(&list);
    return n;
}

static size_t list_some_images(struct fixture *f, struct place *place, const char *name)
{
    struct db_image_list list;
    const struct db_page page = {id_of(place, "img_"), PAGE};
    assert_ok(db_image_list(f->db, place->project, name, &page, &list, &f->err));
    const size_t n = list.n_items;
    db_image_list_clear(&list);
    return n;
}

static size_t list_images(struct fixture *f, struct place *place)
{
    return list_some_images(f, place, NULL);
}

static size_t list_named_images(struct fixture *f, struct place *place)
{
    return list_some_images(f, place, "n");
}

static size_t list_encoders(struct fixture *f, struct place *place)
{
    struct db_encoder_list list;
    const struct db_page page = {id_of(place, "enc_"), PAGE};
    assert_ok(db_encoder_list(f->db, &page, &list, &f->err));
    const size_t n = list.n_items;
    db_encoder_list_clear(&list);
    return n;
}

static size_t list_support_sets(struct fixture *f, struct place *place)
{
    struct db_support_set_list list;
    const struct db_page page = {id_of(place, "sup_"), PAGE};
    assert_ok(db_support_set_list(f->db, place->project, &page, &list, &f->err));
    const size_t n = list.n_items;
    assert_int_equal(list.items[0].classes[0].n_examples, place->n);
    assert_null(list.items[0].classes[0].examples);
    db_support_set_list_clear(&list);
    return n;
}

static size_t list_some_jobs(struct fixture *f, struct place *place, const enum db_job_state *state)
{
    struct db_job_list list;
    const struct db_page page = {id_of(place, "job_"), PAGE};
    assert_ok(db_job_list(f->db, place->project, state, &page, &list, &f->err));
    const size_t n = list.n_items;
    assert_int_equal(list.items[0].n_images, place->n);
    assert_null(list.items[0].image_ids);
    db_job_list_clear(&list);
    return n;
}

static size_t list_jobs(struct fixture *f, struct place *place)
{
    return list_some_jobs(f, place, NULL);
}

static size_t list_ended_jobs(struct fixture *f, struct place *place)
{
    static const enum db_job_state state = DB_JOB_SUCCEEDED;
    return list_some_jobs(f, place, &state);
}

static size_t list_results(struct fixture *f, struct place *place)
{
    struct db_result_list list;
    const struct db_page page = {id_of(place, "img_"), PAGE};
    assert_ok(db_result_list(f->db, place->job, &page, &list, &f->err));
    const size_t n = list.n_items;
    db_result_list_clear(&list);
    return n;
}

static size_t list_events(struct fixture *f, struct place *place)
{
    struct db_event_list list;
    assert_ok(db_event_list(f->db, place->n / 2, PAGE, &list, &f->err));
    const size_t n = list.n_items;
    db_event_list_clear(&list);
    return n;
}

static size_t count_jobs(struct fixture *f, struct place *place)
{
    struct db_job_counts counts;
    (void)place;
    assert_ok(db_job_counts(f->db, &counts, &f->err));
    assert_in_range(counts.n_queued, 20, 20);
    return PAGE;
}

static size_t find_default(struct fixture *f, struct place *place)
{
    struct db_encoder encoder;
    (void)place;
    assert_ok(db_encoder_get_default(f->db, &encoder, &f->err));
    db_encoder_clear(&encoder);
    return PAGE;
}

static size_t get_job_row(struct fixture *f, struct place *place)
{
    struct db_job job;
    assert_ok(db_job_get_row(f->db, place->job, &job, &f->err));
    db_job_clear(&job);
    return PAGE;
}

static const struct {
    const char *name;
    size_t (*read)(struct fixture *f, struct place *place);
} readers[] = {
    {"projects", list_projects},
    {"images", list_images},
    {"images by name", list_named_images},
    {"encoders", list_encoders},
    {"support sets", list_support_sets},
    {"jobs", list_jobs},
    {"jobs by state", list_ended_jobs},
    {"results", list_results},
    {"events", list_events},
    {"counts of jobs", count_jobs},
    {"the default encoder", find_default},
    {"a job's row", get_job_row},
};

enum { N_READERS = sizeof(readers) / sizeof(readers[0]) };

/* One thread reads: there is one reader. */
static struct db_work work_of(struct fixture *f)
{
    assert_int_equal(f->db->n_readers, 1);
    return db_connection_work(f->db->idle_readers[0]);
}

static void measure(struct fixture *f, unsigned n, struct db_work out[N_READERS])
{
    struct place place = {.n = n};
    fill(f, n);
    snprintf(place.project, sizeof(place.project), "prj_%026u", 0U);
    snprintf(place.job, sizeof(place.job), "job_%026u", n / 2);
    assert_int_equal(readers[0].read(f, &place), PAGE);
    for (size_t i = 0; i < N_READERS; i++) {
        const struct db_work before = work_of(f);
        assert_int_equal(readers[i].read(f, &place), PAGE);
        const struct db_work after = work_of(f);
        out[i] = (struct db_work){.n_steps = after.n_steps - before.n_steps,
                                  .n_scanned = after.n_scanned - before.n_scanned,
                                  .n_sorts = after.n_sorts - before.n_sorts};
    }
}

static void a_page_costs_what_is_on_it(void **state)
{
    struct fixture *f = *state;
    struct db_work few[N_READERS], many[N_READERS];
    measure(f, FEW, few);
    fixture_close(f);
    fixture_remove_directory(f->directory);
    fixture_directory(f->directory);
    assert_ok(fixture_open(f));
    measure(f, MANY, many);
    for (size_t i = 0; i < N_READERS; i++) {
        print_message("%-20s %6llu steps, with %d times as much %6llu\n", readers[i].name,
                      (unsigned long long)few[i].n_steps, MANY / FEW,
                      (unsigned long long)many[i].n_steps);
        assert_true(few[i].n_steps > 0);
        if (many[i].n_steps > few[i].n_steps + few[i].n_steps / 4)
            fail_msg("%s: the work grows with what is not asked for", readers[i].name);
        if (many[i].n_scanned > 0 || many[i].n_sorts > 0)
            fail_msg("%s: no index leads to the page", readers[i].name);
    }
}

/* Priorities and places in the queue of jobs on one page are those that reading each job gives. */
static void a_page_knows_the_places_in_the_queue(void **state)
{
    struct fixture *f = *state;
    struct db_job_list list;
    const struct db_page page = {.limit = MANY / 2};
    char project[DB_ID_SIZE];
    size_t n_queued = 0;
    fill(f, FEW);
    snprintf(project, sizeof(project), "prj_%026u", 0U);
    assert_ok(db_job_list(f->db, project, NULL, &page, &list, &f->err));
    assert_int_equal(list.n_items, FEW);
    for (size_t i = 0; i < list.n_items; i++) {
        struct db_job job;
        assert_ok(db_job_get_row(f->db, list.items[i].id, &job, &f->err));
        assert_int_equal(list.items[i].queue_position, job.queue_position);
        n_queued += job.state == DB_JOB_QUEUED;
        db_job_clear(&job);
    }
    assert_int_equal(n_queued, 20);
    db_job_list_clear(&list);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_page_costs_what_is_on_it),
        TEST(a_page_knows_the_places_in_the_queue),
    };
    return test_run(tests);
}
