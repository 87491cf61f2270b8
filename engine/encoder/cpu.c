/* Which BLAS kernels this CPU deserves, and the one restart that gets them. */
#include "engine/encoder/cpu.h"

#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

static const char CORE_VARIABLE[] = "OPENBLAS_CORETYPE";
/* Set by the first process for the second, so that there is never a third. */
static const char RESTART_VARIABLE[] = "CHIPSHOT_BLAS_RESTARTED";

enum core_class { CORE_SSE, CORE_AVX, CORE_AVX2, CORE_AVX512 };

/* OpenBLAS's x86-64 names, by the widest instructions that their sgemm uses. */
static const struct {
    const char *name;
    enum core_class class;
} cores[] = {
    {"Katmai", CORE_SSE},        {"Coppermine", CORE_SSE},
    {"Northwood", CORE_SSE},     {"Prescott", CORE_SSE},
    {"Banias", CORE_SSE},        {"Atom", CORE_SSE},
    {"Core2", CORE_SSE},         {"Penryn", CORE_SSE},
    {"Dunnington", CORE_SSE},    {"Nehalem", CORE_SSE},
    {"Athlon", CORE_SSE},        {"Opteron", CORE_SSE},
    {"Opteron_SSE3", CORE_SSE},  {"Barcelona", CORE_SSE},
    {"Bobcat", CORE_SSE},        {"Nano", CORE_SSE},
    {"Sandybridge", CORE_AVX},   {"Bulldozer", CORE_AVX},
    {"Piledriver", CORE_AVX},    {"Steamroller", CORE_AVX},
    {"Haswell", CORE_AVX2},      {"Excavator", CORE_AVX2},
    {"Zen", CORE_AVX2},          {"SkylakeX", CORE_AVX512},
    {"Cooperlake", CORE_AVX512}, {"Sapphirerapids", CORE_AVX512},
};

const char *cpu_better_core(const char *current, bool avx2_fma, bool avx512)
{
    if (!avx2_fma)
        return NULL;
    const enum core_class offered = avx512 ? CORE_AVX512 : CORE_AVX2;
    for (size_t i = 0; i < sizeof(cores) / sizeof(cores[0]); i++) {
        if (strcasecmp(cores[i].name, current) != 0)
            continue;
        if (cores[i].class >= offered)
            return NULL;
        return avx512 ? "SkylakeX" : "Haswell";
    }
    return NULL;
}

void cpu_start_again(const char *core, char **argv)
{
    if (getenv(RESTART_VARIABLE) != NULL)
        return;
    /* The link is read first because tools that run a program for the user (valgrind) answer for
     * the program when the link is read, but not when it is executed. */
    char path[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (length <= 0)
        return;
    path[length] = '\0';
    if (setenv(RESTART_VARIABLE, "1", 1) != 0)
        return;
    if (setenv(CORE_VARIABLE, core, 1) == 0)
        execv(path, argv);
    unsetenv(CORE_VARIABLE);
    unsetenv(RESTART_VARIABLE);
}

#if defined(__x86_64__)

static const char *better_core_here(void)
{
    __builtin_cpu_init();
    const bool avx2_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    return cpu_better_core(openblas_get_corename(), avx2_fma, avx512);
}

#else

static const char *better_core_here(void)
{
    return NULL;
}

#endif

void cpu_select_blas_core(char **argv)
{
    const char *chosen_by_user = getenv(CORE_VARIABLE);
    if (chosen_by_user != NULL && chosen_by_user[0] != '\0')
        return;
    const char *core = better_core_here();
    if (core != NULL)
        cpu_start_again(core, argv);
}

const char *cpu_blas_core(void)
{
    return openblas_get_corename();
}
