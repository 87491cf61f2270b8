/* The one table of operations. Patterns with a suffix stand before those without: the first match
 * wins. HEAD is answered wherever GET is, OPTIONS everywhere. */
#include "api/routes.h"

static const char *const json[] = {"application/json", NULL};
static const char *const png[] = {"image/png", NULL};
static const char *const csv[] = {"text/csv", NULL};
static const char *const json_or_csv[] = {"application/json", "text/csv", NULL};
static const char *const text[] = {"text/plain", NULL};
static const char *const yaml[] = {"application/yaml", NULL};
static const char *const image_file[] = {"image/png", "application/octet-stream", NULL};
static const char *const encoder_file[] = {"application/octet-stream",
                                           "application/vnd.safetensors", NULL};

static const struct route_query projects_page[] = {
    {"limit", ROUTE_QUERY_UINT, .min = 1, .max = 1000, .standard = 100},
    {"cursor", ROUTE_QUERY_CURSOR, .prefix = "prj_"},
    {NULL},
};
static const struct route_query images_page[] = {
    {"limit", ROUTE_QUERY_UINT, .min = 1, .max = 1000, .standard = 100},
    {"cursor", ROUTE_QUERY_CURSOR, .prefix = "img_"},
    {"name", ROUTE_QUERY_TEXT, .min = 1, .max = 255},
    {NULL},
};
static const struct route_query support_sets_page[] = {
    {"limit", ROUTE_QUERY_UINT, .min = 1, .max = 1000, .standard = 100},
    {"cursor", ROUTE_QUERY_CURSOR, .prefix = "sup_"},
    {NULL},
};
static const struct route_query jobs_page[] = {
    {"limit", ROUTE_QUERY_UINT, .min = 1, .max = 1000, .standard = 100},
    {"cursor", ROUTE_QUERY_CURSOR, .prefix = "job_"},
    {"state", ROUTE_QUERY_TEXT, .min = 1, .max = 20},
    {NULL},
};
static const struct route_query results_page[] = {
    {"limit", ROUTE_QUERY_UINT, .min = 1, .max = 1000, .standard = 100},
    {"cursor", ROUTE_QUERY_CURSOR, .prefix = "img_"},
    {NULL},
};
static const struct route_query verifications_page[] = {
    {"limit", ROUTE_QUERY_UINT, .min = 1, .max = 1000, .standard = 100},
    {"cursor", ROUTE_QUERY_CURSOR, .prefix = "ver_"},
    {NULL},
};
static const char *const no_or_yes[] = {"false", "true", NULL};
static const struct route_query verification_labels[] = {
    {"labels", ROUTE_QUERY_CHOICE, .choices = no_or_yes},
    {NULL},
};
static const struct route_query encoders_page[] = {
    {"limit", ROUTE_QUERY_UINT, .min = 1, .max = 1000, .standard = 100},
    {"cursor", ROUTE_QUERY_CURSOR, .prefix = "enc_"},
    {NULL},
};
static const struct route_query image_upload[] = {
    {"name", ROUTE_QUERY_TEXT, .min = 1, .max = 255},
    {"pixel_size_nm", ROUTE_QUERY_TEXT, .min = 1, .max = 60},
    {NULL},
};
static const struct route_query preview_size[] = {
    {"max_side", ROUTE_QUERY_UINT, .min = 1, .max = 4096, .standard = 1024},
    {NULL},
};
static const struct route_query chip_size[] = {
    {"width", ROUTE_QUERY_UINT, .min = 4, .max = 4096, .required = true},
    {"height", ROUTE_QUERY_UINT, .min = 4, .max = 4096, .required = true},
    {"offset_x", ROUTE_QUERY_UINT, .min = 0, .max = 1000000000, .standard = 0},
    {"offset_y", ROUTE_QUERY_UINT, .min = 0, .max = 1000000000, .standard = 0},
    {NULL},
};
static const struct route_query support_set_version[] = {
    {"version", ROUTE_QUERY_UINT, .min = 1, .max = 1000000000, .standard = 0},
    {NULL},
};
/* In the order of enum map_size and enum overlay_style. */
static const char *const map_sizes[] = {"grid", "image", NULL};
static const char *const overlay_styles[] = {"tint", "contour", NULL};
/* 0, which none can ask for, is not made smaller. */
static const struct route_query map_size[] = {
    {"size", ROUTE_QUERY_CHOICE, .choices = map_sizes},
    {"max_side", ROUTE_QUERY_UINT, .min = 1, .max = 8192, .standard = 0},
    {NULL},
};
static const struct route_query overlay_look[] = {
    {"max_side", ROUTE_QUERY_UINT, .min = 1, .max = 8192, .standard = 2048},
    {"style", ROUTE_QUERY_CHOICE, .choices = overlay_styles},
    {"opacity", ROUTE_QUERY_UINT, .min = 5, .max = 100, .standard = 40},
    {"legend", ROUTE_QUERY_CHOICE, .choices = no_or_yes},
    {"scale_bar", ROUTE_QUERY_CHOICE, .choices = no_or_yes},
    {NULL},
};

static const struct route_query objects_choice[] = {
    {"class", ROUTE_QUERY_TEXT, .min = 1, .max = 255, .required = true},
    {"min_area", ROUTE_QUERY_UINT, .min = 0, .max = 1000000000, .standard = 0},
    {"border", ROUTE_QUERY_TEXT, .min = 1, .max = 20},
    {NULL},
};

static const struct route_query suggestions_number[] = {
    {"n", ROUTE_QUERY_UINT, .min = 1, .max = 64, .standard = 8},
    {NULL},
};

#define INSTANT API_COST_INSTANT
#define CHEAP   API_COST_CHEAP
#define DEAR    API_COST_DEAR

#define NO_BODY      API_BODY_NONE, ROUTE_LIMIT_NONE, NULL
#define JSON_BODY    API_BODY_JSON, ROUTE_LIMIT_JSON, json
#define IMAGE_BODY   API_BODY_UPLOAD, ROUTE_LIMIT_IMAGE, image_file
#define MASK_BODY    API_BODY_UPLOAD, ROUTE_LIMIT_IMAGE, png
#define ENCODER_BODY API_BODY_UPLOAD, ROUTE_LIMIT_ENCODER, encoder_file

/* One line an operation, for the reader and for tests/check_openapi.py. Dear is what decodes an
 * image, parses an encoder, draws thousands of random populations or holds the results of millions
 * of chips. The contract's text is not instant: packing it takes milliseconds. */
/* clang-format off */
const struct route routes[] = {
    {"POST", "/v1/projects", "createProject", projects_create, CHEAP, JSON_BODY, json, NULL},
    {"GET", "/v1/projects", "listProjects", projects_list, CHEAP, NO_BODY, json, projects_page},
    {"GET", "/v1/projects/{project_id}", "getProject", projects_get, CHEAP, NO_BODY, json, NULL},
    {"PATCH", "/v1/projects/{project_id}", "updateProject", projects_update, CHEAP, JSON_BODY, json, NULL},
    {"DELETE", "/v1/projects/{project_id}", "deleteProject", projects_delete, CHEAP, NO_BODY, NULL, NULL},

    {"POST", "/v1/projects/{project_id}/images", "uploadImage", images_upload, DEAR, IMAGE_BODY, json, image_upload},
    {"GET", "/v1/projects/{project_id}/images", "listImages", images_list, CHEAP, NO_BODY, json, images_page},
    {"GET", "/v1/images/{image_id}", "getImage", images_get, CHEAP, NO_BODY, json, NULL},
    {"PATCH", "/v1/images/{image_id}", "updateImage", images_update, CHEAP, JSON_BODY, json, NULL},
    {"DELETE", "/v1/images/{image_id}", "deleteImage", images_delete, CHEAP, NO_BODY, NULL, NULL},
    {"GET", "/v1/images/{image_id}/content", "getImageContent", image_views_content, CHEAP, NO_BODY, image_file, NULL},
    {"GET", "/v1/images/{image_id}/mask", "getImageMask", image_masks_get, CHEAP, NO_BODY, json, NULL},
    {"PUT", "/v1/images/{image_id}/mask", "replaceImageMask", image_masks_replace, CHEAP, JSON_BODY, json, NULL},
    {"DELETE", "/v1/images/{image_id}/mask", "deleteImageMask", image_masks_delete, CHEAP, NO_BODY, NULL, NULL},
    {"GET", "/v1/images/{image_id}/mask.png", "getImageMaskPicture", image_masks_get_picture, DEAR, NO_BODY, png, NULL},
    {"PUT", "/v1/images/{image_id}/mask.png", "putImageMaskPicture", image_masks_put_picture, DEAR, MASK_BODY, json, NULL},
    {"GET", "/v1/images/{image_id}/preview.png", "getImagePreview", image_views_preview, DEAR, NO_BODY, png, preview_size},
    {"GET", "/v1/images/{image_id}/chips/{row},{column}.png", "getImageChip", image_views_chip, DEAR, NO_BODY, png, chip_size},

    {"POST", "/v1/projects/{project_id}/support-sets", "createSupportSet", support_sets_create, CHEAP, JSON_BODY, json, NULL},
    {"GET", "/v1/projects/{project_id}/support-sets", "listSupportSets", support_sets_list, CHEAP, NO_BODY, json, support_sets_page},
    {"GET", "/v1/support-sets/{support_set_id}", "getSupportSet", support_sets_get, CHEAP, NO_BODY, json, support_set_version},
    {"GET", "/v1/support-sets/{support_set_id}/health", "getSupportSetHealth", support_health_get, CHEAP, NO_BODY, json, support_set_version},
    {"PUT", "/v1/support-sets/{support_set_id}", "replaceSupportSet", support_sets_replace, CHEAP, JSON_BODY, json, NULL},

    {"POST", "/v1/projects/{project_id}/jobs", "createJob", jobs_create, CHEAP, JSON_BODY, json, NULL},
    {"GET", "/v1/projects/{project_id}/jobs", "listJobs", jobs_list, CHEAP, NO_BODY, json, jobs_page},
    {"GET", "/v1/jobs/{job_id}", "getJob", jobs_get, CHEAP, NO_BODY, json, NULL},
    {"POST", "/v1/jobs/{job_id}/cancel", "cancelJob", jobs_cancel, CHEAP, NO_BODY, json, NULL},

    {"GET", "/v1/jobs/{job_id}/suggestions", "listJobSuggestions", suggestions_get, DEAR, NO_BODY, json, suggestions_number},
    {"GET", "/v1/jobs/{job_id}/results", "listJobResults", results_list, CHEAP, NO_BODY, json, results_page},
    {"GET", "/v1/jobs/{job_id}/results/{image_id}.csv", "getJobResultCsv", results_csv, CHEAP, NO_BODY, csv, NULL},
    {"GET", "/v1/jobs/{job_id}/results/{image_id}", "getJobResult", results_get, CHEAP, NO_BODY, json_or_csv, NULL},
    {"GET", "/v1/jobs/{job_id}/results/{image_id}/labels.png", "getJobResultLabels", result_maps_labels, DEAR, NO_BODY, png, map_size},
    {"GET", "/v1/jobs/{job_id}/results/{image_id}/overlay.png", "getJobResultOverlay", result_maps_overlay, DEAR, NO_BODY, png, overlay_look},
    {"GET", "/v1/jobs/{job_id}/results/{image_id}/probability/{class}.png", "getJobResultProbability", result_maps_probability, DEAR, NO_BODY, png, map_size},
    {"GET", "/v1/jobs/{job_id}/results/{image_id}/objects.csv", "getJobResultObjectsCsv", result_objects_csv, DEAR, NO_BODY, csv, objects_choice},
    {"GET", "/v1/jobs/{job_id}/results/{image_id}/objects", "getJobResultObjects", result_objects_get, DEAR, NO_BODY, json_or_csv, objects_choice},

    {"GET", "/v1/jobs/{job_id}/populations.csv", "getPopulationsCsv", populations_csv, DEAR, NO_BODY, csv, NULL},
    {"GET", "/v1/jobs/{job_id}/populations", "getPopulations", populations_get, DEAR, NO_BODY, json_or_csv, NULL},

    {"POST", "/v1/jobs/{job_id}/verifications", "createVerification", verifications_create, DEAR, JSON_BODY, json, verification_labels},
    {"GET", "/v1/jobs/{job_id}/verifications", "listVerifications", verifications_list, CHEAP, NO_BODY, json, verifications_page},
    {"GET", "/v1/verifications/{verification_id}", "getVerification", verifications_get, DEAR, NO_BODY, json, verification_labels},
    {"PATCH", "/v1/verifications/{verification_id}", "answerVerification", verifications_answer, DEAR, JSON_BODY, json, verification_labels},
    {"DELETE", "/v1/verifications/{verification_id}", "deleteVerification", verifications_delete, CHEAP, NO_BODY, NULL, NULL},

    {"POST", "/v1/encoders", "uploadEncoder", encoders_upload, DEAR, ENCODER_BODY, json, NULL},
    {"GET", "/v1/encoders", "listEncoders", encoders_list, CHEAP, NO_BODY, json, encoders_page},
    {"GET", "/v1/encoders/{encoder_id}", "getEncoder", encoders_get, CHEAP, NO_BODY, json, NULL},

    {"GET", "/livez", "getLive", health_live, INSTANT, NO_BODY, json, NULL},
    {"GET", "/readyz", "getReady", health_ready, CHEAP, NO_BODY, json, NULL},
    {"GET", "/metrics", "getMetrics", health_metrics, CHEAP, NO_BODY, text, NULL},
    {"GET", "/openapi.yaml", "getOpenapi", health_openapi, CHEAP, NO_BODY, yaml, NULL},
    {"GET", "/version", "getVersion", health_version, CHEAP, NO_BODY, json, NULL},
};
/* clang-format on */

const size_t n_routes = sizeof(routes) / sizeof(routes[0]);
