/* All parameters of a job with defaults filled in: what is stored with the job, and what the worker
 * reads back. One JSON text, canonical (sorted keys, compact), so that equal jobs have equal texts.
 */
#ifndef CHIPSHOT_API_JOB_PARAMS_H
#define CHIPSHOT_API_JOB_PARAMS_H

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "engine/embed.h"
#include "engine/fewshot/borders.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/smoothing.h"
#include "engine/image/chip_grid.h"
#include "engine/image/mask/mask_parts.h"
#include "engine/image/normalise.h"

struct job_params {
    struct grid_params grid; /* chip size from the support set; strides filled in */
    struct normalise_params normalise;
    struct classifier_params classifier;
    struct input_sizes input_sizes; /* filled in from the encoder; none: left out of the text */
    enum encoding encoding;         /* likewise; ENCODING_OWN until then */
    enum precision precision;
    enum smoothing smoothing;
    enum mask_proposals proposals; /* of what is left out of the images */
    enum borders borders;
    bool unknown;
    enum reference_choice reference; /* for a request REFERENCE_AUTO by default */
};

/* {"chip":{"width","height"},"stride":{"x","y"},"offset":{"x","y"},"edge":"drop"|"cover",
 *  "normalise":{"method","low","high","outliers":"replace"|"keep"},"flatten":null|{"method",
 *  "order" or "scale"},"clahe":null|{"clip_limit","tiles"},
 *  "classifier":{"distance","transform","temperature":"auto"|number},
 *  "input_sizes":[pixels, ...],"encoding":"chips"|"dense",
 *  "precision":"float32"|"bfloat16"|"int8",
 *  "mask":{"proposed":true|false},"head":"auto"|"prototypes"|"ridge",
 *  "borders":"assign"|"off","unknown":true|false,"smoothing":"off"|"auto"|"on",
 *  "reference":"auto"|"image"|"support"|"series", or "target"} */
json_t *job_params_to_json(const struct job_params *params);
/* A stored text as clients see it: what its time left unsaid is said. NULL on allocation failure,
 * and when the text is no JSON. */
json_t *job_params_stored_json(const char *text);
/* malloc'd text, NULL on allocation failure. */
char *job_params_to_text(const struct job_params *params);
/* Reads a stored text. ERROR_CORRUPT. One without input sizes, as earlier versions wrote them, has
 * none, which stands for the encoder's own; one without an encoding has chips, whatever the
 * encoder's own is, one without a precision float32, one that says nothing of outliers keeps
 * them, one that says nothing of a mask analyses what is proposed to be left out, one without a
 * head has prototypes, one that says nothing of borders or of unknown chips leaves both as they
 * are, and one without smoothing has none. */
int job_params_from_text(const char *text, struct job_params *out, struct error *err);

#endif
