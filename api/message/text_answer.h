/* Answers of text that can be long: the rows of a table. A short text is sent with its length, as
 * any answer; a longer one is a stream, made by parts as the client takes them, so that an answer
 * holds no more memory than the limit below and what its source holds. */
#ifndef CHIPSHOT_API_TEXT_ANSWER_H
#define CHIPSHOT_API_TEXT_ANSWER_H

#include "api/message/body_writer.h"
#include "api/message/response.h"

/* Where the text comes from. */
struct text_source {
    void *context; /* owned */
    /* Appends the next part, some hundred KiB at most; sets *ended after the last one. Not called
     * again then, nor after an error. May be called long after the request was handled, in its
     * thread: what it borrows must live as long as the server. */
    int (*write)(void *context, struct body_writer *writer, bool *ended, struct error *err);
    /* Called once. */
    void (*destroy)(void *context);
};

/* Bytes of a text that is sent whole. */
enum { TEXT_ANSWER_WHOLE_MAX = 4 << 20 };

/* Answers 200 with the text. Takes the source, whatever is returned. ERROR_NOMEM, or what the
 * source's first parts (`whole_max` bytes) gave. `content_type` is static. */
int text_answer(struct api_response *response, const char *content_type,
                const struct text_source *source, size_t whole_max, struct error *err);

#endif
