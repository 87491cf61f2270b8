/* Files that travel inside the program: the default encoder and the API's contract (server/cli/assets.h). */
    .section .rodata
    .balign 64
    .global asset_encoder, asset_encoder_end, asset_openapi, asset_openapi_end
asset_encoder:
    .incbin "models/default.safetensors"
asset_encoder_end:
    .balign 64
asset_openapi:
    .incbin "openapi.yaml"
asset_openapi_end:
    .section .note.GNU-stack, "", %progbits
