#include "server/cli/classify/normalise_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *option, const struct error *inner, struct error *err)
{
    return error_set(err, ERROR_INVALID, "--%s: %.300s", option, inner->message);
}

/* A number up to the end of the text or a comma, behind which *text goes on. */
static bool read_number(const char **text, double *out)
{
    char *end = NULL;
    *out = strtod(*text, &end);
    if (end == *text || (*end != '\0' && *end != ',') || (*end == ',' && end[1] == '\0'))
        return false;
    *text = *end == ',' ? end + 1 : end;
    return true;
}

static int read_whole(const char *option, const char *text, double *out, struct error *err)
{
    const char *rest = text;
    if (text == NULL || (read_number(&rest, out) && *rest == '\0'))
        return 0;
    return error_set(err, ERROR_INVALID, "--%s: '%.100s' is not a number", option, text);
}

/* A whole number that a uint32_t holds, which the parameters' check judges. */
static bool read_count(const char *text, uint32_t *out)
{
    double value;
    const char *rest = text;
    if (!read_number(&rest, &value) || *rest != '\0' || !(value >= 0 && value <= UINT32_MAX) ||
        value != (double)(uint32_t)value)
        return false;
    *out = (uint32_t)value;
    return true;
}

static int read_flatten(const char *text, struct flatten_params *out, struct error *err)
{
    char name[50];
    struct error inner = {0};
    if (text == NULL)
        return 0;
    const size_t length = strcspn(text, ",");
    snprintf(name, sizeof(name), "%.*s", (int)length, text);
    if (flatten_method_parse(name, &out->method, &inner) < 0)
        return fail("flatten", &inner, err);
    if (text[length] == '\0')
        return 0;
    uint32_t *number = NULL;
    if (out->method == FLATTEN_POLYNOMIAL)
        number = &out->order;
    else if (out->method == FLATTEN_LARGE_SCALE)
        number = &out->scale;
    if (number == NULL || !read_count(text + length + 1, number))
        return error_set(err, ERROR_INVALID,
                         "--flatten: '%.100s' is not plane, polynomial,ORDER or large_scale,PIXELS",
                         text);
    return 0;
}

static int read_clahe(const char *text, struct clahe_params *out, struct error *err)
{
    const char *rest = text;
    if (text == NULL)
        return 0;
    out->enabled = true;
    if (read_number(&rest, &out->clip_limit) && (*rest == '\0' || read_count(rest, &out->tiles)))
        return 0;
    return error_set(err, ERROR_INVALID, "--clahe: '%.100s' is not LIMIT or LIMIT,TILES", text);
}

int normalise_options_parse(const struct normalise_options *options, struct normalise_params *out,
                            struct error *err)
{
    struct normalise_params params = normalise_params_default;
    struct error inner = {0};
    if (options->method != NULL &&
        normalise_method_parse(options->method, &params.method, &inner) < 0)
        return fail("normalise", &inner, err);
    if (options->outliers != NULL &&
        normalise_outliers_parse(options->outliers, &params.outliers, &inner) < 0)
        return fail("outliers", &inner, err);
    int rc = read_whole("low", options->low, &params.low, err);
    if (rc == 0)
        rc = read_whole("high", options->high, &params.high, err);
    if (rc == 0)
        rc = read_flatten(options->flatten, &params.flatten, err);
    if (rc == 0)
        rc = read_clahe(options->clahe, &params.clahe, err);
    if (rc == 0)
        rc = normalise_params_check(&params, err);
    if (rc == 0)
        *out = params;
    return rc;
}
