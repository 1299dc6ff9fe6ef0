#!/bin/sh
# Makes the real peers of the black-box tests available: a Prometheus server, curl, Python.
# As root on Debian or Ubuntu it installs what is missing, asks nothing and starts no service.
# Elsewhere it names what is missing; the tests that need it then skip, by name.
#
#   SFBROKER_PEERS=required   a missing peer is an error, here and in the tests (CI)
#   SFBROKER_PEERS=installed  take what is there, install nothing
set -eu

mode=${SFBROKER_PEERS:-}

# command:package. integration/peer_test.go looks the same commands up.
peers='prometheus:prometheus promtool:prometheus curl:curl python3:python3'

missing() {
	for peer in $peers; do
		command -v "${peer%%:*}" >/dev/null 2>&1 || echo "${peer#*:}"
	done | sort -u | tr '\n' ' '
}

# A package that brings a daemon starts it unless policy-rc.d says no. An existing policy stays.
policy=/usr/sbin/policy-rc.d
made_policy=
forbid_services() {
	[ -e "$policy" ] && return 0
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 0755 "$policy"
	made_policy=1
}
restore_services() { [ -z "$made_policy" ] || rm -f "$policy"; }

install() {
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends \
		-o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 $1 </dev/null >"$log" 2>&1
}

want=$(missing)
[ -n "$want" ] || exit 0

if [ "$mode" != installed ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing peers for the black-box tests: $want"
	log=$(mktemp)
	trap 'restore_services; rm -f "$log"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	forbid_services
	# Package lists are refreshed only when the first try finds them missing or stale.
	install "$want" || { apt-get update -qq </dev/null && install "$want"; } || tail -n 20 "$log" >&2
	want=$(missing)
	[ -n "$want" ] || exit 0
fi

echo "missing peers (Debian packages): $want" >&2
if [ "$mode" = required ]; then
	echo "error: SFBROKER_PEERS=required and not all peers are installed" >&2
	exit 1
fi
echo "tests that need them are skipped by name; on Debian, as root: apt-get install $want" >&2
