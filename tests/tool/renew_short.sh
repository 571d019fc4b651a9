#!/bin/bash
# Certificates that live for hours: hwid-renew.timer looks often enough for those of two hours, and where
# it does not, hwid renew and hwid status say so.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3

start_est_device
lives() { # MINUTES
    echo "-60 $(($1 * 60 - 60))" > "$EST/lifetime"
    rm -rf "$T/state.d"
    expect_exit 0 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
        --user device --password-source "file:$T/password"
}
renewal() { # STATE: of the row, whose advice is left in $T/next
    expect_exit 0,1 hwid status --config "$T/device.conf" --json
    json '[c["state"] for c in d["checks"] if c["check"] == "renewal"]' > "$T/state.of"
    expect_text "$T/state.of" "['$1']"
    json '[c["next"] for c in d["checks"] if c["check"] == "renewal"][0]' > "$T/next"
}

lives 120
renewal ok
expect_exit 0 hwid renew --config "$T/device.conf" --json
[ "$(json 'd["short_of_time"]')" = None ] || fail "$(cat "$T/out")"
lives 60
renewal warning
cp "$T/next" "$T/next.warned"
expect_exit 0 hwid renew --config "$T/device.conf"
expect_text "$T/out" 'minutes are left once it is due'
expect_exit 0 hwid renew --config "$T/device.conf" --dry-run --json
[ "$(json 'd["short_of_time"]')" = "$(cat "$T/next")" ] || fail "$(cat "$T/out" "$T/next")"
# More is left of it where it is due earlier.
make_device_conf "ca-file = $EST/ca.pem" 'renew-at = 10%'
renewal ok

# That is what the timer does.
python3 - "$HWID_TESTS_DIR/../conf/hwid-renew.timer" "$T/out" << 'END'
import json, re, sys
timer = dict(re.findall(r"^(\w+)=(\d+)min$", open(sys.argv[1]).read(), re.M))
print(timer)
ACCURACY = 1 # of systemd.timer(5), where AccuracySec is not given
longest = int(timer["OnUnitActiveSec"]) + int(timer["RandomizedDelaySec"]) + ACCURACY
assert int(timer["OnBootSec"]) + int(timer["RandomizedDelaySec"]) + ACCURACY <= longest
# Due at 60 % of two hours at the latest; three looks are before the end.
assert 3 * longest <= 120 * 0.4, longest
open(sys.argv[2], "w").write(f"every {longest} minutes at the latest")
END
expect_text "$T/next.warned" "$(cat "$T/out")"
