# folder makes the answer of plain lines and of what fingerprints printed: "has
# FLAGS", a flag for each name in order, and "fp DIGITS", the fingerprints that
# the flags announce, eleven digits to base 64 each. Its last line has length
# and Adler-32 checksum of the others, so that a cut answer is known as cut. An
# answer that SSM would cut is not given at all.
BEGIN {
    count = split("@NAMES@", name, " ")
    digit = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
    for (i = 1; i < 127; i++) code[sprintf("%c", i)] = i
}
NR == 1 { first = $0 "\n" }
/^V/ { say("v" substr($1, 2)); next }
/^image / && length($0) > 126 { $0 = substr($0, 1, 126) "~" }
/^[a-z]/ { say($0); next }
$2 in fp { fp[$1] = fp[$2]; next }
$2 == "-" { fp[$1] = "-"; next }
length($2) != 64 || $2 ~ /[^0-9a-f]/ || $2 ~ /^e3b0c44298fc1c14/ { broken = 1 }
{ fp[$1] = substr($2, 1, 16) }

function say(line) { body = body line "\n" }
function hex(s,    i, v) {
    for (i = 1; i <= length(s); i++) v = v * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1
    return v
}
function short(s,    i, v, t) {
    for (i = 1; i < 16; i += 3) {
        v = hex(substr(s, i, 3))
        t = t substr(digit, int(v / 64) + 1, 1) substr(digit, v % 64 + 1, 1)
    }
    return t substr(digit, hex(substr(s, 16)) + 1, 1)
}
function kind(v) { return v == "" ? 0 : v == "-" ? 1 : 2 }
function credentials(    i, e, s, k, flags, all) {
    for (i = 0; i < count; i++) {
        e = fp["E" i]
        s = fp["S" i]
        k = kind(e) * 3 + kind(s) + 1
        if (k == 9 && e == s) { flags = flags "b"; s = "" }
        else flags = flags substr("-SsEByexd", k, 1)
        if (kind(e) == 2) all = all short(e)
        if (kind(s) == 2) all = all short(s)
    }
    say("has " flags)
    say("fp " all)
}

END {
    if (look == "ok") credentials()
    else say("look " look)
    if (broken) body = first "look hasher\n"
    if (length(body) > @LONGEST@) body = first "look long\n"
    low = 1
    high = 0
    for (i = 1; i <= length(body); i++) {
        low = (low + code[substr(body, i, 1)]) % 65521
        high = (high + low) % 65521
    }
    printf "%send %d %04x%04x\n", body, length(body), high, low
}
