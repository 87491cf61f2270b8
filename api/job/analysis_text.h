/* What a result says of how it came about, beside its numbers: one JSON object, which is stored
 * with the result as text and answered as its "analysis". A step of the analysis that has something
 * to say is a member here. */
#ifndef CHIPSHOT_API_JOB_ANALYSIS_TEXT_H
#define CHIPSHOT_API_JOB_ANALYSIS_TEXT_H

#include <jansson.h>

#include "engine/fewshot/analysis.h"

/* [{"kind","status", and a rectangle or n_pixels}, ...]; the caller's. NULL when out of memory. */
json_t *mask_parts_json(const struct mask_parts *parts);

/* {"program":"0.1.0","kernels":"avx512","blas":"SkylakeX"}; "head", which one learned; "smoothing",
 * what became of it where it was asked for: {"done","information","n_changed"}; and, of an
 * image of which some was left out, "not_analysed", the parts of its mask, and, of one that is
 * stored, "mask": {"version","sha256"}. Where it is known, "reference", what the image was measured
 * by, {"asked","used","distance_own","distance_support"}, the distances as far as they were asked
 * for, "drift", {"distance","limit","flagged"} of the one that was used, and, where no class can be
 * said, "undecided", {"reason"}; the caller's. NULL when out of memory. */
json_t *analysis_text_json(const struct analysis *analysis);
/* The same as malloc'd text, canonical (sorted keys, compact). NULL when out of memory. */
char *analysis_text_create(const struct analysis *analysis);
/* A stored text as clients see it. A result from before there was one (NULL) says nothing: {}. NULL
 * when out of memory, and when the text is no JSON object. */
json_t *analysis_text_stored_json(const char *text);

#endif
