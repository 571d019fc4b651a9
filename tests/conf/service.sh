#!/bin/bash
# The units in conf/: systemd understands every line, and thinks that the services can do little
# harm.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need systemd-analyze
MOST_EXPOSED=20 # of 100: below it systemd says OK
CONF=$HWID_TESTS_DIR/../conf
analyze() { env -u LD_PRELOAD systemd-analyze "$@" > "$T/out" 2>&1; }
understood() { # UNIT
    analyze verify --man=no "$1" || fail "$(cat "$T/out")"
    # Of other units on this machine it may have more to say.
    if grep -F "$(basename "$1")" "$T/out"; then fail "systemd does not understand the unit"; fi
}

for program in "${HWID_SAMPLES_DIR:?}/hwid-telemetry" "${HWID_TOOLS_DIR:?}/hwid"; do
    case $program in
        */hwid-telemetry) unit=hwid-telemetry.service ;;
        *) unit=hwid-renew.service ;;
    esac
    sed "s,/usr/bin/${program##*/} ,$program ," "$CONF/$unit" > "$T/$unit"
    expect_text "$T/$unit" "ExecStart=$program "
    understood "$T/$unit"
    analyze security --offline=true --threshold=$MOST_EXPOSED "$T/$unit" ||
        fail "$unit: $(tail -n 1 "$T/out")"
    tail -n 1 "$T/out"
    # A TPM's key has no PIN by default: a credential that is not there would stop the unit. Its line is
    # there for who has one.
    if grep '^LoadCredential=.*:/' "$T/$unit"; then fail "$unit starts with no PIN but that"; fi
    sed 's/^# \(LoadCredential=pin:\)/\1/' "$T/$unit" > "$T/pin-$unit"
    grep -q '^LoadCredential=pin:/' "$T/pin-$unit" || fail "$unit shows no LoadCredential"
    understood "$T/pin-$unit"
    # The threshold is one: a unit that gives the hardening up is above it.
    grep -vE '^(Protect|Private|Restrict|System|Capability|NoNew|Device|User|Dynamic)' "$T/$unit" \
        > "$T/open.service"
    if analyze security --offline=true --threshold=$MOST_EXPOSED "$T/open.service"; then
        fail "$unit: nothing is above the threshold"
    fi
done
cp "$CONF/hwid-renew.timer" "$T"
understood "$T/hwid-renew.timer"
cp "$CONF"/hwid-greengrass.{path,service} "$T"
understood "$T/hwid-greengrass.path"
understood "$T/hwid-greengrass.service"
# PIN and state are where the examples say.
expect_text "$CONF/openssl.cnf" 'pin-source = credential:pin'
expect_text "$CONF/device.conf" 'state-dir = /var/lib/hwid'
# The user and the directory that hwid-renew.service wants. Only root can make them.
[ "$(id -u)" = 0 ] || exit 0
need systemd-sysusers systemd-tmpfiles
mkdir -p "$T/root/etc" "$T/root/var/lib"
env -u LD_PRELOAD systemd-sysusers --root="$T/root" "$CONF/hwid.sysusers" 2> "$T/out"
owner=$(sed -n 's/^hwid:[^:]*:\([0-9]*\):.*/\1/p' "$T/root/etc/passwd")
[ -n "$owner" ] || fail "no user hwid: $(cat "$T/out")"
grep -q '^tss:.*:hwid$' "$T/root/etc/group" || fail "hwid is not of tss: $(cat "$T/root/etc/group")"
env -u LD_PRELOAD systemd-tmpfiles --root="$T/root" --create "$CONF/hwid.tmpfiles"
state=$(stat -c %u:%a "$T/root/var/lib/hwid")
[ "$state" = "$owner:755" ] || fail "/var/lib/hwid is $state, not $owner:755"
