/* kill -9 at any moment: a child works on a data directory and says what was accepted through a
 * pipe; the parent kills it after some messages and looks at what is there. */
#include "tests/unit/db/fixture.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_ROUNDS = 20, N_ACCEPTED_MAX = 4000 };

/* What the child tells: an id that was accepted, or "done_" for a job that ended. */
struct message {
    char kind; /* 'i': image, 'j': job, 'd': job ended */
    char id[DB_ID_SIZE];
};

static void tell(int fd, char kind, const char *id)
{
    struct message message = {.kind = kind};
    snprintf(message.id, sizeof(message.id), "%s", id);
    if (write(fd, &message, sizeof(message)) != (ssize_t)sizeof(message))
        _exit(3);
}

static int upload(struct fixture *f, const char *text, struct db_image *image)
{
    struct store_writer *writer = NULL;
    bool existed = false;
    *image = (struct db_image){.format = "png", .width = 1, .height = 1};
    image->byte_size = strlen(text);
    image->name = strdup(text);
    memcpy(image->project_id, f->project_id, DB_ID_SIZE);
    int rc = store_writer_create(&writer, f->store, NULL);
    if (rc == 0)
        rc = store_writer_write(writer, text, strlen(text), NULL);
    if (rc == 0)
        rc = store_writer_commit(writer, NULL);
    if (rc == 0) {
        store_writer_sha256(writer, image->sha256);
        rc = db_image_insert(f->db, f->store, image, &existed, NULL);
    }
    store_writer_destroy(writer);
    return rc;
}

static int run_one(struct fixture *f, int fd)
{
    struct db_job job;
    struct db_quantity quantities[2] = {{0, "n_chips", "", 1, NAN, NAN},
                                        {1, "n_chips", "", 0, NAN, NAN}};
    struct db_lease lease;
    uint16_t labels[1] = {0};
    float probabilities[2] = {0.5F, 0.5F}, distances[1] = {1};
    bool cancel;
    int rc = db_job_claim(f->db, "child", 60000, &job, &lease, NULL);
    if (rc != 0)
        return rc;
    struct db_result result = {.rows = 1,
                               .columns = 1,
                               .edge = "drop",
                               .n_classes = 2,
                               .temperature = 1,
                               .quantities = quantities,
                               .n_quantities = 2,
                               .labels = labels,
                               .probabilities = probabilities,
                               .distances = distances};
    memcpy(result.job_id, job.id, DB_ID_SIZE);
    memcpy(result.image_id, job.image_ids[0], DB_ID_SIZE);
    rc = db_job_heartbeat(f->db, &lease, 60000, 0, &cancel, NULL);
    if (rc == 0)
        rc = db_result_insert(f->db, &result, &lease, 1, NULL);
    if (rc == 0)
        rc = db_job_finish(f->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, NULL);
    if (rc == 0)
        tell(fd, 'd', job.id);
    db_job_clear(&job);
    return rc;
}

/* Whoever opens the directory next was the one who killed the owner. */
static bool everyone_is_gone(const char *owner)
{
    (void)owner;
    return true;
}

/* Works until it is killed; leaves by _exit only when something fails. */
static void work(struct fixture *f, int round, int fd)
{
    uint64_t n_requeued;
    float table[64] = {0};
    if (fixture_open_with(f, 1 << 16) != 0 ||
        db_job_requeue_expired(f->db, "", everyone_is_gone, &n_requeued, NULL) != 0)
        _exit(1);
    for (int i = 0;; i++) {
        char text[64], id[DB_ID_SIZE];
        struct db_image image, doomed;
        snprintf(text, sizeof(text), "round %d image %d", round, i);
        if (upload(f, text, &image) != 0)
            _exit(2);
        tell(fd, 'i', image.id);
        memcpy(f->image_id, image.id, DB_ID_SIZE);
        if (fixture_add_job(f, 0, id) != 0)
            _exit(4);
        tell(fd, 'j', id);
        if (upload(f, "stored and deleted", &doomed) != 0 ||
            db_image_delete(f->db, f->store, doomed.id, &fixture_principal, NULL) != 0 ||
            cache_put(f->cache, text, 8, 8, table, NULL) != 0)
            _exit(5);
        /* Every other job stays in the queue for a later round. */
        if (i % 2 == 0 && run_one(f, fd) != 0)
            _exit(6);
        db_image_clear(&image);
        db_image_clear(&doomed);
    }
}

struct accepted {
    struct message items[N_ACCEPTED_MAX];
    size_t n_items;
};

/* Starts a child, kills it after `n` messages and reads the rest of what it said. */
static void crash(struct fixture *f, int round, int n, struct accepted *accepted)
{
    int ends[2], status = 0;
    assert_ok(pipe(ends));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        work(f, round, ends[1]);
    }
    close(ends[1]);
    struct message message;
    bool killed = false;
    for (int i = 0; read(ends[0], &message, sizeof(message)) == (ssize_t)sizeof(message); i++) {
        assert_true(accepted->n_items < N_ACCEPTED_MAX);
        accepted->items[accepted->n_items++] = message;
        if (i >= n && !killed) {
            assert_ok(kill(child, SIGKILL));
            killed = true;
        }
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status))
        fail_msg("the child ended by itself with status %d", WEXITSTATUS(status));
}

static void expect_job(struct fixture *f, const struct message *message)
{
    struct db_job job;
    bool exists = false;
    assert_ok(db_job_get(f->db, message->id, &job, &f->err));
    assert_int_equal(job.n_images, 1);
    if (message->kind == 'd')
        assert_int_equal(job.state, DB_JOB_SUCCEEDED);
    assert_ok(db_result_exists(f->db, message->id, job.image_ids[0], &exists, &f->err));
    /* No job has succeeded without its result. */
    if (job.state == DB_JOB_SUCCEEDED)
        assert_true(exists);
    db_job_clear(&job);
}

static void expect_accepted(struct fixture *f, const struct accepted *accepted)
{
    assert_ok(db_integrity_check(f->db, f->store, &f->err));
    /* A kill between storing and deleting leaves both the row and its file, never one of them. */
    struct db_image_list doomed;
    const struct db_page page = {.limit = 10};
    assert_ok(db_image_list(f->db, f->project_id, "stored and deleted", &page, &doomed, &f->err));
    assert_true(fixture_blob_exists(f, "stored and deleted") == (doomed.n_items == 1));
    db_image_list_clear(&doomed);
    for (size_t i = 0; i < accepted->n_items; i++) {
        const struct message *message = &accepted->items[i];
        struct db_image image;
        if (message->kind != 'i') {
            expect_job(f, message);
            continue;
        }
        assert_ok(db_image_get(f->db, message->id, &image, &f->err));
        assert_true(fixture_blob_exists(f, image.name));
        db_image_clear(&image);
    }
}

static void kills_lose_nothing_that_was_accepted(void **state)
{
    struct fixture *f = *state;
    static struct accepted accepted;
    struct db_job_counts counts;
    uint64_t n_requeued, n = 0;
    fixture_fill(f);
    fixture_close(f);
    unsigned random = 12345;
    for (int round = 0; round < N_ROUNDS; round++) {
        random = random * 1103515245 + 12345;
        crash(f, round, (int)(random >> 16) % 12, &accepted);
        if (round % 4 != 3)
            continue; /* the next child recovers */
        assert_ok(fixture_open(f));
        expect_accepted(f, &accepted);
        fixture_close(f);
    }
    /* Every accepted job ends exactly once. */
    assert_ok(fixture_open(f));
    assert_ok(db_job_requeue_expired(f->db, "", everyone_is_gone, &n_requeued, &f->err));
    for (;;) {
        struct db_job job;
        struct db_lease lease;
        int rc = db_job_claim(f->db, "w", 60000, &job, &lease, &f->err);
        if (rc == ERROR_NOT_FOUND)
            break;
        assert_ok(rc);
        assert_ok(db_job_finish(f->db, &lease, DB_JOB_CANCELLED, NULL, NULL, &f->err));
        db_job_clear(&job);
    }
    for (size_t i = 0; i < accepted.n_items; i++)
        n += accepted.items[i].kind == 'j';
    assert_ok(db_job_counts(f->db, &counts, &f->err));
    assert_int_equal(counts.n_queued + counts.n_running, 0);
    /* A kill between commit and message leaves at most one more job a round. */
    assert_in_range(fixture_count_jobs(f, DB_JOB_SUCCEEDED) +
                        fixture_count_jobs(f, DB_JOB_CANCELLED),
                    n, n + N_ROUNDS);
    expect_accepted(f, &accepted);
    print_message("%d kills, %zu accepted messages\n", N_ROUNDS, accepted.n_items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kills_lose_nothing_that_was_accepted, fixture_setup,
                                        fixture_teardown),
    };
    return test_run(tests);
}
