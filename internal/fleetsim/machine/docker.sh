#!/bin/sh
# A stand-in for docker: MACHINE is the machine's directory, LOOK a prefix for
# what one look has changed. It knows the commands that a probe needs.
# shellcheck disable=SC1091,SC2154,SC2086 # facts sets them; shell is split on purpose
. "$MACHINE/facts"

is() { case $faults in *" $1 "*) ;; *) return 1 ;; esac }
hang() { read -r _ <"$MACHINE/hang"; exit 1; }
refuse() { echo "$1" >&2; exit 1; }
no_program() {
    # docker says this on standard output, where an answer is expected.
    echo "OCI runtime exec failed: exec failed: unable to start container process: exec: \"$1\": executable file not found in \$PATH: unknown"
    exit 127
}

is warnings && echo 'WARNING: Error loading config file: /root/.docker/config.json: permission denied' >&2
[ "$state" = hung ] && hang
[ "$state" = 'daemon down' ] && refuse 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?'

command=$1
shift
format=
while :; do
    case $1 in
    --type | -u) shift 2 ;;
    -f) format=$2 ; shift 2 ;;
    *) break ;;
    esac
done
if [ "$1" != "$container" ] || [ "$state" = absent ]; then
    [ "$command" = inspect ] && echo
    refuse "Error response from daemon: No such container: $1"
fi
shift
if [ -e "$LOOK.seen" ]; then
    is removed && refuse "Error response from daemon: No such container: $container"
    is restarts && started=$started_again
    is stops && state=exited
fi

case $command in
inspect)
    case $format in *.Config.Env*)
        is no-inspect-env && refuse 'template parsing error: template: :1: function "json" not defined'
        exec cat "$MACHINE/env.json"
        ;;
    esac
    while :; do
        case $format in *'{{'*) ;; *) break ;; esac
        printf %s "${format%%'{{'*}"
        format=${format#*'{{'}
        case ${format%%'}}'*} in
        .Name) printf /%s "$container" ;;
        .Id) printf %s "$id" ;;
        .State.Status) printf %s "$state" ;;
        .State.StartedAt) printf %s "$started" ;;
        .RestartCount) printf %s "$restarts" ;;
        .Config.Image) printf %s "$image" ;;
        *) refuse "template parsing error: template: :1: unexpected <${format%%'}}'*}>" ;;
        esac
        format=${format#*'}}'}
    done
    printf '%s\n' "$format"
    exit
    ;;
exec) ;;
*) refuse "docker: '$command' is not a docker command." ;;
esac

: >"$LOOK.seen"
is hung-exec && hang
case $state in
running) is stops && refuse "Error response from daemon: container $id is not running" ;;
paused) refuse "Error response from daemon: Container $container is paused, unpause the container before exec" ;;
restarting) refuse "Error response from daemon: Container $id is restarting, wait until the container is running" ;;
*) refuse "Error response from daemon: container $id is not running" ;;
esac
case $1 in
env | printenv)
    is "no-$1" && no_program "$1"
    [ "$2" = -0 ] || exec cat "$MACHINE/env.lines"
    if is no-zero; then
        echo "$1: invalid option -- '0'" >&2
        exit 125
    fi
    is ignores-zero && exec cat "$MACHINE/env.lines"
    . "$MACHINE/env.zero"
    printf %b "$zero"
    exit
    ;;
sh)
    is no-shell && no_program sh
    is hung-secrets && hang
    inner=$3
    dir=$5
    shift 5
    # The container's files are below root; nothing else of this computer is
    # looked at. Where the container has no shell of its own choice it is this
    # one: every program started costs.
    set -- "$MACHINE/root$dir" "$@"
    [ -z "$shell" ] || exec $shell -c "$inner" sh "$@"
    exec 2>/dev/null
    eval "$inner"
    exit
    ;;
*) no_program "$1" ;;
esac
