#!/bin/sh
# list runs in the container: NAME=content NUL for each known name. Exit status
# 3: something is there that cannot be read. A directory that is not there is
# no failure, but only where that can be told.
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
