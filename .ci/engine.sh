#!/usr/bin/env bash
# Bring a bare Debian machine to a container engine that answers and a local Python base image.
#
# Does nothing twice: what is installed, running or built already is left alone.
# Afterwards: export BMAD_BASE_IMAGE=bmad/base:local
set -euo pipefail
cd "$(dirname "$0")/.."

log=${TMPDIR:-/tmp}/dockerd.log

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
command -v dockerd >/dev/null || missing+=(docker.io)
command -v docker >/dev/null || missing+=(docker.io)
command -v debootstrap >/dev/null || missing+=(debootstrap)
command -v make >/dev/null || missing+=(make)
command -v git >/dev/null || missing+=(git)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    echo "== installing ${missing[*]}"
    as_root apt-get update -qq
    # With what docker.io recommends: without systemd it needs cgroupfs-mount.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi
if ! mountpoint -q /sys/fs/cgroup && command -v cgroupfs-mount >/dev/null; then
    as_root cgroupfs-mount
fi

answers() { docker version >/dev/null 2>&1; }

wait_for_engine() {
    for _ in $(seq 60); do
        answers && return 0
        sleep 0.5
    done
    return 1
}

# An engine that was killed leaves its pid files, and the pid may be another program's by now.
clear_stale_pids() {
    pgrep -x dockerd >/dev/null || as_root rm -f /var/run/docker.pid
    pgrep -x containerd >/dev/null || as_root rm -f /var/run/docker/containerd/containerd.pid
}

# Output goes to a file: a background program that holds CI's own pipe would keep it open.
start_engine() { as_root sh -c "nohup dockerd $* >>'$log' 2>&1 </dev/null &"; }

if ! answers; then
    echo "== starting the container engine (log: $log)"
    clear_stale_pids
    start_engine
    if ! wait_for_engine; then
        # Without netfilter no bridge can be made; entries have no network anyway.
        echo "== it did not start; once more without a bridge"
        start_engine --bridge=none --iptables=false
        wait_for_engine || { tail -30 "$log"; exit 1; }
    fi
fi
docker version --format 'engine {{.Server.Version}}, API {{.Server.APIVersion}}'

as_root scripts/local-base.sh
