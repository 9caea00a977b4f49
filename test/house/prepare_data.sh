#!/bin/bash
# prepare_data.sh BUILD: tools/prepare-data with a folder of two sets, one of them text.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
[ -x "$build/dotk" ] || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$1"
    exit 1
}

# prepare EXIT-CODE WORDS: the script ends with this code, having said these words.
prepare() {
    local code=0 said
    said=$(tools/prepare-data "$build" "$work/out" 2>&1) || code=$?
    [ "$code" -eq "$1" ] || fail "exit code $code, not $1: $said"
    [[ $said == *"$2"* ]] || fail "it should say '$2': $said"
}

DOTK_DATA= prepare 1 "DOTK_DATA is ''"
export DOTK_DATA=$work/data
prepare 1 "which is no folder"

mkdir -p "$DOTK_DATA/sift" "$DOTK_DATA/emb-lucene"
line=$(seq -s ' ' 1 128)
printf '%s 100000\n%s\n' "$line" "$line" >"$DOTK_DATA/sift/sift-dataset-5k.tsv"
head -c 1200 /dev/zero >"$DOTK_DATA/emb-lucene/vector-task-100d.vec"
prepare 0 "sift.u8bin: made"
prepare 0 "sift.u8bin: is there"
prepare 0 "mnist-train.u8bin: left out"
[ "$(head -c 8 "$work/out/sift.u8bin" | od -An -tu4 | xargs)" = "2 128" ] || fail "not 2 rows of 128"
[ "$(tail -c 3 "$work/out/sift.u8bin" | od -An -tu1 | xargs)" = "126 127 128" ] || fail "other values"
"$build/dotk" inspect "$work/out/glove.npy" | grep -q '^rows *3$' || fail "glove.npy has not 3 rows"

for bad in "1.5 $line" "1 2 3" "256 $line"; do
    rm -f "$work/out/sift.u8bin"
    echo "$bad" >"$DOTK_DATA/sift/sift-dataset-5k.tsv"
    prepare 1 "sift-dataset-5k.tsv:1: "
    [ ! -e "$work/out/sift.u8bin" ] || fail "a file from bad numbers"
done
