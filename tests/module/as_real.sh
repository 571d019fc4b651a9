#!/bin/bash
# The test module behaves as the real one does, counts what pkcs11-spy counts, and breaks what it
# is told to break.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need pkcs11-tool
make_token line 'rsa:2048,label=device,id=01' 'ec:P-256,label=ec,id=02'
echo 'to be signed' > "$T/data"

tool() { # MODULE WORDS...
    local module=$1
    shift
    pkcs11-tool --module "$module" --token-label line --pin "$PIN" "$@"
}
sign() { # MODULE OUT
    tool "$1" --sign --mechanism SHA256-RSA-PKCS --id 01 -i "$T/data" -o "$2"
}

# The same answers.
for action in -I -L -M -O '--test'; do
    # pkcs11-tool --test of some versions fails with a real SoftHSM, too: only the same counts.
    tool "$HWID_SOFTHSM_MODULE" --login $action > "$T/real.txt" 2>&1 && real=0 || real=$?
    tool "$HWID_TEST_MODULE" --login $action > "$T/ours.txt" 2>&1 && ours=0 || ours=$?
    [ "$real" = "$ours" ] || fail "$action: exit $ours, not $real"
    sed -i 's/source_ptr=0x[0-9a-f]*//' "$T/real.txt" "$T/ours.txt" # an address
    diff "$T/real.txt" "$T/ours.txt" || fail "$action: another answer"
done
sign "$HWID_SOFTHSM_MODULE" "$T/sig.real" 2> /dev/null
count_calls sign "$HWID_TEST_MODULE" "$T/sig.ours" 2> /dev/null
cmp "$T/sig.real" "$T/sig.ours"

# The same counts as pkcs11-spy, where it is installed.
spy=$(find /usr/lib /usr/lib64 /usr/local/lib -name pkcs11-spy.so 2> /dev/null | head -n 1)
if [ -n "$spy" ]; then
    PKCS11SPY=$HWID_SOFTHSM_MODULE PKCS11SPY_OUTPUT=$T/spy.log sign "$spy" "$T/sig.spy" 2> /dev/null
    sed -n 's/^[0-9]*: \(C_[A-Za-z]*\).*/\1/p' "$T/spy.log" | sort | uniq -c |
        awk '{print $2, $1}' > "$T/spy.txt"
    # The spy shows C_GetFunctionList or C_GetInterface; pkcs11-tool asks both on some versions.
    "$HWID_BIN_DIR/hwid-test-counts" "$T/counts" | grep '^C_' | sort > "$T/ours.txt"
    diff <(grep -v 'C_GetFunctionList\|C_GetInterface' "$T/spy.txt") \
        <(grep -v C_GetFunctionList "$T/ours.txt") || fail "other counts than pkcs11-spy"
fi
[ "$(calls C_Sign)" = 1 ] || fail "C_Sign was counted $(calls C_Sign) times"
[ "$(calls shared-session)" = 0 ] || fail "two threads in one session"
[ "$(calls bad-handle)" = 0 ] || fail "a session handle that does not exist"

# Two processes add up; counts survive.
HWID_TEST_REPORT=$T/counts sign "$HWID_TEST_MODULE" "$T/sig.ours" 2> /dev/null
[ "$(calls C_Sign)" = 2 ] || fail "two processes did not add up"

# Faults by the control file.
export HWID_TEST_CONTROL=$T/control
# (pkcs11-tool tries C_SignUpdate where C_Sign fails.)
printf 'fail C_Sign CKR_DEVICE_ERROR\nfail C_SignUpdate CKR_DEVICE_ERROR\n' > "$T/control"
expect_failure sign "$HWID_TEST_MODULE" "$T/none"
expect_text "$T/out" CKR_DEVICE_ERROR
echo 'hide-mechanism 0x40' > "$T/control"
expect_failure sign "$HWID_TEST_MODULE" "$T/none"
tool "$HWID_TEST_MODULE" -M > "$T/out" 2>&1
if grep -q '^ *SHA256-RSA-PKCS,' "$T/out"; then fail "SHA256-RSA-PKCS is not hidden"; fi
echo 'token-flags +0x40000' > "$T/control"
pkcs11-tool --module "$HWID_TEST_MODULE" -L > "$T/out" 2>&1
expect_text "$T/out" 'user PIN locked'
echo 'remove-token' > "$T/control"
expect_failure sign "$HWID_TEST_MODULE" "$T/none"
echo 'max-sessions 0' > "$T/control"
expect_failure sign "$HWID_TEST_MODULE" "$T/none"
expect_text "$T/out" CKR_SESSION_COUNT
echo 'fial C_Sign 5' > "$T/control"
expect_failure sign "$HWID_TEST_MODULE" "$T/none"
expect_text "$T/out" 'unknown directive'
echo 'delay-us C_Sign 10' > "$T/control"
sign "$HWID_TEST_MODULE" "$T/sig.ours" 2> /dev/null
cmp "$T/sig.real" "$T/sig.ours"
