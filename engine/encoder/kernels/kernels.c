/* The choice of the kernels. */
#include "engine/encoder/kernels/kernels.h"

#include <string.h>

#include "engine/encoder/kernels/int8.h"

static const struct kernels *const all[] = {
#if defined(__x86_64__)
    &kernels_avx512_bf16, &kernels_avx512, &kernels_avx2,
#elif defined(__aarch64__)
    &kernels_neon,
#endif
    &kernels_portable,    &kernels_scalar,
};

static bool runs_here(const struct kernels *kernels)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (kernels == &kernels_avx512)
        return avx512;
    if (kernels == &kernels_avx512_bf16)
        return avx512 && __builtin_cpu_supports("avx512bf16");
    if (kernels == &kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    (void)kernels;
    return true;
}

const struct kernels *kernels_best(void)
{
    size_t i = 0;
    while (all[i]->make_pairs != NULL || !runs_here(all[i]))
        i++;
    return all[i];
}

const struct kernels *kernels_bfloat16(void)
{
#if defined(__x86_64__)
    return runs_here(&kernels_avx512_bf16) ? &kernels_avx512_bf16 : NULL;
#else
    return NULL;
#endif
}

const struct int8_kernels *int8_kernels(void)
{
#if defined(__x86_64__)
    if (runs_here(&kernels_avx512) && __builtin_cpu_supports("avx512vnni"))
        return &int8_avx512_vnni;
#endif
    return NULL;
}

const struct kernels *kernels_named(const char *name)
{
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(all[i]->name, name) == 0)
            return runs_here(all[i]) ? all[i] : NULL;
    }
    return NULL;
}
