#!/bin/sh
# Makes the README's picture anew: the walk-through's scene, classified at every 20th pixel, its overlay at 640 px with legend and scale.
# For when the weights, the scene or the colours changed. Usage: picture.sh CHIPSHOT OUT.png
set -eu

chipshot=$1
out=$2
work=$(mktemp -d)
server=""
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT INT TERM

"$chipshot" simulate --scene perovskite-on-diamond --out "$work"
mkfifo "$work/ready"
"$chipshot" serve --listen 127.0.0.1:0 --data "$work/data" --log-level warn >"$work/ready" &
server=$!
read -r line <"$work/ready"
url=${line##* }

post() { # post PATH JSON: the new thing's id
    curl -sS --fail-with-body -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d "$2" "$url$1" | jq -r .id
}
project=$(post /v1/projects '{"name": "picture"}')
image=$(curl -sS --fail-with-body -H 'Content-Type: image/png' --data-binary "@$work/image.png" \
    "$url/v1/projects/$project/images" | jq -r .id)
set=$(post "/v1/projects/$project/support-sets" \
    "$(jq --arg image "$image" '.classes[].examples[] += {image_id: $image}' "$work/support.json")")
job=$(post "/v1/projects/$project/jobs" "{\"support_set_id\": \"$set\", \"image_ids\": [\"$image\"], \"stride\": 20}")
state=running
while [ "$state" = queued ] || [ "$state" = running ]; do
    state=$(curl -sS --fail-with-body -H 'Prefer: wait=30' "$url/v1/jobs/$job" | jq -r .state)
done
curl -sS --fail-with-body -o "$work/overlay.png" "$url/v1/jobs/$job/results/$image/overlay.png?max_side=640&legend=true&scale_bar=true"
mv "$work/overlay.png" "$out"
echo "wrote $out"
