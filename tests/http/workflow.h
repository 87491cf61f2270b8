/* The main job as a client does it, over the HTTP test client: project, image, support set, job,
 * result. Every function fails the running test when the service does not answer as it should. */
#ifndef CHIPSHOT_TESTS_HTTP_WORKFLOW_H
#define CHIPSHOT_TESTS_HTTP_WORKFLOW_H

#include <jansson.h>
#include <stddef.h>

#include "tests/http/client.h"

enum { WORKFLOW_ID_SIZE = 64 };

/* Sends a request, asserts its status and parses the answer; the caller releases it with
 * json_decref. `body` NULL: none. `prefer_wait`: sends Prefer: wait=30. */
json_t *workflow_json(struct client *client, const char *method, const char *path, const char *body,
                      int prefer_wait, long status);

void workflow_project(struct client *client, char id[WORKFLOW_ID_SIZE]);
/* Uploads a file. */
void workflow_upload(struct client *client, const char *project, const char *path,
                     char id[WORKFLOW_ID_SIZE]);
/* Defines the support set of a file in the shape of `chipshot simulate`, its examples in `image`;
 * only the first `max_examples` of each class (0: all). */
void workflow_support(struct client *client, const char *project, const char *image,
                      const char *path, size_t max_examples, char id[WORKFLOW_ID_SIZE]);
/* Draws perovskite-on-diamond in $TMPDIR and makes a project with its image and its support set. */
void workflow_scene(struct client *client, char project[WORKFLOW_ID_SIZE],
                    char image[WORKFLOW_ID_SIZE], char set[WORKFLOW_ID_SIZE]);
/* Queues a job over one image with default parameters. */
void workflow_submit(struct client *client, const char *project, const char *set, const char *image,
                     char id[WORKFLOW_ID_SIZE]);
/* Waits until the job is final and asserts that it ended as `state`. */
void workflow_wait(struct client *client, const char *job, const char *state);

/* Share of the chips of TRUTH (a CSV with the columns row, column, x, y, label; an empty label is
 * not scored) that the job's result labels so; *n is their number. */
double workflow_accuracy(struct client *client, const char *job, const char *image,
                         const char *truth_path, size_t *n);

/* A counter of /metrics; `series` is the text before the value, labels included. */
double workflow_metric(struct client *client, const char *series);

/* Reads a whole file; the caller frees it. A NUL follows the last byte. */
char *workflow_read_file(const char *path, size_t *size);

#endif
