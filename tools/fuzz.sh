#!/usr/bin/env bash
# Runs the fuzz targets of the packages that changed, a fixed number of executions each: a bound
# on time ends some runs with a spurious "context deadline exceeded".
#
# Changed means: any file below the package's folder differs from the base, committed or not.
#   FUZZ_BASE=<commit>   the base; "all" takes every package
#   otherwise            the fork point from origin/main on a branch, else the last commit that is
#                        older than a day; with neither, every package
#   FUZZ_COUNT=20000     executions a target
set -euo pipefail
cd "$(dirname "$0")/.."

GO=${GO:-go}
COUNT=${FUZZ_COUNT:-20000}

base() {
	if [ -n "${FUZZ_BASE:-}" ]; then
		[ "$FUZZ_BASE" = all ] || git rev-parse --verify "$FUZZ_BASE^{commit}"
		return
	fi
	local fork
	fork=$(git merge-base HEAD origin/main 2>/dev/null || true)
	if [ -n "$fork" ] && [ "$fork" != "$(git rev-parse HEAD)" ]; then
		echo "$fork"
		return
	fi
	git rev-list -1 --before='24 hours ago' HEAD 2>/dev/null || true
}

BASE=$(base)
if [ -n "$BASE" ]; then
	CHANGED=$({ git diff --name-only "$BASE"; git ls-files --others --exclude-standard; } | sort -u)
	echo "fuzz: packages changed since $BASE"
else
	echo "fuzz: all packages"
fi

# A root go.mod or go.sum that changed puts other code under every target.
changed() {
	[ -n "$BASE" ] || return 0
	grep -qE "^($1/|go\.(mod|sum)$)" <<<"$CHANGED"
}

# git grep exits 1 where nothing matches, which is no error here.
found=$({ git grep -l --untracked -E '^func Fuzz[A-Z0-9_]' -- '*_test.go' || true; } | xargs -r -n1 dirname | sort -u)
ran=0
for dir in $found; do
	changed "$dir" || continue
	for target in $(cat "$dir"/*_test.go | sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' | sort -u); do
		start=$SECONDS
		echo "fuzz: ./$dir $target"
		"$GO" test -run='^$' -fuzz="^$target\$" -fuzztime="${COUNT}x" -fuzzminimizetime=100x "./$dir"
		echo "fuzz: ./$dir $target took $((SECONDS - start)) s"
		ran=$((ran + 1))
	done
done
echo "fuzz: $ran targets in $SECONDS s"
