/* Files that travel inside the program (server/cli/assets.S). */
#ifndef CHIPSHOT_SERVER_ASSETS_H
#define CHIPSHOT_SERVER_ASSETS_H

extern const unsigned char asset_encoder[], asset_encoder_end[]; /* models/default.safetensors */
extern const char asset_openapi[], asset_openapi_end[];          /* openapi.yaml, no NUL */

#endif
