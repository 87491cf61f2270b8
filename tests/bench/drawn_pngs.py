"""Small micrographs of three textures as each kind of PNG, written with the standard library alone."""
from __future__ import annotations

import random
import struct
import zlib


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, body: bytes, interlaced: bool = False,
        more: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(body, 1)) +
            chunk(b"IEND", b""))


def texture(width: int, height: int, top: int, seed: int) -> list[list[int]]:
    """Stripes on the left, noise on the right, a smooth slope below: three classes. Values 0 to `top`."""
    draw = random.Random(seed)

    def value(x: int, y: int) -> float:
        if y >= height * 2 // 3:
            return x / width + draw.gauss(0, 0.02)
        if x < width // 2:
            return 0.5 + 0.3 * (-1 if x // 4 % 2 else 1) + draw.gauss(0, 0.05)
        return draw.random()
    return [[min(top, max(0, int(value(x, y) * top))) for x in range(width)] for y in range(height)]


def sub_filtered(row: bytes, step: int) -> bytes:
    return bytes([1]) + bytes((value - (row[i - step] if i >= step else 0)) & 255 for i, value in enumerate(row))


def interlace(rows: list[list[int]]) -> bytes:
    """Adam7: seven passes, each an image of its own."""
    body = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                           (0, 1, 1, 2)):
        body += b"".join(b"\0" + bytes(row[x0::dx]) for row in rows[y0::dy])
    return body


def pack_bits(row: list[int]) -> bytes:
    return int("".join(map(str, row)).ljust((len(row) + 7) // 8 * 8, "0"), 2).to_bytes((len(row) + 7) // 8, "big")


def images() -> dict[str, bytes]:
    grey = texture(256, 192, 255, 1)
    deep = texture(250, 190, 65535, 2)
    palette = b"".join(bytes([i, 255 - i, i // 2]) for i in range(256))
    scale = chunk(b"pHYs", struct.pack(">IIB", 2_000_000_000, 2_000_000_000, 1))
    wide = [b"\0" + (bytes(row) * 33)[:8400] for row in grey[:128] + grey[64:192]]
    return {
        "grey": png(256, 192, 8, 0, b"".join(b"\0" + bytes(row) for row in grey), more=scale),
        "filtered": png(256, 192, 8, 0, b"".join(sub_filtered(bytes(row), 1) for row in texture(256, 192, 255, 7))),
        "16-bit": png(250, 190, 16, 0, b"".join(b"\0" + struct.pack(">250H", *row) for row in deep)),
        "RGB": png(256, 192, 8, 2, b"".join(b"\0" + bytes(v for p in row for v in (p, p // 2, 255 - p)) for row in grey)),
        "grey-alpha": png(256, 192, 8, 4, b"".join(b"\0" + bytes(v for p in row for v in (p, 200)) for row in grey)),
        "palette": png(256, 192, 8, 3, b"".join(b"\0" + bytes(row) for row in grey), more=chunk(b"PLTE", palette)),
        "interlaced": png(256, 192, 8, 0, interlace(grey), interlaced=True),
        "1-bit": png(250, 190, 1, 0, b"".join(b"\0" + pack_bits(row) for row in texture(250, 190, 1, 3))),
        # Float32 pixels of it are over the 256 MiB up to which an image is held as a whole.
        "large": png(8400, 8192, 8, 0, b"".join(wide * 32)),
    }
