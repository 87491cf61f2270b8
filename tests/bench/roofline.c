/* The ceilings of this machine: `make roofline` prints them as a table in Markdown.
 *
 * Arithmetic: fused multiply-adds on registers alone, also of the reduced precisions that the
 * processor has instructions for, and OpenBLAS's matrix product, which a GEMM
 * of the encoder can at best reach. Memory: the triad a = b + s * c (McCalpin's STREAM) on arrays
 * that fit each cache and on arrays that fit none, counting three arrays' bytes; what the caches
 * fetch before writing is not counted. On n threads each has arrays and matrices of its own, as the
 * encoder's workers do. A figure is the best of some rounds: a ceiling is what can be reached, and
 * disturbances only lower it.
 *
 * Usage: roofline [MILLISECONDS a round] */
#include <cblas.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    THREADS_MAX = 256,
    ROUNDS = 12,
    FMA_ITERATIONS = 20000,
    /* Chains of dependent operations: enough to hide the latency, few enough for 16 registers. */
    FMA_CHAINS = 12,
    TRIAD_UNROLLED = 4,                /* vectors */
    TRIAD_BLOCK = 16 * TRIAD_UNROLLED, /* floats: an array is a multiple of it */
    TRIAD_FLOATS_MIN = 64 * 1024,      /* of one step: a short one would measure the clock */
    ALIGNMENT = 64,
};

/* One thread's arrays, and one step of the work, which returns its flops or bytes. */
struct work {
    double (*step)(struct work *work);
    float *a, *b, *c;
    size_t n; /* floats of an array, or the side of a matrix */
};

struct thread {
    struct work work;
    pthread_barrier_t *start;
    double seconds; /* least length of a round */
    double rate;
};

/* What the compiler must believe to be used. */
static volatile float sink;

static double now_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ---- arithmetic ---- */

#if defined(__x86_64__)

/* A step named `name` that runs `step(sum)` on chains of sums of the type vec, each of n products
 * and additions; `to_float` takes their total. */
#define CHAINS(name, instructions, vec, start, step, add, to_float, n)                             \
    __attribute__((target(instructions))) static double name(struct work *work)                    \
    {                                                                                              \
        (void)work;                                                                                \
        vec sums[FMA_CHAINS];                                                                      \
        for (int i = 0; i < FMA_CHAINS; i++)                                                       \
            sums[i] = start(i);                                                                    \
        for (int k = 0; k < FMA_ITERATIONS; k++) {                                                 \
            _Pragma("GCC unroll 12") for (int i = 0; i < FMA_CHAINS; i++) sums[i] = step(sums[i]); \
        }                                                                                          \
        for (int i = 1; i < FMA_CHAINS; i++)                                                       \
            sums[0] = add(sums[0], sums[i]);                                                       \
        sink = to_float(sums[0]);                                                                  \
        return 2.0 * (n)*FMA_CHAINS * FMA_ITERATIONS;                                              \
    }

#define START_512(i)  _mm512_set1_ps((float)(i))
#define STEP_512(sum) _mm512_fmadd_ps(sum, _mm512_set1_ps(0.999f), _mm512_set1_ps(0.001f))
CHAINS(fma_avx512, "avx512f", __m512, START_512, STEP_512, _mm512_add_ps, _mm512_cvtss_f32, 16)

#define START_256(i)  _mm256_set1_ps((float)(i))
#define STEP_256(sum) _mm256_fmadd_ps(sum, _mm256_set1_ps(0.999f), _mm256_set1_ps(0.001f))
CHAINS(fma_avx2, "avx2,fma", __m256, START_256, STEP_256, _mm256_add_ps, _mm256_cvtss_f32, 8)

/* Pairs of bfloat16 values: those of a float32 word whose halves are equal. */
#define PAIRS          (__m512bh) _mm512_set1_epi32(0x3f803f80)
#define STEP_BF16(sum) _mm512_dpbf16_ps(sum, PAIRS, PAIRS)
CHAINS(dot_bfloat16, "avx512f,avx512bf16", __m512, START_512, STEP_BF16, _mm512_add_ps,
       _mm512_cvtss_f32, 32)

#define START_INT8(i)   _mm512_set1_epi32(i)
#define STEP_INT8(sum)  _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(3), _mm512_set1_epi8(-5))
#define FLOAT_INT8(sum) (float)_mm512_cvtsi512_si32(sum)
CHAINS(dot_int8, "avx512f,avx512bw,avx512vnni", __m512i, START_INT8, STEP_INT8, _mm512_add_epi32,
       FLOAT_INT8, 64)

#endif

static double matrix_product(struct work *work)
{
    const int n = (int)work->n;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, work->a, n, work->b, n, 0,
                work->c, n);
    return 2.0 * n * n * n;
}

/* ---- memory ---- */

/* As wide as the widest registers; the compiler splits it where they are narrower. */
typedef float lanes __attribute__((vector_size(64), may_alias));

__attribute__((always_inline)) static inline double triad(struct work *work)
{
    lanes *a = (lanes *)work->a;
    const lanes *b = (const lanes *)work->b, *c = (const lanes *)work->c;
    const size_t n_lanes = work->n * sizeof(float) / sizeof(lanes);
    const size_t n_passes = 1 + TRIAD_FLOATS_MIN / work->n;
    for (size_t pass = 0; pass < n_passes; pass++) {
        const float scale = 0.5f + (float)pass;
        for (size_t i = 0; i < n_lanes; i += TRIAD_UNROLLED) {
#pragma GCC unroll 4
            for (size_t k = 0; k < TRIAD_UNROLLED; k++)
                a[i + k] = b[i + k] + scale * c[i + k];
        }
        /* So that no pass is left out. */
        __asm__ volatile("" ::: "memory");
    }
    return 3.0 * sizeof(float) * (double)(work->n * n_passes);
}

static double triad_plain(struct work *work)
{
    return triad(work);
}

#if defined(__x86_64__)

__attribute__((target("avx512f,prefer-vector-width=512"))) static double
triad_avx512(struct work *work)
{
    return triad(work);
}

__attribute__((target("avx2"))) static double triad_avx2(struct work *work)
{
    return triad(work);
}

#endif

/* ---- measuring ---- */

/* On the thread that will use them, so that they lie in its memory. */
static bool allocate(struct work *work, size_t n_floats)
{
    float **const arrays[] = {&work->a, &work->b, &work->c};
    const size_t n_bytes = (n_floats * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    for (size_t i = 0; i < 3; i++) {
        *arrays[i] = aligned_alloc(ALIGNMENT, n_bytes);
        if (*arrays[i] == NULL)
            return false;
        for (size_t k = 0; k < n_floats; k++)
            (*arrays[i])[k] = 0.25f + (float)(k % 17) / 16;
    }
    return true;
}

static double rate_of_a_round(struct work *work, double seconds)
{
    const double start = now_seconds();
    double amount = 0, elapsed;
    do {
        amount += work->step(work);
        elapsed = now_seconds() - start;
    } while (elapsed < seconds);
    return amount / elapsed;
}

static void *run_thread(void *argument)
{
    struct thread *thread = argument;
    struct work *work = &thread->work;
    const bool square = work->step == matrix_product;
    if (!allocate(work, square ? work->n * work->n : work->n)) {
        fprintf(stderr, "roofline: out of memory\n");
        exit(1);
    }
    rate_of_a_round(work, thread->seconds / 4);
    pthread_barrier_wait(thread->start);
    thread->rate = rate_of_a_round(work, thread->seconds);
    free(work->a);
    free(work->b);
    free(work->c);
    return NULL;
}

static double measure_once(const struct work *work, uint32_t n_threads, double seconds)
{
    static struct thread threads[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, n_threads);
    for (uint32_t i = 0; i < n_threads; i++) {
        threads[i] = (struct thread){.work = *work, .start = &start, .seconds = seconds};
        if (pthread_create(&ids[i], NULL, run_thread, &threads[i]) != 0) {
            fprintf(stderr, "roofline: thread %" PRIu32 " could not be started\n", i + 1);
            exit(1);
        }
    }
    double rate = 0;
    for (uint32_t i = 0; i < n_threads; i++) {
        pthread_join(ids[i], NULL);
        rate += threads[i].rate;
    }
    pthread_barrier_destroy(&start);
    return rate;
}

/* In units of 1e9 a second. */
static double measure(const struct work *work, uint32_t n_threads, double seconds)
{
    double best = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const double rate = measure_once(work, n_threads, seconds);
        best = rate > best ? rate : best;
    }
    return best / 1e9;
}

/* ---- the table ---- */

struct machine {
    uint32_t n_threads;
    double seconds;
    size_t caches[3]; /* bytes; a usual size where the system does not say */
    double (*triad)(struct work *work);
};

/* What both columns measured. */
struct ceiling {
    double one, all;
};

/* `shared`: the arrays of all threads together are as large as those of one. */
static struct ceiling print_row(const struct machine *machine, const char *name, const char *unit,
                                struct work work, bool shared)
{
    struct ceiling ceiling = {.one = measure(&work, 1, machine->seconds)};
    if (shared)
        work.n = work.n / machine->n_threads / TRIAD_BLOCK * TRIAD_BLOCK;
    if (work.n < TRIAD_BLOCK)
        work.n = TRIAD_BLOCK;
    ceiling.all =
        machine->n_threads > 1 ? measure(&work, machine->n_threads, machine->seconds) : ceiling.one;
    printf("| %s | %.0f | %.0f | %s |\n", name, ceiling.one, ceiling.all, unit);
    fflush(stdout);
    return ceiling;
}

/* A word that the kernel says of one of the first processor's caches. */
static bool read_cache_word(int index, const char *name, char word[32])
{
    char path[96];
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    const bool found = fscanf(file, "%31s", word) == 1;
    fclose(file);
    return found;
}

/* Bytes of the data cache of a level; a usual size where the kernel says nothing. (sysconf counts
 * the last level of a whole socket, of which a virtual machine has a part.) */
static size_t cache_size(unsigned level, size_t usual)
{
    char word[32];
    for (int i = 0; read_cache_word(i, "level", word); i++) {
        if (strtoul(word, NULL, 10) != level || !read_cache_word(i, "type", word) ||
            strcmp(word, "Instruction") == 0 || !read_cache_word(i, "size", word))
            continue;
        const size_t kib = strtoul(word, NULL, 10);
        return kib > 0 ? kib << 10 : usual;
    }
    return usual;
}

static void describe(struct machine *machine)
{
    const long n_processors = sysconf(_SC_NPROCESSORS_ONLN);
    machine->n_threads = n_processors < 1 ? 1 : (uint32_t)n_processors;
    if (machine->n_threads > THREADS_MAX)
        machine->n_threads = THREADS_MAX;
    machine->caches[0] = cache_size(1, 32 << 10);
    machine->caches[1] = cache_size(2, 1 << 20);
    machine->caches[2] = cache_size(3, 32 << 20);
    char line[256], model[200] = "unknown";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "model name : %199[^\n]", model) == 1)
            break;
    }
    if (file != NULL)
        fclose(file);
    printf("Machine: %s, %" PRIu32 " processors; caches of %zu KiB, %zu KiB and %zu KiB; OpenBLAS "
           "core %s.\n\n",
           model, machine->n_threads, machine->caches[0] >> 10, machine->caches[1] >> 10,
           machine->caches[2] >> 10, openblas_get_corename());
}

static void print_arithmetic(struct machine *machine)
{
    machine->triad = triad_plain;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        print_row(machine, "multiply-add on registers, AVX2", "GFLOP/s",
                  (struct work){.step = fma_avx2, .n = TRIAD_BLOCK}, false);
        machine->triad = triad_avx2;
    }
    if (__builtin_cpu_supports("avx512f")) {
        print_row(machine, "multiply-add on registers, AVX-512", "GFLOP/s",
                  (struct work){.step = fma_avx512, .n = TRIAD_BLOCK}, false);
        machine->triad = triad_avx512;
    }
    if (__builtin_cpu_supports("avx512bf16"))
        print_row(machine, "multiply-add of bfloat16 on registers, AVX512_BF16", "GFLOP/s",
                  (struct work){.step = dot_bfloat16, .n = TRIAD_BLOCK}, false);
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw"))
        print_row(machine, "multiply-add of int8 on registers, AVX512_VNNI", "GOP/s",
                  (struct work){.step = dot_int8, .n = TRIAD_BLOCK}, false);
#endif
}

static struct ceiling print_products(const struct machine *machine)
{
    struct ceiling best = {0};
    static const size_t sides[] = {128, 512, 2048};
    for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++) {
        char name[64];
        snprintf(name, sizeof(name), "matrix product (sgemm), %zu x %zu", sides[i], sides[i]);
        const struct ceiling ceiling = print_row(
            machine, name, "GFLOP/s", (struct work){.step = matrix_product, .n = sides[i]}, false);
        best.one = ceiling.one > best.one ? ceiling.one : best.one;
        best.all = ceiling.all > best.all ? ceiling.all : best.all;
    }
    return best;
}

static void print_memory(const struct machine *machine, struct ceiling product)
{
    /* Two thirds of a core's own caches; of the last level a third (what else runs on the machine
     * is there too); and four times the last level. */
    const size_t n_bytes[] = {machine->caches[0] * 2 / 3, machine->caches[1] * 2 / 3,
                              machine->caches[2] / 3, machine->caches[2] * 4};
    static const char *const names[] = {"first-level cache", "second-level cache",
                                        "last-level cache", "memory"};
    struct ceiling ceilings[4];
    for (size_t i = 0; i < 4; i++) {
        char name[96];
        snprintf(name, sizeof(name), "triad, %s (%zu KiB%s)", names[i], n_bytes[i] >> 10,
                 i < 2 ? " a thread" : " in all");
        const size_t n = n_bytes[i] / 3 / sizeof(float) / TRIAD_BLOCK * TRIAD_BLOCK;
        ceilings[i] =
            print_row(machine, name, "GB/s", (struct work){.step = machine->triad, .n = n}, i >= 2);
    }
    printf("\nWork of fewer operations a byte than the following is bound by memory and not by the "
           "matrix product:\n");
    for (size_t i = 0; i < 4; i++)
        printf("%s %.1f (%" PRIu32 " threads: %.1f)%s\n", names[i], product.one / ceilings[i].one,
               machine->n_threads, product.all / ceilings[i].all, i < 3 ? "," : ".");
}

int main(int argc, char **argv)
{
    unsigned long milliseconds = 50;
    char *end = NULL;
    if (argc > 1)
        milliseconds = strtoul(argv[1], &end, 10);
    if (argc > 2 || milliseconds < 1 || milliseconds > 10000 || (end != NULL && *end != '\0')) {
        fprintf(stderr, "usage: roofline [MILLISECONDS a round, 1..10000]\n");
        return 2;
    }
    openblas_set_num_threads(1);
    struct machine machine = {.seconds = (double)milliseconds / 1e3};
    describe(&machine);
    printf("| ceiling | 1 thread | %" PRIu32 " threads | unit |\n| --- | ---: | ---: | --- |\n",
           machine.n_threads);
    print_arithmetic(&machine);
    print_memory(&machine, print_products(&machine));
    return 0;
}
