#!/bin/sh
# Runs the code blocks (```sh) of a Markdown file as one script, as a user who pastes them would.
# Usage: readme.sh FILE CHIPSHOT; `build/chipshot` in the blocks becomes CHIPSHOT.
set -eu
file=$1 chipshot=$2
script=$(mktemp)
server=""
trap 'rm -f "$script"; [ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
awk '/^```sh$/ {inside = 1; next} /^```$/ {inside = 0} inside' "$file" |
    sed "s|build/chipshot|$chipshot|g" >"$script"
[ -s "$script" ]
. "$script"
server=""
# What the blocks promise: a map that is a PNG, and a line for each chip.
[ "$(head -c 4 "$work/overlay.png" | tail -c 3)" = PNG ]
[ "$(wc -l <"$work/labels.csv")" -gt 200 ]
rm -rf "$work"
