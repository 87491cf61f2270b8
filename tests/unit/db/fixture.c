#include "tests/unit/db/fixture.h"

#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <unistd.h>

#include <nettle/sha2.h>

#include "base/hex.h"
#include "db/sql/stmt.h"

const struct principal fixture_principal = {.id = "key_fixture", .name = "the tests"};

void fixture_directory(char out[512])
{
    const char *parent = getenv("TMPDIR");
    snprintf(out, 512, "%s/chipshot-db-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

void fixture_remove_directory(const char *directory)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int fixture_open_with(struct fixture *f, uint64_t cache_max_size)
{
    const struct data_config config = {.directory = f->directory, .cache_max_size = cache_max_size};
    int rc = data_open(&f->data, &config, &f->err);
    if (rc != 0)
        return rc;
    f->db = f->data->db;
    f->store = f->data->store;
    f->cache = f->data->cache;
    return 0;
}

int fixture_open(struct fixture *f)
{
    return fixture_open_with(f, 1 << 20);
}

void fixture_close(struct fixture *f)
{
    data_close(f->data);
    f->data = NULL;
    f->db = NULL;
    f->store = NULL;
    f->cache = NULL;
}

void fixture_reopen(struct fixture *f)
{
    fixture_close(f);
    if (fixture_open(f) != 0)
        fail_msg("data_open: %s", f->err.message);
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    fixture_directory(f->directory);
    *state = f;
    if (fixture_open(f) != 0)
        fail_msg("data_open: %s", f->err.message);
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    fixture_remove_directory(f->directory);
    free(f);
    return 0;
}

void fixture_add_project(struct fixture *f, const char *name, char id[DB_ID_SIZE])
{
    struct db_project project = {.name = (char *)name};
    assert_ok(db_project_insert(f->db, &project, &f->err));
    memcpy(id, project.id, DB_ID_SIZE);
}

/* A committed blob; the writer is the caller's to destroy. */
static struct store_writer *commit(struct fixture *f, const char *text, char sha256[DB_SHA256_SIZE])
{
    struct store_writer *writer = NULL;
    assert_ok(store_writer_create(&writer, f->store, &f->err));
    assert_ok(store_writer_write(writer, text, strlen(text), &f->err));
    store_writer_sha256(writer, sha256);
    assert_ok(store_writer_commit(writer, &f->err));
    return writer;
}

int fixture_add_image(struct fixture *f, const char *project_id, const char *text,
                      char id[DB_ID_SIZE])
{
    struct db_image image = {.format = "png",
                             .conversion = "none",
                             .width = 640,
                             .height = 480,
                             .bit_depth = 16,
                             .n_channels = 1,
                             .byte_size = strlen(text),
                             .pixel_size_nm = 0.25};
    bool existed = false;
    snprintf(image.project_id, sizeof(image.project_id), "%s", project_id);
    image.name = strdup("scan.png");
    struct store_writer *writer = commit(f, text, image.sha256);
    int rc = db_image_insert(f->db, f->store, &image, &existed, &f->err);
    store_writer_destroy(writer);
    if (rc == 0)
        memcpy(id, image.id, DB_ID_SIZE);
    db_image_clear(&image);
    return rc;
}

void fixture_fill(struct fixture *f)
{
    fixture_add_project(f, "alloys", f->project_id);
    assert_ok(fixture_add_image(f, f->project_id, "the first image", f->image_id));

    struct db_encoder encoder = {.name = strdup("resnet"),
                                 .architecture = "resnet18",
                                 .in_channels = 1,
                                 .input_size = 64,
                                 .encoding = "chips",
                                 .dimension = 512,
                                 .n_parameters = 11000000,
                                 .is_default = true};
    bool existed = false;
    struct store_writer *writer = commit(f, "the weights", encoder.sha256);
    encoder.byte_size = store_writer_size(writer);
    assert_ok(db_encoder_insert(f->db, f->store, &encoder, &existed, &f->err));
    store_writer_destroy(writer);
    memcpy(f->encoder_id, encoder.id, DB_ID_SIZE);
    db_encoder_clear(&encoder);

    struct db_example examples[2] = {{.x = 1, .y = 2}, {.x = 600, .y = 400}};
    struct db_class classes[2] = {
        {.name = (char *)"film", .color = {255, 0, 128}, .examples = examples, .n_examples = 2},
        {.name = (char *)"void", .color = {0, 1, 2}, .examples = examples, .n_examples = 1}};
    struct db_support_set set = {.name = (char *)"two phases",
                                 .chip_width = 34,
                                 .chip_height = 35,
                                 .classes = classes,
                                 .n_classes = 2};
    memcpy(examples[0].image_id, f->image_id, DB_ID_SIZE);
    memcpy(examples[1].image_id, f->image_id, DB_ID_SIZE);
    memcpy(set.project_id, f->project_id, DB_ID_SIZE);
    assert_ok(db_support_set_insert(f->db, &set, &f->err));
    memcpy(f->support_set_id, set.id, DB_ID_SIZE);
}

int fixture_add_job(struct fixture *f, int32_t priority, char id[DB_ID_SIZE])
{
    struct db_job job = {.support_set_version = 1,
                         .params = (char *)"{}",
                         .priority = priority,
                         .image_ids = &f->image_id,
                         .n_images = 1,
                         .n_chips_total = 100};
    memcpy(job.project_id, f->project_id, DB_ID_SIZE);
    memcpy(job.support_set_id, f->support_set_id, DB_ID_SIZE);
    memcpy(job.encoder_id, f->encoder_id, DB_ID_SIZE);
    int rc = db_job_insert(f->db, &job, 10000, NULL, NULL, &f->err);
    if (rc == 0)
        memcpy(id, job.id, DB_ID_SIZE);
    return rc;
}

uint64_t fixture_count_jobs(struct fixture *f, enum db_job_state state)
{
    char last[DB_ID_SIZE];
    struct db_page page = {.limit = 1000};
    struct db_job_list list;
    uint64_t n = 0;
    bool more = true;
    while (more) {
        assert_ok(db_job_list(f->db, f->project_id, &state, &page, &list, &f->err));
        n += list.n_items;
        more = list.more;
        if (more)
            memcpy(last, list.items[list.n_items - 1].id, DB_ID_SIZE);
        page.after_id = last;
        db_job_list_clear(&list);
    }
    return n;
}

void fixture_one_chip(const struct fixture *f, const char *job_id, struct fixture_result *out)
{
    *out = (struct fixture_result){.quantity = {0, "n_chips", "", 1, NAN, NAN},
                                   .probability = 1,
                                   .distance = 1,
                                   .result = {.rows = 1,
                                              .columns = 1,
                                              .edge = "drop",
                                              .n_classes = 1,
                                              .temperature = 1,
                                              .quantities = &out->quantity,
                                              .n_quantities = 1,
                                              .labels = &out->label,
                                              .probabilities = &out->probability,
                                              .distances = &out->distance}};
    memcpy(out->result.job_id, job_id, DB_ID_SIZE);
    memcpy(out->result.image_id, f->image_id, DB_ID_SIZE);
}

bool fixture_w_is_gone(const char *owner)
{
    return strcmp(owner, "w") == 0;
}

void fixture_path(const struct fixture *f, const char *name, char out[700])
{
    snprintf(out, 700, "%s/%s", f->directory, name);
}

void fixture_write_file(const struct fixture *f, const char *name, const char *text)
{
    char path[700];
    fixture_path(f, name, path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

size_t fixture_read_file(const struct fixture *f, const char *name, char *out, size_t size)
{
    char path[700];
    fixture_path(f, name, path);
    FILE *file = fopen(path, "rb");
    size_t n = file != NULL ? fread(out, 1, size, file) : 0;
    if (file != NULL)
        fclose(file);
    return n;
}

void fixture_edit(struct fixture *f, const char *sql)
{
    char path[600];
    struct db_connection *connection = NULL;
    snprintf(path, sizeof(path), "%s/chipshot.sqlite", f->directory);
    assert_ok(db_connection_open(&connection, path, DB_CONNECTION_WRITER, &f->err));
    if (db_connection_run_script(connection, "editing", sql, &f->err) != 0)
        fail_msg("%s", f->err.message);
    db_connection_close(connection);
}

void fixture_sha256(const char *text, char out[DB_SHA256_SIZE])
{
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&hash);
    sha256_update(&hash, strlen(text), (const uint8_t *)text);
    sha256_digest(&hash, sizeof(digest), digest);
    hex_encode(digest, sizeof(digest), out);
}

bool fixture_blob_exists(const struct fixture *f, const char *text)
{
    char sha256[DB_SHA256_SIZE], path[700];
    fixture_sha256(text, sha256);
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", f->directory, sha256, sha256);
    return access(path, F_OK) == 0;
}

size_t fixture_n_temporary(const char *directory)
{
    char path[700];
    size_t n = 0;
    snprintf(path, sizeof(path), "%s/tmp", directory);
    DIR *stream = opendir(path);
    assert_non_null(stream);
    for (const struct dirent *e = readdir(stream); e != NULL; e = readdir(stream))
        n += e->d_name[0] != '.';
    closedir(stream);
    return n;
}
