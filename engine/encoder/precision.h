/* In which precision an encoder multiplies. float32 is exact to rounding and the default; bfloat16
 * rounds the operands of products to 8 significant bits and sums in float32; int8 rounds them to
 * steps, 255 up to the largest value of a map and 127 up to the largest weight of an output
 * channel, and sums exactly. A precision is offered only where the processor computes it faster
 * than float32. */
#ifndef CHIPSHOT_ENGINE_ENCODER_PRECISION_H
#define CHIPSHOT_ENGINE_ENCODER_PRECISION_H

#include <stdbool.h>

#include "base/error.h"

enum precision { PRECISION_FLOAT32, PRECISION_BFLOAT16, PRECISION_INT8, PRECISIONS };

/* "float32", "bfloat16" or "int8". */
const char *precision_name(enum precision precision);
/* ERROR_INVALID names the value and lists the names. */
int precision_parse(const char *name, enum precision *out, struct error *err);
/* ERROR_INVALID: this processor lacks what the precision needs; the message says what. */
int precision_check(enum precision precision, struct error *err);
/* The same for a processor that has, or has not, the instructions of the precision. */
int precision_check_on(enum precision precision, bool has_instructions, struct error *err);

#endif
