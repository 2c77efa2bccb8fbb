#!/usr/bin/env bash
# A small Debian 13 root with Apptainer and Podman 5, entered like a host of its own: there the engines
# of clusters without Docker are tried for real, as an ordinary user, on whatever machine CI runs on.
#
#   .ci/hpc-root.sh make          make the root, where it is not there yet (2 minutes)
#   .ci/hpc-root.sh check         say what is missing to enter it
#   .ci/hpc-root.sh user CMD…     run CMD there as the ordinary user `hpc`, in this checkout
#   .ci/hpc-root.sh root CMD…     the same as root
#
# It stands in $BMAD_HPC_ROOT, else in /var/cache/bmad/hpc-root. Needs root, namespaces and, to make it,
# Debian's packages; where it cannot be made or entered, the exit code is 3 and the last line says why.
#
# Whoever enters has processes, mounts, /tmp and a home of his own, and nothing of them is left after.
# Seen there under their own paths: this checkout, the interpreter and its environment, read-only; and
# $BMAD_HPC_SHARE, a folder to hand files over in, writable. $BMAD_HPC_COPIED: a folder of the checkout
# that is shown as a copy, writable. $BMAD_HPC_HOME: a home that stays.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${BMAD_HPC_ROOT:-/var/cache/bmad/hpc-root}
suite=trixie
ready=$root/etc/bmad-ready # written last: what is half made is made anew

cannot() {
    echo "no Debian 13 root for Apptainer and Podman: $*" >&2
    exit 3
}

is_possible() {
    [ "$(id -u)" = 0 ] || cannot "it takes root"
    unshare --mount --pid --fork true 2>/dev/null || cannot "this machine allows no namespaces"
}

is_there() {
    is_possible
    [ -e "$ready" ] || cannot "it has not been made (.ci/hpc-root.sh make)"
}

# The mirror is the one that apt uses here, whatever suites it asks it for.
mirror() {
    apt-get indextargets --format '$(SITE) $(RELEASE)' 2>/dev/null |
        awk '$2 !~ /security/ && !seen { print $1; seen = 1 }' || true
}

in_root() { DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }

# One command after the other: in a condition, `set -e` does not end at the first that fails.
install_packages() {
    in_root apt-get -qq update &&
        in_root apt-get -qq install -y --no-install-recommends \
            podman crun catatonit netavark uidmap squashfuse fuse3 &&
        in_root apt-get -qq install -y --no-install-recommends -t sid apptainer &&
        in_root useradd --create-home --uid 5000 hpc # with ids of its own in /etc/subuid
}

make_root() {
    local site
    if ! command -v debootstrap >/dev/null; then
        apt-get update -qq && apt-get install -y -qq debootstrap >/dev/null ||
            cannot "debootstrap cannot be installed"
    fi
    site=$(mirror)
    echo "== $root: Debian 13 with Apptainer and Podman, 2 minutes"
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    # shellcheck disable=SC2086 -- no mirror means debootstrap's own default
    debootstrap --variant=minbase --include=ca-certificates,python3 "$suite" "$root" $site \
        >"$root.log" 2>&1 || cannot "debootstrap: $(tail -1 "$root.log")"
    site=$(awk '/^deb /{ print $2; exit }' "$root/etc/apt/sources.list") # as debootstrap wrote it
    # Apptainer is in no stable release: it comes from unstable, everything else does not.
    printf 'deb %s %s main\ndeb %s sid main\n' "$site" "$suite" "$site" >"$root/etc/apt/sources.list"
    # A mirror that stands still holds a list of unstable that is signed, and no longer fresh.
    printf 'APT::Default-Release "%s";\nAcquire::Check-Valid-Until "false";\n' "$suite" \
        >"$root/etc/apt/apt.conf.d/10release"
    cp -f /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    cp -fL /etc/resolv.conf "$root/etc/"
    install_packages >>"$root.log" 2>&1 || cannot "its packages: $(tail -1 "$root.log")"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root.log"
    chmod 755 "$root/root" # an interpreter below it is shown to the ordinary user
    touch "$ready"
}

# What is shown under its own path, one a line.
shown() {
    local python prefix
    pwd -P
    python=.venv/bin/python
    [ -x "$python" ] || return 0
    realpath .venv
    prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
    if [ "$prefix" = /usr ]; then # the root has a /usr of its own: this version's files alone
        realpath "$python"
        "$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'
    else
        realpath "$prefix"
    fi
}

# In namespaces of its own: whatever happens, its processes and mounts end with it.
inside() {
    local user=$1 home child remove=
    shift
    home=${BMAD_HPC_HOME:-}
    if [ -z "$home" ]; then
        home=$(mktemp -d /var/tmp/bmad-hpc-home.XXXXXX) # not /tmp, which may be memory
        remove=$home
    fi
    mkdir -p "$home/tmp"
    chown 5000:5000 "$home" "$home/tmp"
    BMAD_HPC_SHOWN=$(shown) unshare --mount --pid --fork --kill-child --propagation private \
        "$(readlink -f "$0")" enter "$root" "$home" "$user" "$@" <&0 &
    child=$!
    # The values as they are now: a trap runs outside of this function. unshare itself ignores TERM.
    trap "kill -KILL $child 2>/dev/null || true; wait || true; rm -rf --one-file-system ${remove@Q}" EXIT
    trap 'exit 143' TERM
    trap 'exit 130' INT
    wait "$child"
}

enter() {
    local new=$1 home=$2 user=$3 place id
    shift 3
    place=$(pwd -P)
    mount --rbind "$new" "$new" # pivot_root wants a mount point
    mount -t proc proc "$new/proc"
    mount --rbind /sys "$new/sys"
    # Version 2 of control groups beside version 1 is refused by crun; alone, it has no controller left.
    umount "$new/sys/fs/cgroup/unified" 2>/dev/null || true
    mount --rbind /dev "$new/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$new/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$new/run"
    mkdir -p "$new"/run/{user/5000,lock,old,cdi}
    chown 5000:5000 "$new/run/user/5000" "$new/run/cdi" # the tests say what GPUs a node would have
    chmod 700 "$new/run/user/5000"
    mount --bind "$home" "$new/home/hpc"
    mount --bind "$home/tmp" "$new/var/tmp" # on a disk: images are unpacked there
    while read -r path; do
        show "$path" "$new" ro
    done <<<"$BMAD_HPC_SHOWN"
    [ -z "${BMAD_HPC_COPIED:-}" ] || copy "$place/$BMAD_HPC_COPIED" "$new"
    [ -z "${BMAD_HPC_SHARE:-}" ] || show "$(realpath "$BMAD_HPC_SHARE")" "$new" rw
    cd "$new"
    pivot_root . run/old
    umount -l /run/old
    mount --make-rshared / # as on a host with systemd: Podman wants it
    cd "$place"
    id=(--reuid=hpc --regid=hpc --init-groups)
    [ "$user" = hpc ] || id=()
    # Nothing of the caller's environment. No exec: who changes his user is not killed with his parent,
    # and this shell, the first process of its namespace, takes all others along.
    setpriv "${id[@]}" env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C.UTF-8 \
        USER="$user" HOME="$([ "$user" = hpc ] && echo /home/hpc || echo /root)" \
        XDG_RUNTIME_DIR="/run/user/$([ "$user" = hpc ] && echo 5000 || echo 0)" PYTHONDONTWRITEBYTECODE=1 "$@"
}

show() {
    local path=$1 new=$2 how=$3
    if [ -d "$path" ]; then mkdir -p "$new$path"; else mkdir -p "$new${path%/*}" && touch "$new$path"; fi
    mount --bind "$path" "$new$path"
    [ "$how" = rw ] || mount -o remount,bind,ro "$new$path"
}

copy() {
    mount -t tmpfs -o mode=755,uid=5000 tmpfs "$2$1"
    cp -a "$1/." "$2$1"
    chown -R 5000:5000 "$2$1"
}

verb=${1:-}
shift || true
case $verb in
make)
    is_possible
    [ -e "$ready" ] || make_root
    ;;
check) is_there ;;
user | root)
    is_there
    inside "${verb/user/hpc}" "$@"
    ;;
enter) enter "$@" ;;
*)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
