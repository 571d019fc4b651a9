#!/bin/bash
# A hook of hwid renew that has no end within its minute, or whose run is ended: nothing is left of
# what it started.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3

make_token line ec:P-256,label=device,id=01
make_conf "$T/openssl.cnf" default-first line "keys.first=pkcs11:token=line;object=device"
export OPENSSL_CONF=$T/openssl.cnf
start_est
make_device_conf "ca-file = $EST/ca.pem"
cat > "$T/hangs" << END
#!/bin/sh
sleep 600 &
echo \$! > $T/child.new
mv $T/child.new $T/child
echo 'the agent does not come back'
wait
END
chmod +x "$T/hangs"
is_gone() { ! kill -0 "$(cat "$T/child")" 2> /dev/null; }
nothing_is_left() {
    wait_for 10 is_gone || fail "$1: what the hook started is left"
    rm "$T/child"
}

expect_exit 1 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
    --user device --password-source "file:$T/password" --hook "$T/hangs"
expect_text "$T/out" 'no end after 60 s (the agent does not come back)'
nothing_is_left deadline
working_pair

# One that asks at the terminal has none, and nobody waits for it.
printf '#!/bin/sh\nread -r answer < /dev/tty\n' > "$T/asks"
chmod +x "$T/asks"
expect_exit 1 script -qec "'$HWID_TOOLS_DIR/hwid' renew --config '$T/device.conf' --hook '$T/asks'" "$T/typescript"
expect_text "$T/typescript" '/dev/tty'
if grep -q 'no end after' "$T/typescript"; then fail "$(cat "$T/typescript")"; fi

# The hook is run again by the next run, which somebody ends.
"$HWID_TOOLS_DIR/hwid" renew --config "$T/device.conf" --hook "$T/hangs" > "$T/out" 2> "$T/err" &
pid=$!
wait_for 60 test -s "$T/child" || fail "no hook: $(cat "$T/out" "$T/err")"
kill $pid
code=0
{ wait $pid || code=$?; } 2> /dev/null # (The shell says "Terminated".)
[ $code = 143 ] || fail "exit $code: $(cat "$T/out" "$T/err")"
nothing_is_left SIGTERM
working_pair
