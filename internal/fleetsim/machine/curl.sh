#!/bin/sh
# A stand-in for curl, for the instance metadata service alone. It knows a PUT
# for the token, and a configuration on standard input with the token's header.
# shellcheck disable=SC1091,SC2154 # facts sets them
. "$MACHINE/facts"
imds=http://169.254.169.254/latest

case $faults in *' no-imds '*) exit 28 ;; esac # timed out
strange=
case $faults in *' strange-imds '*) strange='<html>404 - Not Found</html> * 10.0.0.300;x' ;; esac

case " $* " in
*" -X PUT "*" $imds/api/token "*)
    printf %s AQAEAKstandintoken0123456789abcdef==
    exit
    ;;
*' -K - '*) ;;
*) exit 2 ;;
esac

known=''
status=0
while read -r option _ value; do
    value=${value#\"}
    value=${value%\"}
    [ "$option $value" = 'header X-aws-ec2-metadata-token: AQAEAKstandintoken0123456789abcdef==' ] && known=1
    [ "$option" = url ] || continue
    answer=
    case $value in
    "$imds/meta-data/local-ipv4") answer=$private ;;
    "$imds/meta-data/public-ipv4") answer=$public ;;
    esac
    # 401 without the token, 404 for what there is not: with -f nothing, and 22.
    if [ -z "$known" ] || [ -z "$answer" ]; then
        status=22
        echo
    else
        printf '%s\n' "${strange:-$answer}"
    fi
done
exit $status
