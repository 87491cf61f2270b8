/* Choice of the BLAS kernels. OpenBLAS picks kernels by CPU model; older releases do not know newer
 * CPUs and fall back to SSE3 code eight times slower. OPENBLAS_CORETYPE is read when the library
 * loads, so the process sets it and starts itself again, once. */
#ifndef CHIPSHOT_ENGINE_ENCODER_CPU_H
#define CHIPSHOT_ENGINE_ENCODER_CPU_H

#include <stdbool.h>

/* Call first in main. When OpenBLAS chose a core that is worse than what cpuid offers (and the user
 * did not set OPENBLAS_CORETYPE), sets the variable and executes /proc/self/exe again with the same
 * arguments; returns if nothing was to be done or exec failed. */
void cpu_select_blas_core(char **argv);

/* The OpenBLAS core to ask for instead of `current` on a CPU with these instruction sets (AVX-512:
 * F, CD, BW, DQ and VL), or NULL when `current` is of that class or a name that is not known here.
 */
const char *cpu_better_core(const char *current, bool avx2_fma, bool avx512);

/* Executes this program again with OPENBLAS_CORETYPE=core; returns when that failed, or when this
 * process is such a second start already. */
void cpu_start_again(const char *core, char **argv);

/* The core whose kernels are in use, e.g. "SkylakeX". */
const char *cpu_blas_core(void);

#endif
