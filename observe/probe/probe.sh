#!/bin/sh
# billing-probe: what one workspace's container has of billing mode, routes and
# credentials. Runs on the host as root, reads, and changes nothing. Of secrets
# it prints a name and a keyed fingerprint; the values stay in this shell's
# memory: never in an argument, a file, an error or the answer.
#
# Package probe fills in words between at signs, SSM those in double braces.
# POSIX sh, with docker, od, awk, and sha256sum or another.
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
secrets_dir='@SECRETS_DIR@'
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
}

# tools finds what is needed. printf must be the shell's own: as a program it
# would show a secret in its arguments.
tools() {
    look='printf'
    PATH=/nonexistent printf '' || return
    look=tools
    command -v od >/dev/null && command -v awk >/dev/null || return
    look=hasher
    hash=
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
    image=${6-}
    look=ok
}

# environment sets facts to what decoder found in environment and secrets.d, and
# look and the line "env". Each way of reading is tried only after the better
# one failed, none after a hang.
environment() {
    facts=$(both | $dump | awk -v mode=nul "$decoder")
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
    facts=$(part E 4 inspect --type container -f "${o}json .Config.Env$c" "$box" | $dump | awk -v mode=json "$decoder")
    from=inspect
    case $facts in
    ok*) ;;
    hung*) look=hung ; return ;;
    *)
        facts=$(part E 4 exec "$box" printenv | $dump | awk -v mode=lines "$decoder")
        from=printenv
        ;;
    esac
    case $facts in
    ok*) facts=$facts$nl$found ; body="${body}env $from$nl" ;;
    hung*) look=hung ;;
    *) look='env' ;;
    esac
}

# part SECTION SECONDS ARGS...: a section of the stream for decoder, which is
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

# What runs in the container: see list.sh.
list='
@LIST@'

dump='od -An -v -tx1 -N 4194304'
# What reads the stream: see decoder.awk.
decoder='
@DECODER@'

# fingerprints prints "E12 HASH" for every credential with a value, "E12 -" for
# an empty one, "E12 S3" for one with the value of another, and passes variables
# on. See drift.Key.Fingerprint.
fingerprints() {
    set -- $facts
    distinct=0
    while [ $# -gt 0 ]; do
        case $1 in
        V*) printf '%s\n' "$1" ;;
        [ES][0-9]*)
            fingerprint "$1" "$2"
            shift
            ;;
        esac
        shift
    done
}

fingerprint() {
    i=0
    twin=
    if [ "$2" = = ]; then
        echo "$1 -"
        return
    fi
    while [ $i -lt $distinct ]; do
        if eval "[ \"\$2\" = \"\$value$i\" ] && twin=\$place$i"; then
            echo "$1 $twin"
            return
        fi
        i=$((i + 1))
    done
    eval "value$i=\$2 place$i=\$1"
    distinct=$((i + 1))
    printf '%s ' "$1"
    printf '%s%b' "$key" "${2#=}" | $hash | outer | $hash
}

# outer gives nothing where the inner hash is none; folder knows the hash of nothing.
outer() {
    read -r inner _
    [ ${#inner} -eq 64 ] && printf '%s%s' "$key" "$inner"
}

# What makes the answer: see folder.awk.
folder='
@FOLDER@'

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

# finish prints the answer. Without awk it cannot have its last line.
finish() {
    {
        printf %s "$body"
        [ "$look" = ok ] && fingerprints
    } | awk -v look="$look" "$folder" && return
    printf '%slook tools\nend %d none\n' "$body" ${#body}
}

main
exit 0
