#!/usr/bin/env bash
# Installs what is missing, builds, and starts saccade with the arguments given. With none: the explorer on the
# bundled model. Messages go to stderr, so `./run.sh run --json > result.json` holds JSON alone.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Built by someone else, or on a disk that is only read: nothing to install or to build.
[ -x "$root/build/release/saccade" ] && [ ! -w "$root/build/release" ] && exec "$root/build/release/saccade" "$@"
"$root/scripts/packages.sh" run || exit 1
# The tests need more packages: leave them out, unless test.sh has already set this folder up for both.
without_tests=-DBUILD_TESTING=OFF
[ -e "$root/build/release/build.ninja" ] && without_tests=
"$root/scripts/build.sh" release saccade $without_tests || exit 1
exec "$root/build/release/saccade" "$@"
