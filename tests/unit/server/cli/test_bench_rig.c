/* The rig of `chipshot bench job`: what it says a job's parts took. */
#include "tests/unit/db/fixture.h"

#include <sched.h>

#include "engine/image/png_write.h"
#include "server/cli/assets.h"
#include "server/cli/bench/bench_rig.h"

enum { SIDE = 64, CHIP = 16, RUNS = 100 };

/* With one processor the driver that ended the last job often claims the next one before the thread
 * that queued it gets on. */
static void take_one_processor(void)
{
    cpu_set_t allowed, one;
    assert_ok(sched_getaffinity(0, sizeof(allowed), &allowed));
    int first = 0;
    while (!CPU_ISSET(first, &allowed))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_ok(sched_setaffinity(0, sizeof(one), &one));
}

static void add_image(struct bench_rig *rig, struct bench_image *out, struct error *err)
{
    uint16_t pixels[SIDE * SIDE];
    struct png_bytes png = {0};
    for (size_t i = 0; i < SIDE * SIDE; i++)
        pixels[i] = (uint16_t)(i * 40503u);
    assert_ok(png_write_grey16(pixels, SIDE, SIDE, 1, &png, err));
    assert_ok(bench_rig_add_image(rig, png.data, png.size, out, err));
    png_bytes_clear(&png);
}

static void jobs_that_follow_at_once_have_times_that_fit(void **state)
{
    (void)state;
    static struct bench_rig rig;
    struct error err = {0};
    struct bench_image image;
    struct bench_example examples[2] = {{0, 0, 0}, {1, CHIP, CHIP}};
    const struct bench_support support = {CHIP, CHIP, 2, examples, 2};
    char set[DB_ID_SIZE];
    take_one_processor();
    assert_ok(bench_rig_open(&rig, asset_encoder, (size_t)(asset_encoder_end - asset_encoder), 2,
                             ENCODING_OWN, &err));
    add_image(&rig, &image, &err);
    assert_ok(bench_rig_add_support(&rig, &image, &support, BENCH_SET_AS_GIVEN, set, &err));
    for (int i = 0; i < RUNS; i++) {
        struct bench_run run;
        assert_ok(bench_rig_run(&rig, &image, &support, set, 0, &run, &err));
        assert_int_equal(run.n_chips, SIDE / CHIP * (SIDE / CHIP));
        assert_true(run.start_seconds >= 0);
        assert_true((run.first_batch_seconds > run.start_seconds) == (i == 0)); /* cached later */
        /* Whatever goes on beside it, these follow one another. */
        assert_true(run.start_seconds + run.parts[JOB_PART_LOAD] + run.parts[JOB_PART_CLASSIFY] +
                        run.parts[JOB_PART_STORE] <=
                    run.seconds);
    }
    bench_rig_close(&rig);
}

static void a_refused_picture_is_told_with_its_status(void **state)
{
    (void)state;
    static struct bench_rig rig;
    struct error err = {0};
    const struct bench_image image = {.id = "img_00000000000000000000000000"};
    const struct bench_run run = {.job_id = "job_00000000000000000000000000"};
    double seconds;
    assert_ok(bench_rig_open(&rig, asset_encoder, (size_t)(asset_encoder_end - asset_encoder), 1,
                             ENCODING_OWN, &err));
    assert_int_equal(bench_rig_render(&rig, &image, &run, &seconds, &err), ERROR_INVALID);
    assert_string_equal(err.message, "/v1/jobs/job_00000000000000000000000000/results/"
                                     "img_00000000000000000000000000/labels.png: status 404");
    bench_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_that_follow_at_once_have_times_that_fit),
        cmocka_unit_test(a_refused_picture_is_told_with_its_status),
    };
    return test_run(tests);
}
