/* Fuzz target: any bytes as a manifest (CSV) and as a support set's file (JSON), which the command
 * line reads by a path. */
#include "tests/fuzz/fuzz.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/cli/manifest.h"
#include "server/cli/support_file.h"

static void use_manifest(const char *path)
{
    struct manifest manifest = {0};
    struct error err = {0};
    if (manifest_read(path, &manifest, &err) != 0) {
        fuzz_expect(err.message[0] != '\0');
        return;
    }
    uint32_t *ids = calloc(manifest.n_rows + 1, sizeof(*ids));
    fuzz_expect(ids != NULL);
    uint32_t n = 0;
    fuzz_expect(manifest_number(&manifest, offsetof(struct manifest_row, label), ids, &n, NULL) ==
                0);
    for (size_t i = 0; i < manifest.n_rows; i++) {
        fuzz_expect(ids[i] < n && manifest.rows[i].size > 0);
        fuzz_expect(manifest.rows[i].image[0] != '/');
    }
    fuzz_expect(manifest_number(&manifest, offsetof(struct manifest_row, group), ids, &n, NULL) ==
                0);
    free(ids);
    manifest_clear(&manifest);
}

static void use_support_file(const char *path)
{
    struct support_file file = {0};
    struct error err = {0};
    if (support_file_read(path, &file, &err) != 0) {
        fuzz_expect(err.message[0] != '\0');
        return;
    }
    fuzz_expect(file.n_classes >= 1 && file.chip_width > 0 && file.chip_height > 0);
    for (uint32_t i = 0; i < file.n_examples; i++)
        fuzz_expect(file.examples[i].class_index < file.n_classes);
    support_file_clear(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    fuzz_expect(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    use_manifest(path);
    use_support_file(path);
    close(fd);
    return 0;
}
