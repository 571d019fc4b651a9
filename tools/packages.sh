# shellcheck shell=bash
# The one list of Debian packages, and their installation. Sourced after console.sh.

# What a set of packages is for: build (everything users install, but for the manual pages), package
# (Debian packages), quickstart, test, matrix (the programs of tests/interop that no other test needs),
# check (format and scripts), bench (bench/run.py), full (what `.ci/run --full` adds). The libraries
# that reach a TPM, whose names differ (libtss2-tcti-swtpm0, Debian 13: ...0t64), come with libtss2-dev.
# tinyproxy-bin is the HTTP proxy that `proxy` is tested with, chromium looks at reports.
# libtpm2-pkcs11-1 makes its module one of p11-kit's, for all programs, and some of the programs of
# tests/interop are services: they are not for every day.
packages_of() { # SET
    case $1 in
        build)
            echo cmake ninja-build g++ pkg-config libssl-dev libp11-kit-dev libp11-dev \
                libtss2-dev libboost-program-options-dev nlohmann-json3-dev libyaml-cpp-dev \
                libpaho-mqtt-dev libpaho-mqttpp-dev libcurl4-openssl-dev
            ;;
        package)
            packages_of build
            echo pandoc dpkg-dev file
            ;;
        quickstart)
            packages_of build
            echo openssl softhsm2 opensc mosquitto p11-kit p11-kit-modules gdb swtpm
            ;;
        test)
            packages_of build
            echo ccache binutils doctest-dev python3 openssl softhsm2 opensc opensc-pkcs11 p11-kit \
                p11-kit-modules mosquitto mosquitto-clients mosquitto-dev libmosquitto-dev curl \
                nginx-light libnginx-mod-stream procps libnss3 libnss3-tools swtpm swtpm-tools \
                tpm2-tools tpm2-openssl tpm2-abrmd libtss2-tcti-tabrmd-dev dbus-daemon dbus-bin \
                iproute2 tinyproxy-bin chromium faketime nghttp2-client nghttp2-server nodejs \
                php-cli apache2-bin socat libio-socket-ssl-perl strace systemd pandoc mandoc \
                man-db bsdextrautils
            ;;
        bench)
            packages_of test
            echo libbenchmark-dev
            ;;
        matrix)
            echo apache2 default-jdk-headless eapoltest haproxy hostapd isync libtpm2-pkcs11-1 lighttpd \
                lighttpd-mod-openssl lua-sec lua5.3 lua-socket ncat openvpn postgresql \
                python3-paho-mqtt python3-requests redis-server stunnel4
            ;;
        check) echo clang-format-14 shellcheck git ;;
        full)
            packages_of quickstart
            packages_of test
            packages_of check
            packages_of matrix
            echo clang libclang-rt-14-dev clang-tidy valgrind debootstrap dpkg-dev lintian
            ;;
        *) fail "no set of packages named $1" ;;
    esac
}

missing_packages() { # PACKAGE...
    local package status
    for package in "$@"; do
        # A package that is gone but for its configuration has a status, too.
        # shellcheck disable=SC2016  # dpkg's own format
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
        if [ "$status" != installed ]; then printf '%s\n' "$package"; fi
    done
}

as_root() { # COMMAND...
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo "$@"
    else
        fail "not root, and there is no sudo: run as root: $*"
    fi
}

# Debian's packages start their services unless this file says no.
without_services() ( # COMMAND...
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'as_root rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy > /dev/null
        as_root chmod 0755 $policy
    fi
    "$@"
)

# Installs what is missing of the sets; asks nothing, and starts no service: a broker that Debian
# starts by itself would go on after us.
install_packages() { # SET...
    local set wanted=() missing=()
    command -v apt-get > /dev/null ||
        fail "there is no apt-get here: install the counterparts of: $(packages_of "$1" | xargs)"
    for set in "$@"; do
        # shellcheck disable=SC2207  # package names are words
        wanted+=($(packages_of "$set"))
    done
    mapfile -t missing < <(missing_packages "${wanted[@]}" | sort -u)
    if [ ${#missing[@]} = 0 ]; then
        say "All packages are installed."
        return
    fi
    say "Installing: ${missing[*]}"
    attempt "apt-get update" as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
    attempt_quietly "apt-get install" without_services as_root env \
        DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
        -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120 install "${missing[@]}" ||
        fail "apt-get could not install: ${missing[*]}; see above, then run this again"
    local service
    for service in mosquitto nginx; do # nor at the next boot, since nobody asked for them
        if [ -d /run/systemd/system ] && [[ " ${missing[*]} " == *" $service"[\ -]* ]]; then
            as_root systemctl -q disable $service || true
        fi
    done
}
