#!/bin/sh
# Prints -race where the race detector can be built: cgo is on, a C compiler compiles and links,
# and the platform is supported. Prints nothing and says so on stderr where it cannot.
set -u
GO=${GO:-go}

no() { echo "race detector off: $1" >&2; exit 0; }

case "$($GO env GOOS)/$($GO env GOARCH)" in
linux/amd64 | linux/arm64 | linux/ppc64le | linux/s390x | darwin/amd64 | darwin/arm64 | freebsd/amd64 | netbsd/amd64 | windows/amd64) ;;
*) no "platform not supported" ;;
esac
[ "$($GO env CGO_ENABLED)" = 1 ] || no "no C compiler, or CGO_ENABLED=0"

dir=$(mktemp -d) || no "no temporary directory"
trap 'rm -rf "$dir"' EXIT
printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' >"$dir/probe.c"
# CC may carry flags, so it is split on purpose.
# shellcheck disable=SC2046
$($GO env CC) -o "$dir/probe" "$dir/probe.c" >/dev/null 2>&1 || no "$($GO env CC) cannot build a C program"
echo -race
