#!/usr/bin/env bash
# Make the Python base image without any registry: Debian bookworm (Python 3.11) by debootstrap.
#
#   scripts/local-base.sh              makes bmad/base:local, if it is not there yet (1 to 2 minutes)
#   export BMAD_BASE_IMAGE=bmad/base:local
#
# Needs root, debootstrap and a running engine. The mirror is the one that apt uses here.
set -euo pipefail

image=${1:-bmad/base:local}
suite=bookworm # its Python is the minor version that requirements.lock was made for

if docker image inspect "$image" >/dev/null 2>&1; then
    echo "$image is there already"
    exit 0
fi

mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 2>/dev/null |
    awk -v suite="$suite" '$2 == suite { print $1; exit }' || true)
root=$(mktemp -d /var/tmp/bmad-base.XXXXXX) # not /tmp, which may be mounted nodev
trap 'rm -rf "$root"' EXIT

echo "== $image: Debian $suite with Python, 1 to 2 minutes"
# shellcheck disable=SC2086 -- no mirror means debootstrap's own default
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
    "$suite" "$root" $mirror >"$root.log" 2>&1 || { tail -20 "$root.log"; exit 1; }
rm -f "$root.log"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar --numeric-owner --exclude='./dev/*' -C "$root" -c . | docker import - "$image"
