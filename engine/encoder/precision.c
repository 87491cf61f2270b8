#include "engine/encoder/precision.h"

#include <string.h>

#include "engine/encoder/kernels/kernels.h"

static const char *const names[PRECISIONS] = {"float32", "bfloat16"};

const char *precision_name(enum precision precision)
{
    return names[precision];
}

int precision_parse(const char *name, enum precision *out, struct error *err)
{
    for (enum precision i = 0; i < PRECISIONS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, "precision '%.50s' is not float32 or bfloat16", name);
}

int precision_check_on(enum precision precision, bool avx512_bf16, struct error *err)
{
    if (precision == PRECISION_BFLOAT16 && !avx512_bf16)
        return error_set(err, ERROR_INVALID,
                         "precision 'bfloat16' is not offered here: the processor lacks "
                         "AVX512_BF16, without which it is no faster than float32");
    return 0;
}

int precision_check(enum precision precision, struct error *err)
{
    return precision_check_on(precision, kernels_bfloat16() != NULL, err);
}
