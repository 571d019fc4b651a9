#!/bin/bash
# conf/hwid-telemetry.service: systemd understands every line, and thinks that the service can do
# little harm.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need systemd-analyze
MOST_EXPOSED=20 # of 100: below it systemd says OK
UNIT=$T/hwid-telemetry.service

sed "s,/usr/bin/hwid-telemetry,${HWID_SAMPLES_DIR:?}/hwid-telemetry," \
    "$HWID_TESTS_DIR/../conf/hwid-telemetry.service" > "$UNIT"
expect_text "$UNIT" "ExecStart=$HWID_SAMPLES_DIR/hwid-telemetry"
analyze() { env -u LD_PRELOAD systemd-analyze "$@" > "$T/out" 2>&1; }
analyze verify --man=no "$UNIT" || fail "$(cat "$T/out")"
# Of other units on this machine it may have more to say.
if grep -F "$(basename "$UNIT")" "$T/out"; then fail "systemd does not understand the unit"; fi
analyze security --offline=true --threshold=$MOST_EXPOSED "$UNIT" || fail "$(tail -n 1 "$T/out")"
tail -n 1 "$T/out"
