#!/bin/bash
# coverage.sh [FOLDER]: how many lines of each reader the committed corpora run (clang, llvm-cov).
# Builds into FOLDER (build/cover), prints a table, ends with 1 when a reader is below 95 %.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/cover}
readers=(src/io/npy.c src/io/fvecs.c src/io/bin.c src/io/idx.c src/io/raw.c src/io/dense.c
         src/io/convert.c src/io/encode.c src/io/open.c src/text/html.c src/text/passages.c
         src/text/query.c src/text/stem.c src/text/terms.c)
version=$(clang -dumpversion | cut -d. -f1)
profdata=$(command -v "llvm-profdata-$version" || command -v llvm-profdata)
cov=$(command -v "llvm-cov-$version" || command -v llvm-cov)
mkdir -p "$build"

# cover TARGET SOURCE...: instruments these, and runs the target over its corpus.
objects=()
cover() {
    local target=$1
    shift
    clang -std=c11 -g -O1 -fprofile-instr-generate -fcoverage-mapping -Iinclude -Isrc \
        "fuzz/fuzz_$target.c" cmake/replay.c "$@" -lm -lpthread -o "$build/cover_$target"
    LLVM_PROFILE_FILE="$build/$target.profraw" "$build/cover_$target" "fuzz/corpus/$target" \
        >/dev/null
    objects+=(${objects[@]:+-object} "$build/cover_$target")
}
cmake --preset release -B "$build/lib" >/dev/null
cmake --build "$build/lib" --target dotk -j "$(nproc)" >/dev/null
for target in npy fvecs bin idx raw open save; do
    cover $target src/io/*.c "$build/lib/libdotk.a"
done
cover text src/text/*.c "$build/lib/libdotk.a" -lutf8proc
"$profdata" merge -o "$build/all.profdata" "$build"/*.profraw
"$cov" report -instr-profile "$build/all.profdata" "${objects[@]}" "${readers[@]}" |
    awk '/\.c / { printf "%-24s %4d of %4d lines  %7s\n", $1, $8 - $9, $8, $10
                  low = low || $10 + 0 < 95; files++ }
         END { exit low || !files }'
