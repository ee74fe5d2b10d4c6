#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests: with clang (warnings as errors), with gcc under
# the address and undefined-behaviour sanitizers, and with gcc optimised. Arguments go to ctest: ./test.sh -R cli
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root" || exit 1
"$root/scripts/packages.sh" test || exit 1

failed=0
if command -v clang >/dev/null 2>&1; then
    echo "== clang: everything compiles without a warning"
    "$root/scripts/build.sh" clang all || exit 1
else
    echo "== clang is not installed: its warnings are not checked"
fi
for preset in dev release; do
    echo "== $preset: build and test"
    "$root/scripts/build.sh" "$preset" all -DBUILD_TESTING=ON || exit 1
    # The sanitizers slow everything down; nothing is timed, so two tests at a time are fine.
    ctest --test-dir "build/$preset" -j 2 --output-on-failure --timeout 1800 "$@" || failed=1
done
exit $failed
