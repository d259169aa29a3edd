#!/bin/sh
# layers.sh - the rules of the house that can be a check: a floor includes only
# its own and the floors beneath it, the sources use no banned function, no
# file is too long.  Prints each breach as FILE:LINE: words.
cd "${GENET_SOURCE:-$(dirname "$0")/..}" || exit 1

find src cli include -name '*.c' -o -name '*.h' -o -name '*.def' | sort | xargs awk '
BEGIN {
    n = split("base graph device plan nn format hub text,image,audio model infer,train task api,serve cli", floor_names, " ")
    for (i = 1; i <= n; i++) {
        rooms = split(floor_names[i], room, ",")
        for (k = 1; k <= rooms; k++) floor[room[k]] = i
    }
    banned = "(strcpy|strcat|stpcpy|sprintf|vsprintf|gets|strtok|atoi|atol|atof|rand|srand|exit|_exit|abort|printf|vprintf|puts|putchar|setlocale|system)"
}
function breach(words) { print FILENAME ":" FNR ": " words; breaches++ }
# The line without comments and the contents of strings.
function code_of(line,    out, i, c, quote) {
    out = ""; quote = ""
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        if (in_comment) {
            if (substr(line, i, 2) == "*/") { in_comment = 0; i++ }
        } else if (quote != "") {
            if (c == "\\") i++
            else if (c == quote) { quote = ""; out = out c }
        } else if (substr(line, i, 2) == "/*") {
            in_comment = 1; i++
        } else if (substr(line, i, 2) == "//") {
            break
        } else {
            if (c == "\"" || c == "\047") quote = c
            out = out c
        }
    }
    return out
}
FNR == 1 {
    in_comment = 0
    split(FILENAME, part, "/")
    here = part[1] == "src" ? part[2] : part[1]
    if ($0 !~ /^\/\*/) breach("opens without a comment that says what it owns")
}
FNR == 1001 { breach("over 1000 lines") }
/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, quoted, "\"")
    target = quoted[2]
    split(target, path, "/")
    room_name = path[1]
    if (target ~ /\.\./) breach("includes by a path that climbs: " target)
    else if (here == "include" && room_name != "genet") breach("a public header includes " target)
    else if (room_name in floor && room_name != here && here in floor && floor[room_name] >= floor[here])
        breach(here "/ includes " target ", which is not beneath it")
}
{
    code = code_of($0)
    if (here != "cli" && code ~ ("(^|[^A-Za-z0-9_.>])" banned "[ \t]*\\(")) breach("banned function: " $0)
    if ($0 ~ /(TODO|FIXME)/) breach("unfinished: " $0)
    if ($0 ~ /[ \t]+$/) breach("space at the end of the line")
    if ($0 ~ /\t/) breach("a tab")
}
END { if (breaches) exit 1 }
'
