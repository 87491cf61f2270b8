#!/bin/sh
# Checks of the source itself: format, headers that compile alone, banned functions, the laws of the house
# (check_structure.py), and the API's contract against the route table (check_openapi.py). Prints what is wrong;
# exits non-zero then.
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
# The real micrographs are found through one variable; a file that names its default reads it too.
for file in $(grep -rlF '../shared' $sources models docs README.md CONTRIBUTING.md Makefile tests/*.sh); do
    grep -q CHIPSHOT_SHARED "$file" || fail "$file names ../shared but not CHIPSHOT_SHARED"
done

python3 tests/check_structure.py || fail "a law of the house is broken"
python3 tests/check_openapi.py || fail "openapi.yaml does not agree with api/routes.c"

[ "$failures" -eq 0 ] && echo "check: all good"
[ "$failures" -eq 0 ]
