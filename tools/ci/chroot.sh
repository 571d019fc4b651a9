# shellcheck shell=bash
# A Debian of another suite to build and install in. Sourced after console.sh. Needs root, a mount
# namespace, debootstrap and a mirror; without one of them the script ends with code 77 (skipped).

skip() {
    say "SKIPPED: $*"
    exit 77
}

# Sets CHROOT, a directory that is removed at the end. What ccache keeps of a suite is kept.
make_chroot() { # SUITE
    [ "$(id -u)" = 0 ] || skip "a chroot needs root"
    command -v debootstrap > /dev/null || skip "debootstrap is not installed"
    unshare --mount true 2> /dev/null || skip "this machine allows no mount namespace"
    CHROOT=$(mktemp -d "${TMPDIR:-/var/tmp}/hwid-$1-XXXXXX")
    CHROOT_CCACHE=${XDG_CACHE_HOME:-$HOME/.cache}/hwid-ci/$1
    chmod 0755 "$CHROOT" # the root of what is inside, for all its users
    # Mounts are made in a namespace of their own and are gone before this.
    trap 'rm -rf --one-file-system "$CHROOT"' EXIT
    local mirrors
    # shellcheck disable=SC2016  # apt's own format
    mapfile -t mirrors < <(apt-get indextargets --format '$(REPO_URI)' 2> /dev/null | sort -u |
        grep -v security)
    [ ${#mirrors[@]} -gt 0 ] || skip "apt knows no Debian mirror"
    say "debootstrap $1 from ${mirrors[0]}"
    attempt_quietly debootstrap debootstrap --variant=minbase "$1" "$CHROOT" "${mirrors[0]}" ||
        skip "debootstrap could not make the chroot"
    if [ -n "$(ls /etc/apt/apt.conf.d)" ]; then # proxies
        cp -n /etc/apt/apt.conf.d/* "$CHROOT/etc/apt/apt.conf.d/" 2> /dev/null || true
    fi
    cp -L /etc/resolv.conf "$CHROOT/etc/resolv.conf" 2> /dev/null || true
    printf '#!/bin/sh\nexit 101\n' > "$CHROOT/usr/sbin/policy-rc.d"
    chmod 0755 "$CHROOT/usr/sbin/policy-rc.d"
    cat > "$CHROOT/begin.sh" <<'TEXT'
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 CCACHE_DIR=/ccache CCACHE_MAXSIZE=2G
mount -t proc proc /proc
mount -t tmpfs tmpfs /dev/shm
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts -o newinstance,ptmxmode=0666
ln -sf pts/ptmx /dev/ptmx
try_apt() {
    apt-get -q -y --no-install-recommends "$@" > /tmp/apt.log 2>&1 || { tail -n 30 /tmp/apt.log; return 1; }
}
apt_get() { try_apt "$@" || exit 75; } # with Debian's packages: the mirror's fault
# With packages of our own. Only that Debian's cannot be fetched is not our fault: a dependency that
# nothing meets and a maintainer script that fails are.
apt_ours() {
    try_apt --simulate "$@" || exit 1
    if [ "$1" = install ]; then try_apt --download-only "$@" || exit 75; fi
    try_apt "$@" || exit 1
}
TEXT
}

copy_tree_into_chroot() { # ROOT: to /hwid
    mkdir -p "$CHROOT/hwid"
    tar -C "$1" --exclude=./build --exclude=./.git -cf - . | tar -C "$CHROOT/hwid" -xf -
}

# Runs a script of standard input after begin.sh. Code 75: apt could not get Debian's packages, and so
# skipped.
in_chroot() { # ARGUMENT...
    local code=0
    { echo '. /begin.sh' && cat; } > "$CHROOT/inside.sh"
    mkdir -p "$CHROOT_CCACHE" "$CHROOT/ccache"
    # shellcheck disable=SC2016  # the inner shell's
    unshare --mount bash -c 'mount --bind "$1" "$2/ccache" && exec chroot "${@:2}"' bash \
        "$CHROOT_CCACHE" "$CHROOT" bash /inside.sh "$@" || code=$?
    [ $code != 75 ] || skip "apt could not install Debian's packages into the chroot"
    return $code
}
