/* {"own":[0.93,null,...],"likely":[0,1,...],"confusion":[[a,b,0.02],...]} */
#include "api/job/health_text.h"

#include <math.h>
#include <stdlib.h>

enum { DIGITS = 6 };

/* ---- writing ---- */

static json_t *answers_json(const struct health *health)
{
    json_t *own = json_array(), *likely = json_array();
    for (uint32_t i = 0; i < health->n_examples; i++) {
        const bool was_asked = health_was_asked(health, i);
        json_array_append_new(own, was_asked ? json_real(health_own(health, i)) : json_null());
        json_array_append_new(
            likely, json_integer(was_asked ? health_likely(health, i) : health->class_of[i]));
    }
    return json_pack("{s:o, s:o}", "own", own, "likely", likely);
}

static json_t *pairs_json(const struct health *health)
{
    json_t *pairs = json_array();
    for (uint32_t a = 0; a < health->n_classes; a++) {
        for (uint32_t b = a + 1; b < health->n_classes; b++) {
            const double confusion = health_confusion(health, a, b);
            if (!isnan(confusion))
                json_array_append_new(pairs, json_pack("[i, i, f]", (int)a, (int)b, confusion));
        }
    }
    return pairs;
}

char *health_text_create(const struct health *health)
{
    json_t *json = answers_json(health);
    if (json == NULL || json_object_set_new(json, "confusion", pairs_json(health)) != 0) {
        json_decref(json);
        return NULL;
    }
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(DIGITS));
    json_decref(json);
    return text;
}

/* ---- reading ---- */

static bool read_index(const json_t *value, uint32_t n, uint32_t *out)
{
    const json_int_t index = json_integer_value(value);
    *out = (uint32_t)index;
    return json_is_integer(value) && index >= 0 && index < (json_int_t)n;
}

static bool read_share(const json_t *value, double *out)
{
    *out = json_number_value(value);
    return json_is_number(value) && *out >= 0 && *out <= 1;
}

static bool read_answers(const json_t *json, uint32_t n_classes, struct health_stored *out)
{
    const json_t *own = json_object_get(json, "own"), *likely = json_object_get(json, "likely");
    if (json_array_size(own) != out->n_examples || json_array_size(likely) != out->n_examples)
        return false;
    for (uint32_t i = 0; i < out->n_examples; i++) {
        struct health_answer *answer = &out->answers[i];
        const json_t *probability = json_array_get(own, i);
        answer->own = NAN;
        if (!read_index(json_array_get(likely, i), n_classes, &answer->likely) ||
            (!json_is_null(probability) && !read_share(probability, &answer->own)))
            return false;
        out->n_asked += !isnan(answer->own);
    }
    return true;
}

static bool read_pairs(const json_t *json, uint32_t n_classes, struct health_stored *out)
{
    const json_t *pairs = json_object_get(json, "confusion");
    const size_t n_max = (size_t)n_classes * (n_classes - 1) / 2;
    if (!json_is_array(pairs) || json_array_size(pairs) > n_max)
        return false;
    out->n_pairs = (uint32_t)json_array_size(pairs);
    for (uint32_t i = 0; i < out->n_pairs; i++) {
        const json_t *pair = json_array_get(pairs, i);
        struct health_pair *to = &out->pairs[i];
        if (!read_index(json_array_get(pair, 0), n_classes, &to->a) ||
            !read_index(json_array_get(pair, 1), n_classes, &to->b) || to->a >= to->b ||
            !read_share(json_array_get(pair, 2), &to->confusion))
            return false;
    }
    return true;
}

int health_text_read(const char *text, uint32_t n_classes, uint32_t n_examples,
                     struct health_stored *out, struct error *err)
{
    const size_t n_pairs = (size_t)n_classes * (n_classes - 1) / 2;
    struct health_stored stored = {
        .answers = calloc(n_examples + 1, sizeof(*stored.answers)),
        .n_examples = n_examples,
        .pairs = calloc(n_pairs + 1, sizeof(*stored.pairs)),
    };
    json_t *json = json_loads(text, 0, NULL);
    int rc = 0;
    if (stored.answers == NULL || stored.pairs == NULL)
        rc = error_set_nomem(err, "the health of a support set");
    else if (!read_answers(json, n_classes, &stored) || !read_pairs(json, n_classes, &stored))
        rc = error_set(err, ERROR_CORRUPT,
                       "the stored health is not of a set with %u classes and %u examples",
                       n_classes, n_examples);
    json_decref(json);
    if (rc == 0)
        *out = stored;
    else
        health_stored_clear(&stored);
    return rc;
}

void health_stored_clear(struct health_stored *stored)
{
    free(stored->answers);
    free(stored->pairs);
    *stored = (struct health_stored){0};
}
