# codegen.awk - the innermost loops of one function in the output of objdump -d
#
# Variables: name of the function; compiler, fmas, loops, spills, prefetches from codegen.txt;
# where, for messages; list=1 to print every loop instead.

function hex(text,    i, value) {
    value = 0
    for (i = 1; i <= length(text); i++)
        value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
    return value
}

/^[0-9a-f]+ <.*>:$/ {
    inside = $2 == "<" name ">:"
    next
}
inside && /^ *[0-9a-f]+:/ {
    text = $1
    sub(/:.*/, "", text)
    lines++
    address[lines] = hex(text)
    at[address[lines]] = lines
    code[lines] = $0
}

END {
    if (lines == 0) {
        print where ": no function " name
        exit 1
    }
    # A loop is a jump backwards and its target; it is innermost when no other lies inside.
    for (line = 1; line <= lines; line++) {
        if (!match(code[line], /\tj[a-z]+ +[0-9a-f]+ /))
            continue
        target = substr(code[line], RSTART, RLENGTH)
        sub(/\tj[a-z]+ +/, "", target)
        sub(/ .*/, "", target)
        start = hex(target)
        if (start > address[line] || !(start in at))
            continue
        count++
        first[count] = at[start]
        last[count] = line
    }
    for (i = 1; i <= count; i++) {
        innermost = 1
        for (j = 1; j <= count; j++) {
            if (first[j] >= first[i] && last[j] <= last[i] && \
                (first[j] > first[i] || last[j] < last[i]))
                innermost = 0
        }
        if (!innermost)
            continue
        multiplies = fetches = stack = 0
        for (line = first[i]; line <= last[i]; line++) {
            if (code[line] ~ /vfn?m(add|sub)[0-9]*[ps]s|vpdpbusd|vpmaddwd|vdpbf16ps/)
                multiplies++
            if (code[line] ~ /prefetch/)
                fetches++
            if (code[line] ~ /[xyz]mm/ && code[line] ~ /\(%r[sb]p[,)]/)
                stack++
        }
        if (list && multiplies > 0)
            printf "%s %s: %3d FMAs, %2d spills, %2d prefetches, %3d instructions\n", where, name,
                multiplies, stack, fetches, last[i] - first[i] + 1
        if (multiplies == fmas) {
            found++
            if (stack <= spills && fetches >= prefetches)
                good++
            else
                bad = bad sprintf(" (%d spills, %d prefetches)", stack, fetches)
        }
    }
    if (list)
        exit 0
    if (good < loops) {
        printf "%s %s: %d of %d loops of %d FMAs have at most %d spills and at least %d prefetches%s\n",
            where, name, good, loops, fmas, spills, prefetches, bad
        exit 1
    }
}
