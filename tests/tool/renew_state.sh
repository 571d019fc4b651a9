#!/bin/bash
# hwid renew: what it remembers, what its hooks leave behind, and keys that are known by a name.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3

make_token line ec:P-256,label=device,id=01
make_conf "$T/openssl.cnf" default-first line "state-dir = $T/state.d" \
    "keys.first=pkcs11:token=line;object=device" "keys.second=$T/first.ref"
export OPENSSL_CONF=$T/openssl.cnf
start_est
make_device_conf "ca-file = $EST/ca.pem"
STATE=$T/state.d/device/renewal.json
renew() { hwid renew --config "$T/device.conf" "$@"; }
re_enroll() { hwid re-enroll est --config "$T/device.conf" "$@"; }
enroll() { # OPTION...
    hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 --user device \
        --password-source "file:$T/password" "$@"
}
echo '-32400 3600' > "$EST/lifetime" # nine tenths of it are over
expect_exit 0 enroll

# A damaged file is kept for who wants to know what was in it, and renewals go on. Who only looks
# moves nothing.
aside=0
for damage in nonsense '' '[]' '{"failures": -1}' '{"tried": "now"}' '{"made_keys": {"6x": "a"}}' \
    '{"made_keys": {"6": 7}}' '{"hooks_due": 1.5}'; do
    printf '%s' "$damage" > "$STATE"
    expect_exit 0 renew --dry-run
    expect_text "$T/err" "$STATE: it is damaged"
    expect_exit 0,1 hwid status --config "$T/device.conf"
    expect_text "$T/err" "$STATE: it is damaged"
    [ "$(cat "$STATE")" = "$damage" ] || fail "$damage: it was changed by who looks"
    expect_exit 0 renew --now
    aside=$((aside + 1))
    kept=$STATE.damaged
    if [ $aside -gt 1 ]; then kept+=-$aside; fi
    expect_text "$T/err" "it is damaged, and is now ${kept##*/}"
    expect_text "$T/err" 'hwid delete'
    [ "$(cat "$kept")" = "$damage" ] || fail "$damage: it is not kept"
    [ "$(json 'd["failures"]' "$STATE")" = 0 ] || fail "$damage: $(cat "$STATE")"
    working_pair
done
expect_exit 0 renew --now
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"

# A hook that starts a program and leaves it behind, with the streams that it has.
cat > "$T/starter" << END
#!/bin/sh
sleep 600 &
echo \$! > $T/left-behind
echo 'it does not like the other one'
exit 5
END
cat > "$T/chatter" << END
#!/bin/sh
yes &
echo \$! > $T/left-behind
END
chmod +x "$T/starter" "$T/chatter"
SECONDS=0
expect_exit 1 re_enroll --hook "$T/starter"
expect_text "$T/out" 'exit code 5 (it does not like the other one)'
kill "$(cat "$T/left-behind")" || fail 'what the hook started is gone'
expect_exit 0 re_enroll --hook "$T/chatter"
kill "$(cat "$T/left-behind")" 2> /dev/null || true
[ $SECONDS -lt 50 ] || fail "it took $SECONDS s"
working_pair

# A key.pem that holds a name: what that leads to says where a new key is made.
hwid ref 'pkcs11:token=line;object=device' --out "$T/first.ref" > "$T/out"
for name in first second; do
    rm -rf "$T/state.d"
    expect_exit 0 enroll
    hwid ref "hwid://$name" --out "$CURRENT/key.pem" --force > "$T/out"
    working_pair
    expect_exit 0 re_enroll --new-key
    [ "$(current)" = gen-2 ] || fail "$name: $(current)"
    working_pair
    if in_tpm; then
        grep -q 'TSS2 PRIVATE KEY' "$CURRENT/key.pem" || fail "$name: $(cat "$CURRENT/key.pem")"
    else
        hwid list pkcs11:token=line > "$T/list"
        expect_text "$T/list" device-g2
        hwid delete 'pkcs11:token=line;object=device-g2' --yes > "$T/out"
    fi
done
