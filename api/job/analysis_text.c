#include "api/job/analysis_text.h"

#include "engine/encoder/encoder.h"

json_t *analysis_text_json(const struct analysis *analysis)
{
    (void)analysis;
    return json_pack("{s:s, s:s}", "program", CHIPSHOT_VERSION, "kernels", encoder_kernels());
}

char *analysis_text_create(const struct analysis *analysis)
{
    json_t *json = analysis_text_json(analysis);
    if (json == NULL)
        return NULL;
    /* 17 digits bring every double back exactly. */
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(json);
    return text;
}

json_t *analysis_text_stored_json(const char *text)
{
    if (text == NULL)
        return json_object();
    json_t *json = json_loads(text, 0, NULL);
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}
