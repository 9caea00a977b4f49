#!/bin/bash
# install.sh BUILD: installs into an empty folder, moves it, and builds programs against what is
# there: find_package and pkg-config, shared and static, C11 and C++17.
set -euo pipefail
build=$(cd "$1" && pwd)
if grep -qE '^DOTK_(SANITIZE:STRING=.|COVERAGE:BOOL=ON|FUZZ:BOOL=ON)' "$build/CMakeCache.txt"; then
    echo "[  SKIPPED ] an instrumented library wants an instrumented program"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compiler=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")

cmake --install "$build" --prefix "$work/first" >"$work/log" || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/tree"
libdir=$(dirname "$(find "$work/tree" -name libdotk.a)")
export LD_LIBRARY_PATH=$libdir PKG_CONFIG_PATH=$libdir/pkgconfig
test -L "$libdir/libdotk.so"
test -x "$work/tree/bin/dotk"
test -s "$work/tree/share/man/man1/dotk.1"

cat >"$work/program.c" <<'END'
#include <dotk/dotk.h>
#include <dotk/text.h>
#include <stdio.h>

int
main(void)
{
    const float a[3] = {0.9f, 0.3f, 0.1f};
    char text[] = "<b>bold</b>";
    size_t size = 0;

    if (dotk_html_strip(text, sizeof text - 1, text, &size) != DOTK_OK || size != 4)
        return 1;
    printf("%s %.2f\n", dotk_version(), (double)dotk_dot(a, a, 3));
    return dotk_dot(a, a, 3) < 0.9f || dotk_dot(a, a, 3) > 0.92f;
}
END
cp "$work/program.c" "$work/program.cc"

# The soname is what programs are bound to.
"$compiler" -std=c11 -Werror "$work/program.c" -o "$work/shared" \
    $(pkg-config --cflags --libs dotk-text dotk)
"$work/shared"
readelf -d "$work/shared" | grep -q 'NEEDED.*libdotk\.so\.[0-9]*\.[0-9]*\]'

# Static: the archives in place of -ldotk-text and -ldotk.
libs=$(pkg-config --static --libs dotk-text dotk |
    sed "s|-ldotk-text|$libdir/libdotk-text.a|g; s|-ldotk\b|$libdir/libdotk.a|g")
"$compiler" -std=c11 "$work/program.c" -o "$work/static" $(pkg-config --cflags dotk) $libs
env -u LD_LIBRARY_PATH "$work/static"

# C++ sees the same headers.
for cxx in g++ clang++; do
    if command -v $cxx >/dev/null; then
        $cxx -std=c++17 -Wall -Wextra -pedantic -Werror "$work/program.cc" -o "$work/cc" \
            $(pkg-config --cflags --libs dotk-text dotk)
        "$work/cc"
    fi
done

# CMake, all four targets, without naming a path of ours.
cat >"$work/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(consumer C)
find_package(dotk 0.1 REQUIRED)
foreach(kind "" -static)
  add_executable(program${kind} program.c)
  target_link_libraries(program${kind} dotk::dotk-text${kind} dotk::dotk${kind})
endforeach()
END
cmake -S "$work" -B "$work/consumer" -DCMAKE_C_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$work/tree" >"$work/log" ||
    { cat "$work/log"; exit 1; }
cmake --build "$work/consumer" >"$work/log" || { cat "$work/log"; exit 1; }
"$work/consumer/program"
"$work/consumer/program-static"
