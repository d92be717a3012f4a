# decoder reads part's sections as dump gives them, for no awk but one holds a
# NUL, and no two agree on other bytes. It prints "STATUS-of-E STATUS-of-S", each
# ok, hung, bad or none, and then what it knows by name: "V2=text" or "V2~text"
# (cut) for a variable, ready to print; "E12 =octal" or "S12 =octal" for a
# credential. mode says how the body is made: nul, json or lines.
BEGIN {
    for (i = 0; i < 256; i++) {
        h = sprintf("%02x", i)
        c = sprintf("%c", i)
        H[i] = h
        name_ok = (i >= 48 && i <= 57) || (i >= 65 && i <= 90) || (i >= 97 && i <= 122) || i == 95
        C[h] = (i > 32 && i < 127) ? c : "?"
        O[h] = (name_ok || i == 45 || i == 46) ? c : sprintf("\\0%03o", i)
        P[h] = (i > 32 && i < 127 && i != 37) ? c : sprintf("%%%02X", i)
    }
    for (i = split("@NAMES@", a, " "); i > 0; i--) credential[a[i]] = i - 1
    for (i = split("@VARIABLES@", a, " "); i > 0; i--) variable[a[i]] = i - 1
    status["E"] = status["S"] = "none"
    phase = "head"
}

# Most of an environment is not ours: a line within an unknown value is passed
# over by what could end it.
take == "skip" && phase == "body" {
    if (mode == "nul" && !index($0, "00")) next
    if (mode == "lines" && !index($0, "00") && !index($0, "0a")) next
    if (mode == "json" && quoted == 1 && !index($0, "00") && !index($0, "22") && !index($0, "5c")) next
}
{
    for (f = 1; f <= NF; f++) byte($f)
    flush()
}

function byte(h) {
    if (phase == "body") body(h)
    else if (phase == "head") {
        if (h != "00") section = C[h]
        else open_section()
    } else if (phase == "gap") {
        # One NUL more, or the last record was cut.
        phase = "code"
        if (h != "00") { bad = 1; code = C[h] }
    } else if (h != "00") code = code C[h]
    else close_section()
}

function open_section() {
    phase = "body"
    kept = n; bad = 0; code = ""; records = 0; quoted = 0; last = ""
    split("", seen)
    new_record()
}

function close_section() {
    phase = "head"
    if (code == "0" && !bad && (records || section == "S")) { status[section] = "ok"; return }
    status[section] = (code == "137" || code == "124") ? "hung" : "bad"
    n = kept
}

function body(h) {
    if (mode == "json") json(h)
    else if (h == (mode == "nul" ? "00" : "0a") && size) end_record()
    else if (h == "00") end_body()
    else if (h == "0a" && mode == "lines") new_record()
    else put(h)
}

function end_body() {
    if (mode == "lines" && size || mode == "json" && (quoted || last != "]")) bad = 1
    phase = "gap"
}

# Strings of a JSON list, as Go writes them: what is not UTF-8 comes out as
# U+FFFD, and then the value is lost.
function json(h) {
    if (quoted == 0) {
        if (h == "00") end_body()
        else if (h == "22") { quoted = 1; new_record() }
        else if (h != "20" && h != "0a") last = C[h]
    } else if (quoted == 2) {
        quoted = 1
        if (h == "75") { quoted = 3; digits = 0; point = 0 }
        else put(h == "6e" ? "0a" : h == "74" ? "09" : h == "72" ? "0d" : h == "62" ? "08" : h == "66" ? "0c" : h)
    } else if (quoted == 3) {
        point = point * 16 + index("0123456789abcdef", tolower(C[h])) - 1
        if (++digits == 4) { quoted = 1; unicode(point) }
    } else if (h == "5c") quoted = 2
    else if (h == "22") { quoted = 0; end_record() }
    else if (h == "00") end_body()
    else {
        tail = substr(tail h, length(tail h) - 5)
        if (tail == "efbfbd" && take == "credential") bad = 1
        put(h)
    }
}

function unicode(p) {
    if (p >= 55296 && p < 56320) { high = p; return }
    if (p >= 56320 && p < 57344) p = 65536 + (high - 55296) * 1024 + p - 56320
    if (p == 65533 && take == "credential") bad = 1
    if (p < 128) put(H[p])
    else if (p < 2048) { put(H[192 + int(p / 64)]); more(p, 1) }
    else if (p < 65536) { put(H[224 + int(p / 4096)]); more(p, 64); more(p, 1) }
    else { put(H[240 + int(p / 262144)]); more(p, 4096); more(p, 64); more(p, 1) }
}
function more(p, unit) { put(H[128 + int(p / unit) % 64]) }

function new_record() { name = ""; size = 0; take = "name"; tail = "" }

function put(h) {
    size++
    if (take == "credential") {
        if (h == "00") return
        if (h == "0a") { newlines++; return }
        for (; newlines > 0; newlines--) text = text "\\0012"
        text = text O[h]
    } else if (take == "variable") {
        if (size - length(name) < 2049) value = value P[h]
        else long = 1
    } else if (take == "name") {
        if (h == "3d") choose()
        else if (size < 128) name = name C[h]
        else take = "skip"
    }
}

function choose() {
    take = "skip"
    if (name in seen) return
    seen[name] = 1
    if (section == "E" && name in variable) { take = "variable"; value = ""; long = 0 }
    else if (name in credential) { take = "credential"; newlines = 0; text = section credential[name] " =" }
}

function end_record() {
    records++
    if (take == "credential") { text = text "\n"; flush() }
    else if (take == "variable") { text = "V" variable[name] shown(value, name ~ /_BASE_URL$/) "\n"; flush() }
    # Only a NUL inside a file gives a stranger there.
    else if (section == "S") bad = 1
    new_record()
}

function flush() {
    if (text == "") return
    out[n++] = text
    text = ""
}

# shown gives a value as it may be printed: of a URL neither userinfo nor query
# nor fragment; nothing of it where it cannot be told what is userinfo.
function shown(v, url,    i, head, host, path) {
    if (url || index(v, "://")) {
        if (i = match(v, /[?#]/)) { v = substr(v, 1, i - 1); long = 0 }
        head = ""
        if (i = index(v, "://")) { head = substr(v, 1, i + 2); v = substr(v, i + 3) }
        while (v ~ /^[\/\\]/) { head = head substr(v, 1, 1); v = substr(v, 2) }
        i = index(v, "/")
        host = i ? substr(v, 1, i - 1) : v
        path = i ? substr(v, i) : ""
        if (long && !i || index(host, "@") && index(host, "\\") || head !~ /:\/\// && index(path, "@")) { host = path = ""; long = 1 }
        while (i = index(host, "@")) host = substr(host, i + 1)
        if (head !~ /^(%[0-9A-F][0-9A-F])*[A-Za-z][A-Za-z0-9+.-]*:\/\/[\/\\]*$/ && head !~ /^[\/\\]*$/) { head = "//"; host = path = ""; long = 1 }
        if (long && head host path == "") head = "//"
        v = head host path
    }
    if (length(v) > 120) {
        i = 120
        if (substr(v, i, 1) == "%") i--
        else if (substr(v, i - 1, 1) == "%") i -= 2
        v = substr(v, 1, i)
        long = 1
    }
    return (long ? "~" : "=") v
}

END {
    print status["E"], status["S"]
    for (i = 0; i < n; i++) printf "%s", out[i]
}
