#include "engine/image/decode_guard.h"

#include <time.h>

/* A system call, unlike the other clocks. */
static uint64_t thread_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void decode_guard_init(struct decode_guard *guard, const struct image_request *request,
                       uint64_t work_size)
{
    const struct image_limits *limits = request->limits;
    *guard = (struct decode_guard){
        .cancel = request->cancel,
        .limit_ms = limits->decode_base_ms + limits->decode_ms_per_mib * (work_size >> 20),
        .began_ms = thread_ms(),
        .n_left = DECODE_GUARD_STEP,
    };
}

static int look(struct decode_guard *guard)
{
    if (cancel_is_asked(guard->cancel))
        return ERROR_CANCELLED;
    guard->spent_ms = thread_ms() - guard->began_ms;
    return guard->spent_ms > guard->limit_ms ? ERROR_INVALID : 0;
}

bool decode_guard_pass(struct decode_guard *guard, size_t n)
{
    if (guard->code == 0 && n >= guard->n_left) {
        guard->n_left = DECODE_GUARD_STEP;
        guard->code = look(guard);
    } else {
        guard->n_left -= n;
    }
    return guard->code == 0;
}

int decode_guard_result(const struct decode_guard *guard, struct error *err)
{
    switch (guard->code) {
    case ERROR_CANCELLED:
        return error_set(err, ERROR_CANCELLED, "image: the decoding was called off");
    case ERROR_INVALID:
        return error_set(err, ERROR_INVALID,
                         "image: decoding took %llu ms of processor time, over the limit of %llu "
                         "ms for its size",
                         (unsigned long long)guard->spent_ms, (unsigned long long)guard->limit_ms);
    }
    return 0;
}
