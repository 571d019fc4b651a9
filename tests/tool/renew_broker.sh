#!/bin/bash
# hwid renew asks the broker by CONNECT before it uses a new certificate: TLS alone lets in many that
# the cloud does not know (yet). And what a renewal did is in the audit trail.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"
# shellcheck source=tests/tool/fleet.bash
. "$HWID_TESTS_DIR/tool/fleet.bash"
need python3

start_fleet 1
sed -i "/^\[hwid_sect\]/a audit = file:$T/audit.log" "$OPENSSL_CONF"
fleet provision
renew() { hwid renew --config "$FLEET/device-1.conf" --now "$@"; }
trail() { hwid audit "$T/audit.log" --lines > "$T/lines"; }
current() { readlink "$FLEET/1/device/current"; }

expect_exit 1 renew --json
[ "$(json 'd["outcome"]')" = failed ] || fail "$(cat "$T/out")"
expect_text "$T/out" 'client id line-f1'
expect_text "$T/out" 'the old pair stays in use'
[ "$(current)" = gen-1 ] || fail "$(current)"
expect_exit 0 "$HWID_SAMPLES_DIR/hwid-publish" --config "$FLEET/device-1.conf" --message works
know_the_ca
expect_exit 0 renew --keep-old 0s
[ "$(current)" = gen-2 ] || fail "$(current)"
works 1
trail
for mechanism in 'try gen-2"' 'switch to gen-2"' 'remove gen-1, certificate '; do
    expect_text "$T/lines" "\"mechanism\":\"$mechanism"
done
