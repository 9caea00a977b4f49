#!/bin/bash
# bad_input.sh BUILD: every row of the guide's table of bad input: the exit code and the message.
set -uo pipefail
dotk=$(cd "$1" && pwd)/dotk
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# npy NAME DESCR ORDER SHAPE DATA...: a .npy file; DATA are printf strings.
npy() {
    local name=$1 header="{'descr': $2, 'fortran_order': $3, 'shape': $4, }"
    shift 4
    { printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$header"; printf "$@"; } >"$name"
}

# expect CODE MESSAGE ARGUMENT...
expect() {
    local code=$1 message=$2 output got
    shift 2
    output=$("$dotk" "$@" 2>&1 >/dev/null)
    got=$?
    if [ "$got" -ne "$code" ] || [[ $output != *"$message"* ]]; then
        echo "dotk $*: exit code $got ($code expected), message \"$output\" (\"$message\" expected)"
        failed=1
    fi
}

one='\0\0\x80\x3f' two='\0\0\0\x40' zero='\0\0\0\0' nan='\0\0\xc0\x7f' infinity='\0\0\x80\x7f'
npy good.npy "'<f4'" False '(2, 2)' "$one$two$two$one"
npy wide.npy "'<f4'" False '(1, 3)' "$one$two$one"
npy nan.npy "'<f4'" False '(2, 2)' "$one$two$nan$one"
npy infinite.npy "'<f4'" False '(2, 2)' "$one$two$infinity$one"
npy zero.npy "'<f4'" False '(2, 2)' "$one$two$zero$zero"
npy short.npy "'<f4'" False '(2, 2)' "$one$two$two"
npy long.npy "'<f4'" False '(2, 2)' "$one$two$two$one$one"
npy huge.npy "'<f4'" False '(4611686018427387904, 16)' "$one"
npy beyond.npy "'<f4'" False '(1000000000000, 16)' "$one"
npy big.npy "'>f4'" False '(1, 1)' "$one"
npy fortran.npy "'<f4'" True '(2, 2)' "$one$two$two$one"
npy object.npy "'|O'" False '(1,)' '12345678'
npy complex.npy "'<c8'" False '(1,)' '12345678'
npy integer.npy "'<i4'" False '(1, 2)' '12345678'
npy record.npy "[('a', '<f4')]" False '(2,)' '12345678'
npy double.npy "'<f8'" False '(1, 1)' '\0\0\0\0\0\0\xf0\x7e'
: >empty.npy
head -c 40 good.npy >cut.npy
printf 'PK\3\4 and so on' >archive.npz
printf "\2\0\0\0$one$two\1\0\0\0$one$two" >rows.fvecs
printf '\1\0\0\0\1\0\0\0' >truth.ivecs
printf '\1\0\0\0\1\0\0\0\1\0\0\0' >truth.ibin
printf "\2\0\0\0\2\0\0\0$one$two$two" >short.fbin
printf '\377\377\377\377\377\377\377\377' >huge.fbin
gzip -c good.npy | head -c 60 >cut.npy.gz

expect 4 'No such file' knn missing.npy good.npy
expect 4 'directory' knn . good.npy
expect 4 'is empty' knn empty.npy good.npy
expect 4 'header should have' knn cut.npy good.npy
expect 4 'cut short' knn short.npy good.npy
expect 4 'added to' knn long.npy good.npy
expect 4 'more values than can be counted' knn huge.npy good.npy
expect 4 'cut short' knn beyond.npy good.npy
expect 4 "dtype='<f4'" knn big.npy good.npy
expect 4 'ascontiguousarray' knn fortran.npy good.npy
expect 4 "dtype='<f4'" knn object.npy good.npy
expect 4 "dtype='<f4'" knn complex.npy good.npy
expect 4 "dtype='<f4'" knn integer.npy good.npy
expect 4 'one field' knn record.npy good.npy
expect 4 'zip archive' knn archive.npz good.npy
expect 4 'row 1 (byte 12)' knn rows.fvecs good.npy
expect 4 'row numbers' knn truth.ivecs good.npy
expect 4 'row numbers' knn truth.ibin good.npy
expect 4 'cut short' knn short.fbin good.npy
expect 4 'more values than can be counted' knn huge.fbin good.npy
expect 4 'gzip' knn cut.npy.gz good.npy
expect 4 'range of f32' knn double.npy good.npy
expect 4 'rows[1]' knn nan.npy good.npy
expect 4 'queries[1]' knn good.npy infinite.npy
expect 4 'zero vector' knn zero.npy good.npy --metric cosine
expect 4 'dimensions differ' knn good.npy wide.npy
expect 2 'not a verb' search good.npy good.npy
expect 2 'help' knn good.npy
expect 2 '--frob' knn good.npy good.npy --frob
expect 2 '-k' knn good.npy good.npy -k 0
expect 2 '-k' knn good.npy good.npy -k -3
expect 2 '--threads' knn good.npy good.npy --threads many
expect 2 'go together' knn good.npy good.npy --raw f32
expect 4 'row 1, column 0 is nan: u8 holds whole numbers' convert nan.npy out.u8bin
expect 2 'names no format' convert good.npy out.txt
expect 2 '.npy holds f32, f16, u8, i8' convert good.npy out.npy --type bf16
expect 1 'No such file' knn good.npy good.npy --out-ids missing/ids.npy

# What cannot be written leaves what was there.
echo old >ids.npy
expect 1 'No space' knn good.npy good.npy --out-ids /dev/full
(ulimit -f 0; trap '' XFSZ; "$dotk" knn good.npy good.npy --out-ids ids.npy >/dev/null 2>&1)
[ $? -eq 1 ] && [ "$(cat ids.npy)" = old ] && [ "$(ls ids.npy*)" = ids.npy ] ||
    { echo "an output that could not be written did not leave the older file"; failed=1; }

"$dotk" knn good.npy good.npy >/dev/null || failed=1
exit $failed
