#!/usr/bin/env bash
# Bring a bare Debian machine to the browser that the site's tests look through.
#
# Does nothing where one is there already.
set -euo pipefail

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then
        exit 0
    fi
done
echo "== installing chromium"
as_root apt-get update -qq
# The fonts are what pages fall back to: without any, every text is a row of boxes.
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    chromium fonts-dejavu-core fonts-liberation >/dev/null
command -v chromium
