#!/bin/bash
# hwid renew: what its hooks leave behind.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3

make_token line ec:P-256,label=device,id=01
make_conf "$T/openssl.cnf" default-first line "state-dir = $T/state.d" \
    "keys.first=pkcs11:token=line;object=device"
export OPENSSL_CONF=$T/openssl.cnf
start_est
make_device_conf "ca-file = $EST/ca.pem"
re_enroll() { hwid re-enroll est --config "$T/device.conf" "$@"; }
enroll() { # OPTION...
    hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 --user device \
        --password-source "file:$T/password" "$@"
}
echo '-32400 3600' > "$EST/lifetime" # nine tenths of it are over
expect_exit 0 enroll

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
