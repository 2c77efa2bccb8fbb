#!/usr/bin/env bash
# Bring a bare Debian machine to what looks at the site from outside Python: Node with the packages
# of tests/leaderboard/node, and with the argument `firefox` Firefox too.
#
# Ends with 3, and its last line says why, where there is none to be had: the tests that need it are
# skipped then.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
missing=()
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if [ "${1:-}" = firefox ] && ! command -v firefox-esr >/dev/null; then
    missing+=(firefox-esr fonts-dejavu-core fonts-liberation)
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "== installing ${missing[*]}"
    as_root apt-get update -qq
    if ! as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
        echo "no ${missing[*]}: the tests that need it are skipped"
        exit 3
    fi
fi
if ! make --no-print-directory node-tools; then
    echo "no packages from npm: the tests that need them are skipped"
    exit 3
fi
