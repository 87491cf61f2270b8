#include "engine/encoder/precision.h"

#include <string.h>

#include "engine/encoder/kernels/int8.h"

static const char *const names[PRECISIONS] = {
    [PRECISION_FLOAT32] = "float32", [PRECISION_BFLOAT16] = "bfloat16", [PRECISION_INT8] = "int8"};

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
    return error_set(err, ERROR_INVALID, "precision '%.50s' is not float32, bfloat16 or int8",
                     name);
}

int precision_check_on(enum precision precision, bool has_instructions, struct error *err)
{
    static const char *const instructions[PRECISIONS] = {
        [PRECISION_BFLOAT16] = "AVX512_BF16", [PRECISION_INT8] = "AVX512_VNNI"};
    if (instructions[precision] != NULL && !has_instructions)
        return error_set(err, ERROR_INVALID,
                         "precision '%s' is not offered here: the processor lacks %s, without "
                         "which it is no faster than float32",
                         names[precision], instructions[precision]);
    return 0;
}

int precision_check(enum precision precision, struct error *err)
{
    const bool has[PRECISIONS] = {
        [PRECISION_FLOAT32] = true,
        [PRECISION_BFLOAT16] = kernels_bfloat16() != NULL,
        [PRECISION_INT8] = int8_kernels() != NULL,
    };
    return precision_check_on(precision, has[precision], err);
}
