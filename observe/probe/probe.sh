#!/bin/sh
# billing-probe: what one workspace's container has of billing mode, routes and
# credentials. Runs on the host as root, reads, and changes nothing. Of secrets
# it prints a name and a keyed fingerprint; the values stay in this shell's
# memory: never in an argument, a file, an error or the answer.
#
# This is a template: words between @ are filled in by package probe, those in
# double braces by SSM. POSIX sh, with od, awk, tr, sha256sum and docker.
# shellcheck disable=SC2086,SC2016 # words are split on purpose; awk and the container expand what is quoted
# shellcheck disable=SC2317 # watched is called by the name in limit
set +x +v +a +e +u
exec 2>/dev/null
set -f
LC_ALL=C
export LC_ALL
PATH=$PATH:/snap/bin

key='{{ Key }}'
box='{{ Container }}'
names='@NAMES@'
variables='@VARIABLES@'
secrets_dir='@SECRETS_DIR@'
longest='@LONGEST@'
hash=
nl='
'
# A literal pair of braces would be taken for a parameter of the SSM document.
o='{' c='}'
o=$o$o c=$c$c

main() {
    body="billing-probe @VERSION@ @DIGEST@$nl"
    look=ok
    addresses
    examine
    finish
}

examine() {
    tools || return
    inspect || return
    body="${body}status $status${nl}started $started${nl}restarts $restarts${nl}image $image$nl"
    if [ "$status" != running ]; then
        look=stopped
        return
    fi
    first=$life
    environment
    [ "$look" = hung ] && return
    before=$look
    inspect || return
    if [ "$life" != "$first" ]; then
        look=changed
        return
    fi
    look=$before
    [ "$look" = ok ] && credentials
}

# tools finds what is needed. printf must be the shell's own: as a program it
# would show a secret in its arguments.
tools() {
    case $(command -v printf) in
    printf) ;;
    *)
        look='printf'
        return 1
        ;;
    esac
    look=tools
    command -v od >/dev/null && command -v awk >/dev/null || return
    look=hasher
    if command -v sha256sum >/dev/null; then
        hash=sha256sum
    elif command -v shasum >/dev/null; then
        hash='shasum -a 256'
    elif command -v openssl >/dev/null; then
        hash='openssl dgst -sha256 -r'
    fi
    [ -n "$hash" ] || return
    look=nodocker
    command -v docker >/dev/null || return
    limit=watched
    command -v timeout >/dev/null && limit='timeout -s KILL'
    look=key
    case $key in *[!0-9a-f]*) return 1 ;; esac
    [ ${#key} -eq 32 ] || return
    look=ok
}

# watched SECONDS COMMAND...: for hosts without timeout. 137 when killed, as there.
watched() {
    seconds=$1
    shift
    "$@" &
    child=$!
    (
        trap 'kill $nap; exit' TERM
        sleep "$seconds" &
        nap=$!
        wait $nap && kill -KILL $child
    ) >/dev/null &
    dog=$!
    wait $child
    ended=$?
    kill $dog
    return $ended
}

hung() { [ "$1" -eq 137 ] || [ "$1" -eq 124 ]; }

# inspect sets life (what changes with a restart), status, started, restarts
# and image; or look, and fails. docker takes a prefix of an id for a name, so
# the name is compared.
inspect() {
    said=$($limit 6 docker inspect --type container -f "#facts $o.Name$c $o.Id$c $o.State.Status$c $o.State.StartedAt$c $o.RestartCount$c $o.Config.Image$c#" "$box" 2>&1 </dev/null)
    code=$?
    if hung $code; then
        look=hung
        return 1
    fi
    if [ $code -ne 0 ]; then
        look=docker
        case $said in *[Nn]'o such container'* | *[Nn]'o such object'*) look=absent ;; esac
        return 1
    fi
    look=docker
    case $said in *'#facts '*) ;; *) return 1 ;; esac
    said=${said##*"#facts "}
    set -- ${said%%"#"*}
    [ $# -ge 5 ] || return
    if [ "${1#/}" != "$box" ]; then
        look=absent
        return 1
    fi
    status=$3 started=$4 restarts=$5
    life="$2 $3 $4"
    case $status in *[!a-z]*) return 1 ;; esac
    case $started in *[!0-9TZ:.+-]*) return 1 ;; esac
    case $restarts in *[!0-9]*) return 1 ;; esac
    case ${6-} in *[!A-Za-z0-9._:/@+-]*) set -- "$1" "$2" "$3" "$4" "$5" '' ;; esac
    image=$(printf '%.120s' "${6-}")
    [ "$image" = "${6-}" ] || image=$image~
    look=ok
}

# environment sets facts to what decode found in environment and secrets.d, and
# look and the line "env". Each way of reading is tried only after the better
# one failed, none after a hang.
environment() {
    facts=$(both | decode nul)
    set -- $facts
    case "$1 $2" in
    'ok ok') body="${body}env exec$nl" ; return ;;
    *hung*) look=hung ; return ;;
    esac
    if [ "$2" != ok ]; then
        look=dir
        return
    fi
    found=${facts#* ok}
    facts=$(part E 4 inspect --type container -f "${o}json .Config.Env$c" "$box" | decode json)
    from=inspect
    case $facts in
    ok*) ;;
    hung*) look=hung ; return ;;
    *)
        facts=$(part E 4 exec "$box" printenv | decode lines)
        from=printenv
        ;;
    esac
    case $facts in
    ok*) facts=$facts$nl$found ; body="${body}env $from$nl" ;;
    hung*) look=hung ;;
    *) look='env' ;;
    esac
}

# part SECTION SECONDS ARGS...: a section of the stream for decode, which is
# the section's letter, what docker wrote, and docker's exit status, apart by
# NULs. After a hang the stream ends.
part() {
    printf '%s\000' "$1"
    seconds=$2
    shift 2
    $limit $seconds docker "$@" </dev/null
    code=$?
    printf '\000\000%s\000' $code
    hung $code && exit
    return $code
}

both() {
    part E 8 exec "$box" env -0 || part E 4 exec "$box" printenv -0
    part S 6 exec "$box" sh -c "$list" sh "$secrets_dir" $names ||
        part S 4 exec -u 0 "$box" sh -c "$list" sh "$secrets_dir" $names
}

# list runs in the container: NAME=content NUL for each known name. Exit status
# 3: something is there that cannot be read. A directory that is not there is
# no failure, but only where that can be told.
list='
d=$1
shift
if ! cd "$d"; then
    p=$d
    while [ -n "$p" ]; do
        if [ -e "$p" ] || [ -L "$p" ]; then
            [ "$p" != "$d" ] && [ -d "$p" ] && [ -x "$p" ] && exit 0
            exit 3
        fi
        p=${p%/*}
    done
    exit 0
fi
for n do
    if [ -f "$n" ]; then
        printf "%s=" "$n"
        if command -v tr >/dev/null; then
            tr -d "\000" <"$n" || exit 3
        else
            cat "$n" || exit 3
        fi
        printf "\000"
    elif [ -e "$n" ] && ! [ -d "$n" ]; then
        exit 3
    fi
done
exit 0
'

# decode MODE: reads part's sections and prints "STATUS-of-E STATUS-of-S", each
# ok, hung, bad or none, and then what it knows by name: "V2=text" or "V2~text"
# (cut) for a variable, ready to print; "E12 =octal" or "S12 =octal" for a
# credential. MODE says how the body is made: nul, json or lines. It works on
# od's hex, for no awk but one holds a NUL, and no two agree on the others.
decode() { od -An -v -tx1 -N 4194304 | awk -v mode="$1" -v names="$names" -v variables="$variables" "$decoder"; }

decoder='
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
    for (i = split(names, a, " "); i > 0; i--) credential[a[i]] = i - 1
    for (i = split(variables, a, " "); i > 0; i--) variable[a[i]] = i - 1
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
'

# credentials turns facts into lines of the answer.
credentials() {
    lines=$(fingerprints | awk -v names="$names" "$folder")
    case $lines in
    *broken*) look=hasher ;;
    *) body=$body$lines$nl ;;
    esac
}

# fingerprints prints "E12 HASH" for every credential with a value, "E12 -" for
# an empty one, and passes variables on. See drift.Key.Fingerprint.
fingerprints() {
    set -- $facts
    while [ $# -gt 0 ]; do
        case $1 in
        V*) printf '%s\n' "$1" ;;
        [ES][0-9]*)
            printf '%s ' "$1"
            shift
            if [ "$1" = = ]; then
                echo -
            else
                printf '%s%b' "$key" "${1#=}" | $hash | outer | $hash
            fi
            ;;
        esac
        shift
    done
}

# outer gives nothing where the inner hash is none; folder knows the hash of nothing.
outer() {
    read -r inner _
    [ ${#inner} -eq 64 ] && printf '%s%s' "$key" "$inner"
}

# folder prints "has FLAGS", a flag for each name in order, and "fp DIGITS",
# the fingerprints that the flags announce, eleven digits to base 64 each.
folder='
BEGIN {
    count = split(names, a, " ")
    digit = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
}
/^V/ { print "v" substr($1, 2); next }
$2 == "-" { fp[$1] = "-"; next }
length($2) != 64 || $2 ~ /[^0-9a-f]/ || $2 ~ /^e3b0c44298fc1c14/ { broken = 1 }
{ fp[$1] = substr($2, 1, 16) }

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

END {
    if (broken) { print "broken"; exit }
    for (i = 0; i < count; i++) {
        e = fp["E" i]
        s = fp["S" i]
        k = kind(e) * 3 + kind(s) + 1
        if (k == 9 && e == s) { flags = flags "b"; s = "" }
        else flags = flags substr("-SsEByexd", k, 1)
        if (kind(e) == 2) all = all short(e)
        if (kind(s) == 2) all = all short(s)
    }
    print "has " flags
    print "fp " all
}
'

# addresses asks the instance metadata service, version 2. Its token goes by
# standard input, too.
addresses() {
    command -v curl >/dev/null || return
    imds=http://169.254.169.254/latest
    token=$(curl -q -s -f --noproxy '*' --max-time 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $imds/api/token </dev/null)
    case $token in '' | *[!A-Za-z0-9_=+/-]*) return ;; esac
    for ip in $(printf 'header = "X-aws-ec2-metadata-token: %s"\nurl = "%s"\nurl = "%s"\n' "$token" $imds/meta-data/local-ipv4 $imds/meta-data/public-ipv4 |
        curl -q -s -f --noproxy '*' --max-time 2 -w '\n' -K -); do
        case $ip in *[!0-9a-fA-F.:]*) ;; *) [ ${#ip} -lt 46 ] && body="${body}ip $ip$nl" ;; esac
    done
}

# finish prints the answer with its length and checksum, so that a cut one is
# known as cut. One that SSM would cut is not given at all.
finish() {
    [ "$look" = ok ] || body="${body}look $look$nl"
    [ ${#body} -le $longest ] || body="billing-probe @VERSION@ @DIGEST@${nl}look long$nl"
    sum=none
    [ -z "$hash" ] || sum=$(printf %s "$body" | $hash)
    printf '%send %d %.8s\n' "$body" ${#body} "$sum"
}

main
exit 0
