#include "api/message/text_answer.h"

#include <stdlib.h>
#include <string.h>

struct text_stream {
    struct text_source source;
    struct body_writer writer; /* what was written and not all taken */
    size_t taken;              /* bytes of it */
    bool ended;                /* nothing comes after it */
};

static int write_part(struct text_stream *text, struct error *err)
{
    int rc = text->source.write(text->source.context, &text->writer, &text->ended, err);
    return rc != 0 ? rc : body_writer_check(&text->writer, err);
}

/* The first text may be as long as a whole answer; later ones are parts, which reuse their memory.
 */
static void forget_taken(struct text_stream *text)
{
    if (text->writer.capacity > TEXT_ANSWER_WHOLE_MAX / 4)
        body_writer_clear(&text->writer);
    else
        body_writer_rewind(&text->writer);
    text->taken = 0;
}

static int next(void *context, char *buffer, size_t size, size_t *n, struct error *err)
{
    struct text_stream *text = context;
    while (text->taken == text->writer.size && !text->ended) {
        forget_taken(text);
        int rc = write_part(text, err);
        if (rc != 0)
            return rc;
    }
    size_t left = text->writer.size - text->taken;
    *n = left < size ? left : size;
    if (*n > 0)
        memcpy(buffer, text->writer.buffer + text->taken, *n);
    text->taken += *n;
    return 0;
}

static void close_text(void *context)
{
    struct text_stream *text = context;
    text->source.destroy(text->source.context);
    body_writer_clear(&text->writer);
    free(text);
}

int text_answer(struct api_response *response, const char *content_type,
                const struct text_source *source, size_t whole_max, struct error *err)
{
    struct text_stream *text = calloc(1, sizeof(*text));
    if (text == NULL) {
        source->destroy(source->context);
        return error_set_nomem(err, "an answer");
    }
    text->source = *source;
    int rc = 0;
    while (rc == 0 && !text->ended && text->writer.size <= whole_max)
        rc = write_part(text, err);
    if (rc != 0) {
        close_text(text);
        return rc;
    }
    response->status = 200;
    response->content_type = content_type;
    if (text->ended && text->writer.size <= whole_max) {
        response->body = text->writer.buffer;
        response->body_size = text->writer.size;
        text->writer = (struct body_writer){0};
        close_text(text);
    } else {
        response->stream = (struct api_stream){
            .context = text, .size = API_SIZE_UNKNOWN, .next = next, .close = close_text};
    }
    return 0;
}
