#!/usr/bin/env python3
"""Writes the first inputs of tests/fuzz/corpus: one of each kind, so that fuzzing starts behind the front door.

Usage: make_seeds.py [FOLDER]. What fuzzing finds beyond them is merged into the same folders (run.sh). The images
are drawn here; the encoders' inputs are tests/fixtures/encoder, and one of two stages from here.
"""
import json
import pathlib
import struct
import sys
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "gate"))
import gate

FOLDER = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus")


def put(target, name, data):
    folder = FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


# ---- PNG ----

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows(width, height, bits, kind, first_filter):
    """Filtered rows of some texture; the filters follow each other."""
    size = (width * bits * CHANNELS[kind] + 7) // 8
    limit = 4 if kind == 3 else 256
    out = b""
    for y in range(height):
        line = bytes((x * 7 + y * 13 + x * y) % 251 % limit for x in range(size))
        if kind == 3 and bits < 8:
            line = bytes(size)
        out += bytes([(first_filter + y) % 5]) + line
    return out


def png(width, height, bits=8, kind=0, interlaced=False, first_filter=0, before=b"", after=b"", pieces=1, extra=b"",
        level=9):
    if interlaced:
        data = b"".join(
            rows((width - x + dx - 1) // dx, (height - y + dy - 1) // dy, bits, kind, first_filter)
            for x, y, dx, dy in ADAM7 if width > x and height > y)
    else:
        data = rows(width, height, bits, kind, first_filter)
    packed = zlib.compress(data + extra, level)
    if kind == 3:
        before = chunk(b"PLTE", bytes(range(48))) + before
    step = -(-len(packed) // pieces)
    idat = b"".join(chunk(b"IDAT", packed[i:i + step]) for i in range(0, len(packed), step))
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(interlaced))
    return SIGNATURE + chunk(b"IHDR", head) + before + idat + after + chunk(b"IEND", b"")


def images():
    for kind, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for bits in depths:
            for interlaced in (False, True):
                put("fuzz_image", f"kind{kind}-{bits}-{'adam7' if interlaced else 'plain'}.png",
                    png(13, 9, bits, kind, interlaced))
    for first_filter in range(5):
        put("fuzz_image", f"filter{first_filter}.png", png(17, 5, first_filter=first_filter))
    put("fuzz_image", "paeth-wide.png", png(150, 70, 8, first_filter=4))
    put("fuzz_image", "stored.png", png(160, 66, 16, level=0, pieces=5))
    put("fuzz_image", "one.png", png(1, 1))
    put("fuzz_image", "pieces.png", png(30, 20, 16, pieces=7))
    put("fuzz_image", "surplus.png", png(8, 8, extra=bytes(5000)))
    put("fuzz_image", "behind-the-end.png", png(8, 8) + bytes(100))
    put("fuzz_image", "cut.png", png(40, 30)[:-40])
    for name, data in {
        "scale": chunk(b"sCAL", b"\x01" + b"5e-10\0" + b"5e-10"),
        "physical": chunk(b"pHYs", struct.pack(">IIB", 2000000, 2000000, 1)),
        "gamma": chunk(b"gAMA", struct.pack(">I", 45455)),
        "significant": chunk(b"sBIT", b"\x05"),
        "text": chunk(b"tEXt", b"Title\0a grain"),
        "ztext": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"long " * 500)),
        "itext": chunk(b"iTXt", b"Title\0\1\0en\0\0" + zlib.compress(b"grain " * 500)),
        "profile": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(400))),
        "transparent": chunk(b"tRNS", struct.pack(">H", 3)),
        "unknown": chunk(b"vpAg", bytes(9)),
        "time": chunk(b"tIME", struct.pack(">HBBBBB", 2026, 1, 2, 3, 4, 5)),
    }.items():
        put("fuzz_image", f"chunk-{name}.png", png(9, 7, before=data))
        put("fuzz_image", f"chunk-{name}-after.png", png(9, 7, after=data))
    for name, start in {"gif": b"GIF89a", "jpeg": b"\xff\xd8\xff\xe0", "tiff": b"II*\0", "dm4": b"\0\0\0\4",
                        "empty": b"", "text": b"not an image"}.items():
        put("fuzz_image", f"looks-like-{name}", start + bytes(20) if start else b"")


# ---- encoders ----


def tensors_of_two_stages():
    """Names and shapes of the smallest ResNet that has its first two stages only."""
    shapes = {"conv1.weight": (1, 1, 3, 3), "layer2.0.downsample.0.weight": (1, 1, 1, 1)}
    shapes |= {f"layer{stage}.0.conv{i}.weight": (1, 1, 3, 3) for stage in (1, 2) for i in (1, 2)}
    norms = ["bn1", "layer2.0.downsample.1"] + [f"layer{stage}.0.bn{i}" for stage in (1, 2) for i in (1, 2)]
    return shapes | {f"{norm}.{part}": (1,) for norm in norms for part in ("weight", "bias", "running_mean", "running_var")}


def encoders():
    pool = {"stages": [0, 1, 2], "statistics": ["mean", "std"], "chip_copies": [2, 3]}
    described = {"format": 1, "input_size": 16, "pool": pool, "encoding": "dense"}
    header, data = {"__metadata__": {"chipshot": json.dumps(described)}}, b""
    for name, shape in tensors_of_two_stages().items():
        values = struct.pack("<9f", *(0.25 * (i % 4 + 1) for i in range(9)))[: 36 if shape[-1] == 3 else 4]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    put("fuzz_encoder", "two-stages.safetensors", struct.pack("<Q", len(text)) + text + data)


# ---- requests ----

SET = ('{"name":"s","chip":{"width":8,"height":8},"classes":[{"name":"film","color":"#ff0000","examples":'
       '[{"image_id":"$i","x":0,"y":0},{"image_id":"$i","x":8,"y":8}]},{"name":"gap","examples":'
       '[{"image_id":"$i","x":16,"y":0}]}]}')
JOB = ('{"support_set_id":"$s","support_set_version":1,"image_ids":["$i"],"stride":{"x":4,"y":4},"offset":{"x":0,'
       '"y":0},"edge":"cover","normalise":{"method":"percentile","low":0.5,"high":99.5},"clahe":{"clip_limit":2,'
       '"tiles":8},"encoder_id":"$e","classifier":{"distance":"cosine","transform":"cl2n","temperature":"auto"},'
       '"input_sizes":[32],"encoding":"dense","precision":"float32","priority":10}')
STEPS = ('{"support_set_id":"$s","image_ids":["$i"],"normalise":{"outliers":"replace"},"flatten":{"method":"polynomial",'
         '"order":3},"mask":{"proposed":false},"head":"auto","borders":"off","unknown":false,"smoothing":"on",'
         '"reference":"series"}')
MASK = ('{"rectangles":[{"x":0,"y":0,"width":8,"height":9}],"polygons":[[[1,2],[20.5,3],[7,29]]],"accepted":[],'
        '"refused":[],"picture":null}')

REQUESTS = {
    "livez": "GET /livez\n\n",
    "readyz": "GET /readyz\n\n",
    "metrics": "GET /metrics\n\n",
    "openapi": "GET /openapi.yaml\nIf-None-Match: *\n\n",
    "projects": "GET /v1/projects?limit=2\n\n",
    "project": "GET /v1/projects/$p\n\n",
    "project-new": 'POST /v1/projects\nContent-Type: application/json\n\n'
                   '{"name":"a","description":"b\\nc","labels":{"k":"v"}}',
    "project-patch": 'PATCH /v1/projects/$p\nContent-Type: application/json\nIf-Match: "1"\n\n{"name":"z"}',
    "project-delete": "DELETE /v1/projects/$p\n\n",
    "images": "GET /v1/projects/$p/images?limit=1&name=a.png\n\n",
    "image": "GET /v1/images/$i\nAccept: application/json\n\n",
    "image-content": "GET /v1/images/$i/content\n\n",
    "image-preview": "GET /v1/images/$i/preview.png?max_side=20\n\n",
    "image-chip": "GET /v1/images/$i/chips/1,2.png?width=8&height=8\n\n",
    "image-delete": "DELETE /v1/images/$i\n\n",
    "sets": "GET /v1/projects/$p/support-sets\n\n",
    "set": "GET /v1/support-sets/$s\n\n",
    "set-version": "GET /v1/support-sets/$s?version=1\n\n",
    "set-new": "POST /v1/projects/$p/support-sets\nContent-Type: application/json\n\n" + SET,
    "set-put": "PUT /v1/support-sets/$s\nContent-Type: application/json\n\n" + SET,
    "jobs": "GET /v1/projects/$p/jobs?state=succeeded&limit=1\n\n",
    "job": "GET /v1/jobs/$j\nPrefer: wait=1\n\n",
    "job-new": "POST /v1/projects/$p/jobs\nContent-Type: application/json\nPrefer: wait=0\n\n" + JOB,
    "job-cancel": "POST /v1/jobs/$j/cancel\n\n",
    "results": "GET /v1/jobs/$j/results\n\n",
    "result": "GET /v1/jobs/$j/results/$i\n\n",
    "result-csv": "GET /v1/jobs/$j/results/$i.csv\n\n",
    "result-accept": "GET /v1/jobs/$j/results/$i\nAccept: text/csv\n\n",
    "result-labels": "GET /v1/jobs/$j/results/$i/labels.png\n\n",
    "result-overlay": "GET /v1/jobs/$j/results/$i/overlay.png?max_side=30\n\n",
    "result-probability": "GET /v1/jobs/$j/results/$i/probability/film.png\n\n",
    "result-contour": "GET /v1/jobs/$j/results/$i/overlay.png?style=contour&legend=true&scale_bar=true&opacity=50\n\n",
    "result-labels-image": "GET /v1/jobs/$j/results/$i/labels.png?size=image\n\n",
    "objects": "GET /v1/jobs/$j/results/$i/objects?class=film&min_area=4&border=exclude\n\n",
    "objects-csv": "GET /v1/jobs/$j/results/$i/objects.csv?class=1\n\n",
    "populations": "GET /v1/jobs/$j/populations\nAccept: text/csv\n\n",
    "suggestions": "GET /v1/jobs/$j/suggestions?n=4\n\n",
    "set-health": "GET /v1/support-sets/$s/health?version=1\n\n",
    "job-steps": "POST /v1/projects/$p/jobs\nContent-Type: application/json\n\n" + STEPS,
    "image-patch": 'PATCH /v1/images/$i\nContent-Type: application/json\n\n{"pixel_size":{"x":0.5,"y":2,"unit":"nm"}}',
    "mask": "GET /v1/images/$i/mask\nIf-None-Match: \"0\"\n\n",
    "mask-png": "GET /v1/images/$i/mask.png\n\n",
    "mask-put": "PUT /v1/images/$i/mask\nContent-Type: application/json\nIf-Match: \"0\"\n\n" + MASK
                + "\n----\nGET /v1/images/$i/mask.png\n\n\n----\nDELETE /v1/images/$i/mask\n\n",
    "verifications": "GET /v1/jobs/$j/verifications?limit=1\n\n",
    "verification": "GET /v1/verifications/$v?labels=true\n\n",
    "verification-new": "POST /v1/jobs/$j/verifications\nContent-Type: application/json\n\n"
                        '{"n":5,"seed":3,"image_ids":["$i"]}',
    "verification-answer": "PATCH /v1/verifications/$v\nContent-Type: application/json\nIf-Match: \"1\"\n\n"
                           '{"answers":[{"index":0,"class":"film"},{"index":1,"verdict":"none"}]}',
    "verification-delete": "DELETE /v1/verifications/$v\n\n",
    "version": "GET /version\n\n",
    "encoders": "GET /v1/encoders\n\n",
    "encoder": "GET /v1/encoders/$e\n\n",
    "encoder-new": "POST /v1/encoders?name=x\nContent-Type: application/octet-stream\n\n\x08\0\0\0\0\0\0\0{}      ",
    "options": "OPTIONS /v1/projects\n\n",
    "head": "HEAD /v1/images/$i\n\n",
    "two": 'POST /v1/projects\nContent-Type: application/json\n\n{"name":"a"}\n----\nGET /v1/projects?limit=1\n\n',
    "cascade": "DELETE /v1/projects/$p\n\n\n----\nGET /v1/jobs/$j\n\n\n----\nGET /v1/images/$i/preview.png\n\n",
}

HEADERS = ["Accept: text/csv;q=0.5, application/json;q=0.9, */*;q=0.1", "If-None-Match: W/\"a\", \"0123abcd-gzip\"",
           "Prefer: respond-async, wait=10", "Content-Length: 12", "Transfer-Encoding: chunked", "Host: localhost:8080",
           "Content-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, sha-512=:x:",
           "Authorization: Bearer chipshot_0123456789", "Accept-Encoding: gzip;q=1.0, identity;q=0.5, *;q=0",
           "Host: [::1]:80", "Origin: http://127.0.0.1:8080", "Expect: 100-continue", "X-Request-Id: abc.1-2_3",
           "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "http://host/v1/jobs?x=1",
           "Content-Type: application/json; charset=\"utf-8\""]

MANIFEST = "image,x,y,size,label,group\na.png,0,0,8,film,1\n\"b \"\"c\"\".png\",8,16,8,gap,\"two, three\"\n"


def texts():
    for name, request in REQUESTS.items():
        put("fuzz_api", name, request)
        head = request.split("\n\n")[0].split("\n")
        head[0] = head[0].split(" ")[1]
        put("fuzz_router", name, "\n".join(head))
    put("fuzz_api", "mask-picture", b"PUT /v1/images/$i/mask.png\nContent-Type: image/png\n\n" + png(40, 30))
    for i, target in enumerate(["http://host/v1/jobs?x=1", "/v1/%70rojects", "/v1/projects?limit=%31&cursor=abc",
                                "/v1/jobs/%2e%2e", "/v1/images/%00", "/a/b/c/d/e/f/g/h/i/j", "/?a&b=&c=+", "*", "/%c3%a9",
                                "/v1/projects#x"]):
        put("fuzz_router", f"target-{i}", target)
    for i, header in enumerate(HEADERS):
        put("fuzz_headers", f"value-{i}", header)
    put("fuzz_headers", "head", "\n".join(HEADERS[:8]))
    put("fuzz_manifest", "manifest", MANIFEST)
    put("fuzz_manifest", "crlf", MANIFEST.replace("\n", "\r\n"))
    put("fuzz_manifest", "order", "group,label,size,y,x,image\n1,film,8,0,0,a.png\n")
    put("fuzz_manifest", "support", SET.replace('"image_id":"$i",', ""))


# ---- the bytes of connections ----

def connections():
    """The gate's cases; the first two bytes choose the pieces, whose sizes differ from case to case."""
    for number, path in enumerate(sorted(gate.CASES.glob("*.case"))):
        steps = gate.read_case(path, "0.9", "chipshot_0123456789").steps
        data = b"".join(sent for kind, sent in steps if kind == "send")
        if len(data) <= 4096:
            put("fuzz_head", path.stem, bytes([number * 5 % 61, number * 3 % 7]) + data)


images()
encoders()
texts()
connections()
