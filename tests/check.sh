#!/bin/sh
# Checks of the source itself: format, layers, headers that compile alone, banned functions, and the
# API's contract against the route table. Prints what is wrong; exits non-zero then.
set -u
cd "$(dirname "$0")/.."
failures=0
fail() {
    echo "check: $*" >&2
    failures=$((failures + 1))
}

sources=$(find base engine db api server tests -name '*.[ch]')

# ---- format: clang-format's output changes between versions; 14 is Debian 12's ----
formatter=$(command -v clang-format-14 || command -v clang-format || true)
if [ -n "$formatter" ] && "$formatter" --version | grep -q 'version 14'; then
    "$formatter" --dry-run -Werror $sources || fail "format (run clang-format -i)"
else
    echo "check: format skipped: clang-format 14 is not here"
fi

# ---- layers ----
# forbid PATTERN FILES... : no file may include a header that matches.
forbid() {
    pattern=$1
    shift
    found=$(grep -nE "^#include [<\"]($pattern)" "$@" /dev/null)
    [ -z "$found" ] || fail "layers: $found"
}
in_room() { find "$@" -name '*.[ch]'; }
forbid '(engine|db|api|server)/' $(in_room base)
forbid '(db|api|server)/' $(in_room engine)
forbid '(engine|api|server)/' $(in_room db)
forbid 'server/' $(in_room api)
# What the worker and the API share about a job, and nothing else of the API.
forbid 'api/[^l/][a-z_]*\.h|api/labels' $(in_room server/worker)
forbid 'microhttpd\.h|sqlite3\.h' $(in_room base engine api)
forbid 'microhttpd\.h' $(in_room server db tests | grep -v '^server/http/http\.c$' | grep -v '^tests/bench/')
forbid 'sqlite3\.h' $(in_room server db tests | grep -v '^db/stmt\.c$')
forbid 'jansson\.h' $(in_room engine db | grep -v '^engine/encoder/')
forbid 'png\.h' $(in_room base db api server engine | grep -v '^engine/image/png_')

# ---- every header compiles alone; no file avoids the list of banned functions ----
flags=$(pkg-config --cflags libmicrohttpd jansson libpng sqlite3 cmocka libcurl)
for header in $(find base engine db api server tests -name '*.h'); do
    cc -std=c17 -D_GNU_SOURCE -I. $flags -Wall -Wextra -Werror -fsyntax-only -x c "$header" ||
        fail "header does not compile alone: $header"
done
for name in strcpy sprintf strcat strncpy strtok atoi gmtime system; do
    if echo "void f(void); void f(void) { $name; }" |
        cc -include base/banned.h -fsyntax-only -x c - 2>/dev/null; then
        fail "base/banned.h does not ban $name"
    fi
done
grep -n 'undef.*poison\|pragma GCC system_header' $sources && fail "a file works round base/banned.h"

# ---- house rules ----
for file in $sources; do
    [ "$(wc -l <"$file")" -le 600 ] || fail "$file has over 600 lines"
done
# A function's braces stand alone at the start of a line.
long=$(awk '/^{$/ {start = FNR} /^}$/ && FNR - start - 1 > 60 {
    print FILENAME ":" start ": a function of " FNR - start - 1 " lines"}' $sources)
[ -z "$long" ] || fail "$long"
# The real micrographs are found through one variable; a file that names its default reads it too.
for file in $(grep -rlF '../shared' $sources models docs README.md CONTRIBUTING.md Makefile tests/*.sh); do
    grep -q CHIPSHOT_SHARED "$file" || fail "$file names ../shared but not CHIPSHOT_SHARED"
done

python3 tests/check_openapi.py || fail "openapi.yaml does not agree with api/routes.c"

[ "$failures" -eq 0 ] && echo "check: all good"
[ "$failures" -eq 0 ]
