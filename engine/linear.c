/* OpenBLAS chooses its core while it is loaded, from a table of the processors that its release
 * knew or from OPENBLAS_CORETYPE. A linked library is loaded before the first line of the program
 * runs, which then could only start itself anew with the variable set. So it is not linked but
 * loaded by linear_load, with the variable set meanwhile: no second start, and nothing is left
 * behind in the environment of programs that are started later. The core follows from the
 * instructions of the processor alone, so equal machines compute equal bytes, whatever release they
 * have (ADR 24).
 */
#include "engine/linear.h"

#include <cblas.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char LIBRARY[] = "libopenblas.so.0";
static const char CORE[] = "OPENBLAS_CORETYPE", THREADS[] = "OPENBLAS_NUM_THREADS";

/* LAPACK as Fortran has it; its lengths of strings are not read for single letters. */
typedef void (*lapack_on_triangle)(const char *uplo, const blasint *n, double *a,
                                   const blasint *lda, blasint *info);

/* What is used of the library. Written by load_once alone. */
static struct {
    const char *failure; /* NULL: it is there */
    const char *core;
    __typeof__(cblas_dgemm) *dgemm;
    lapack_on_triangle dpotrf, dpotri;
} blas = {.core = "none"};
static pthread_once_t loaded = PTHREAD_ONCE_INIT;
/* A variant without threads is not made for callers on several. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* NULL: OpenBLAS knows best. */
static const char *core_for_processor(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "Haswell";
#endif
    return NULL;
}

/* A variable that is set for a time, unless it is set already. */
static bool set_for_now(const char *name, const char *value)
{
    return value != NULL && getenv(name) == NULL && setenv(name, value, 1) == 0;
}

static void *open_library(void)
{
    const bool core = set_for_now(CORE, core_for_processor());
    const bool threads = set_for_now(THREADS, "1"); /* it would start as many as there are cores */
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (core)
        unsetenv(CORE);
    if (threads)
        unsetenv(THREADS);
    return library;
}

static void *find(void *library, const char *name)
{
    void *symbol = library == NULL ? NULL : dlsym(library, name);
    if (symbol == NULL && blas.failure == NULL)
        blas.failure = dlerror(); /* the library is never closed, and nothing else is opened */
    return symbol;
}

static void load_once(void)
{
    void *library = open_library();
    __typeof__(openblas_get_corename) *corename;
    __typeof__(openblas_set_num_threads) *set_threads;
    corename = (__typeof__(corename))find(library, "openblas_get_corename");
    set_threads = (__typeof__(set_threads))find(library, "openblas_set_num_threads");
    blas.dgemm = (__typeof__(blas.dgemm))find(library, "cblas_dgemm");
    blas.dpotrf = (lapack_on_triangle)find(library, "dpotrf_");
    blas.dpotri = (lapack_on_triangle)find(library, "dpotri_");
    if (blas.failure != NULL)
        return;
    set_threads(1);
    blas.core = corename();
}

int linear_load(struct error *err)
{
    pthread_once(&loaded, load_once);
    return blas.failure == NULL ? 0
                                : error_set(err, ERROR_IO, "linear algebra: %.300s", blas.failure);
}

const char *linear_core(void)
{
    pthread_once(&loaded, load_once);
    return blas.core;
}

static uint32_t rows_of(const struct linear_matrix *matrix)
{
    return matrix->form == LINEAR_AS_IS ? matrix->rows : matrix->columns;
}

static uint32_t columns_of(const struct linear_matrix *matrix)
{
    return matrix->form == LINEAR_AS_IS ? matrix->columns : matrix->rows;
}

static CBLAS_TRANSPOSE form_of(const struct linear_matrix *matrix)
{
    return matrix->form == LINEAR_AS_IS ? CblasNoTrans : CblasTrans;
}

int linear_multiply(const struct linear_matrix *a, const struct linear_matrix *b, double *out,
                    struct error *err)
{
    int rc = linear_load(err);
    if (rc < 0)
        return rc;
    const blasint n = (blasint)columns_of(b);
    pthread_mutex_lock(&turn);
    blas.dgemm(CblasRowMajor, form_of(a), form_of(b), (blasint)rows_of(a), n,
               (blasint)columns_of(a), 1.0, a->values, (blasint)a->columns, b->values,
               (blasint)b->columns, 0.0, out, n);
    pthread_mutex_unlock(&turn);
    return 0;
}

/* Of a copy whose rows begin at lines of the cache: old kernels sum in another order where numbers
 * lie otherwise in memory. A lower triangle by rows is Fortran's upper one. */
static int invert(double *copy, uint32_t n, uint32_t stride)
{
    const blasint order = (blasint)n, lda = (blasint)stride;
    blasint info = 0;
    pthread_mutex_lock(&turn);
    blas.dpotrf("U", &order, copy, &lda, &info);
    if (info == 0)
        blas.dpotri("U", &order, copy, &lda, &info);
    pthread_mutex_unlock(&turn);
    return (int)info;
}

int linear_invert(double *matrix, uint32_t n, struct error *err)
{
    enum { LINE = 64, VALUES = LINE / sizeof(double) };
    const uint32_t stride = (n + VALUES - 1) / VALUES * VALUES;
    int rc = linear_load(err);
    if (rc < 0)
        return rc;
    double *copy = aligned_alloc(LINE, (size_t)n * stride * sizeof(*copy));
    if (copy == NULL)
        return error_set_nomem(err, "the inverse of a matrix");
    for (size_t i = 0; i < n; i++)
        memcpy(copy + i * stride, matrix + i * n, n * sizeof(*copy));
    if (invert(copy, n, stride) != 0) {
        rc = error_set(err, ERROR_INVALID, "a matrix of %u rows is not positive definite", n);
    } else {
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j <= i; j++)
                matrix[i * n + j] = matrix[j * n + i] = copy[i * stride + j];
        }
    }
    free(copy);
    return rc;
}
