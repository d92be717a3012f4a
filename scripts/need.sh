#!/bin/sh
# need.sh [--try] PACKAGE...
#
# Makes sure that what the named Debian packages bring is here, and installs
# the missing ones as root or with a sudo that asks nothing. Elsewhere it says
# what to install and fails; with --try it only says so.
set -eu

must=yes
if [ "${1-}" = --try ]; then
	must=no
	shift
fi

# any FILE...: is one of them there? For globs that may match nothing.
any() {
	for file; do
		if [ -x "$file" ]; then
			return 0
		fi
	done
	return 1
}

# has PACKAGE: is what it brings here already, however it came?
has() {
	case $1 in
	postgresql) # where internal/localpg looks, too
		command -v postgres >/dev/null ||
			any "$(pg_config --bindir 2>/dev/null)/postgres" /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres \
				/opt/homebrew/opt/postgresql*/bin/postgres /usr/local/opt/postgresql*/bin/postgres \
				/Applications/Postgres.app/Contents/Versions/*/bin/postgres
		;;
	prometheus) command -v promtool >/dev/null ;;
	pgbouncer) command -v pgbouncer >/dev/null || any /usr/sbin/pgbouncer ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

missing=
for package; do
	if [ "$package" = postgresql ] && [ -n "${TEST_DATABASE_URL-}" ]; then
		continue
	fi
	has "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	as_root="sudo -n"
fi

# Debian's packages start servers of their own; ours are private. A cluster is
# not created, and no service is started, only while we install and only where
# nobody has said otherwise.
install() {
	conf=/etc/postgresql-common/createcluster.conf
	case "$missing" in
	*postgresql*)
		if [ ! -e $conf ]; then
			$as_root mkdir -p ${conf%/*}
			echo 'create_main_cluster = false' | $as_root tee $conf >/dev/null
		fi
		;;
	esac
	policy=/usr/sbin/policy-rc.d
	ours=no
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
		$as_root chmod 755 $policy
		ours=yes
	fi
	status=0
	# shellcheck disable=SC2086 # a list of packages
	{ $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold $missing; } >&2 || status=$?
	if [ $ours = yes ]; then
		$as_root rm -f $policy
	fi
	for service in prometheus pgbouncer; do # nor at the next boot
		case "$missing " in
		*" $service "*) if command -v systemctl >/dev/null; then $as_root systemctl disable --quiet $service >&2 || true; fi ;;
		esac
	done
	return $status
}

if command -v apt-get >/dev/null && { [ -z "$as_root" ] || sudo -n true 2>/dev/null; }; then
	echo "installing:$missing" >&2
	if install; then
		exit 0
	fi
fi

echo "not installed:$missing" >&2
echo "  Debian, Ubuntu: sudo apt-get install$missing" >&2
echo "  macOS:          brew install$missing" >&2
if [ $must = no ]; then
	exit 0
fi
exit 1
