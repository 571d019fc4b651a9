#!/bin/bash
# samples/fleet: ten devices with keys in one token are provisioned at once, and renewed, while both
# clouds fail in all their ways. Each ends with one certificate, and that works.
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

export FLEET_JOBS=4
fleet_life 10

# Without an EST server AWS makes the next certificate, too.
sed '/^est-url/d' "$T/fleet.conf" > "$T/aws.conf"
made() { json 'len(d)' "$CLOUD_DIR/fleet.json.registry"; }
before=$(made)
expect_exit 0 "$FLEET_SH" renew "$T/aws.conf" 2 "$FLEET" --now --keep-old 0s
expect_text "$T/out" 'renew: 2 of 2 devices'
[ "$(made)" = $((before + 2)) ] || fail "AWS made $(($(made) - before)) certificates"
works 1
works 2
# A hook that fails is run again, and nothing else is done again.
cat > "$T/hook" << END
#!/bin/sh
echo >> "$T/hooked.\$(basename "\$(dirname "\$(dirname "\$(dirname "\$HWID_CERT")")")")"
[ -e "$T/hook-works" ] || [ \$(wc -l < "$T/hooked.1") -gt 2 ]
END
chmod +x "$T/hook"
before=$(made)
expect_exit 0 "$FLEET_SH" renew "$T/aws.conf" 1 "$FLEET" --now --keep-old 0s --hook "$T/hook"
[ "$(wc -l < "$T/hooked.1")" = 3 ] || fail 'the hook was not run three times'
[ "$(made)" = $((before + 1)) ] || fail "AWS made $(($(made) - before)) certificates"
works 1
touch "$T/hook-works" # as is a try that did not renew
faults 'register refuse 400'
expect_exit 0 "$FLEET_SH" renew "$T/aws.conf" 1 "$FLEET" --now --keep-old 0s --hook "$T/hook"
faults_are_used
[ "$(made)" = $((before + 2)) ] || fail "AWS made $(($(made) - before)) certificates"
works 1

# A device that cannot be helped is named, and the others are well.
sed "s/^template-name.*/template-name = closed@/; s|^state-dir.*|state-dir = $T/wrong/@|" \
    "$T/fleet.conf" > "$T/wrong.conf"
export FLEET_TRIES=1 FLEET_JOBS=2
expect_exit 1 "$FLEET_SH" provision "$T/wrong.conf" 2 "$T/wrong" --timeout 2
expect_text "$T/out" 'provision: 0 of 2 devices'
expect_text "$T/err" 'device 1: '
expect_text "$T/err" 'device 2: '
# Nor is one that could not be renewed told of as renewed by the next try, which hwid puts off.
echo '-70000000 20000000' > "$EST/lifetime" # seconds, from now: past its half at once
# Tried again: SoftHSM writes token.object anew at each C_Login, and another process may find it empty.
FLEET_TRIES=4 fleet renew --now --keep-old 0s
rm "$EST/lifetime"
stop_daemon "$EST_PID"
FLEET_TRIES=2 expect_exit 1 "$FLEET_SH" renew "$T/fleet.conf" 3 "$FLEET"
expect_text "$T/out" 'renew: 0 of 3 devices'
expect_text "$T/err" 'device 2: '
expect_text "$T/err" "$EST_URL"
start_est
fleet_lines > "$T/fleet.conf"
expect_exit 1 "$FLEET_SH" renew "$T/fleet.conf" 3 "$FLEET"
expect_text "$T/out" 'renew: 0 of 3 devices'
FLEET_TRIES=4 expect_exit 0 "$FLEET_SH" renew "$T/fleet.conf" 3 "$FLEET" --now --keep-old 0s
expect_text "$T/out" 'renew: 3 of 3 devices'
for number in 1 2 3; do works $number; done
# Who watches sees how far it is.
python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' \
    "$FLEET_SH" renew "$T/fleet.conf" 2 "$FLEET" > "$T/seen" < /dev/null || fail "$(cat "$T/seen")"
expect_text "$T/seen" 'renew: 1 of 2 devices, 0 failed'

refused_usage() {
    expect_exit 2 "$FLEET_SH" "$@"
    expect_text "$T/err" 'fleet.sh provision|renew TEMPLATE DEVICES DIRECTORY'
}
refused_usage
refused_usage retire "$T/fleet.conf" 1 "$FLEET"
refused_usage renew "$T/fleet.conf"
expect_exit 0 "$FLEET_SH" --help
