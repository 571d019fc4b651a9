#!/bin/bash
# An EST server that refuses, delays, disconnects, answers garbage, twice or late, or issues what was
# not asked for, at each step of a renewal: the error says what failed, where and why; the old pair
# stays in use; and the next try is a good one.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3

start_est_device
renew() { hwid re-enroll est --config "$T/device.conf"; }
expect_exit 0 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
    --san DNS:device-7.example --user device --password-source "file:$T/password"
cp -a "$T/state.d" "$T/first-state"
again() {
    rm -rf "$T/state.d" "$EST/faults"
    cp -a "$T/first-state" "$T/state.d"
}

fails() { # "OPERATION FAULT" WORDS...: all of them are said
    local fault=$1 words code=0
    shift
    again
    faults "$fault"
    (renew > "$T/out" 2> "$T/err") || code=$?
    [ $code = 1 ] || fail "$fault: exit $code: $(cat "$T/out" "$T/err")"
    [ ! -s "$EST/faults" ] || fail "$fault: it was not met"
    for words in failed "$EST_URL" "$@"; do
        grep -qF -- "$words" "$T/out" || fail "$fault: no \"$words\": $(cat "$T/out" "$T/err")"
    done
    [ ! -s "$T/err" ] || fail "$fault: $(cat "$T/err")"
    [ "$(wc -c < "$T/out")" -lt 4096 ] || fail "$fault: $(wc -c < "$T/out") bytes are said"
    [ "$(current)" = gen-1 ] || fail "$fault: $(current)"
    working_pair
    expect_exit 0 renew
    [ "$(current)" = gen-2 ] || fail "$fault: $(current)"
    working_pair
    COUNT=$((COUNT + 1))
}
COUNT=0
WRONG="the server's answer is wrong"
for operation in cacerts simplereenroll; do
    what="EST $operation"
    fails "$operation cut" "$operation"
    fails "$operation 500" "$what" 'answered 500 (a fault of the test)' 'try again later'
    fails "$operation 403" "$what" 'answered 403' 'what the CA lets this certificate do'
    fails "$operation 404" "$what" 'answered 404' 'the path of est-url'
    fails "$operation 400" "$what" 'answered 400'
    fails "$operation redirect https://elsewhere.example/x" 'https://elsewhere.example/x' 'not followed'
    fails "$operation redirect http://localhost/x" 'not followed'
    fails "$operation long" "longer than"
    fails "$operation garbage" "$what" "$WRONG" 'no PKCS#7'
    fails "$operation text" "$what" "$WRONG" 'not base64'
    fails "$operation der" "$what" "$WRONG" 'not base64'
    fails "$operation empty" "$what" "$WRONG" 'empty'
    fails "$operation wrong-type" "$what" "$WRONG" 'text/html'
    fails "$operation signed" "$what" "$WRONG" 'signed'
    fails "$operation no-certificates" "$what" "$WRONG" 'no certificate'
done
fails 'cacerts drop' cacerts
fails 'csrattrs 500' 'EST csrattrs' 'answered 500'
fails 'csrattrs garbage' 'EST csrattrs' "$WRONG"
fails 'csrattrs text' 'EST csrattrs' "$WRONG"
fails 'csrattrs wrong-type' 'EST csrattrs' 'text/html'
fails 'simplereenroll other-key' 'for another key than ours (subject CN=somebody)'
fails 'simplereenroll other-ca' 'no CA of cacerts vouches' 'CN=other'
fails 'simplereenroll ca-certificate' 'that of a CA'
fails 'simplereenroll ended' 'has ended already'
fails 'simplereenroll two' 'several certificates for our key'
fails 'simplereenroll other-name' 'issued for CN=somebody-else, not for CN=device-7'
fails 'simplereenroll no-names' 'without the alternative name DNS:'
fails 'simplereenroll same-again' 'the certificate that is to be renewed'

good() { # "OPERATION FAULT"...: it is no failure
    again
    faults "$@"
    expect_exit 0 renew
    [ ! -s "$EST/faults" ] || fail "$*: not all was met: $(cat "$EST/faults")"
    [ "$(current)" = gen-2 ] || fail "$*: $(current)"
    working_pair
    COUNT=$((COUNT + 1))
}
for operation in cacerts csrattrs simplereenroll; do
    good "$operation late 1"
    good "$operation redirect $EST_URL/$operation"
done
# A connection that was kept and is gone: the request goes over a new one.
good 'csrattrs drop'
good 'simplereenroll drop'
good 'simplereenroll lost'
good 'simplereenroll twice'
# The second answer may be taken for that of the next request, whose form it has not.
again
faults 'cacerts twice'
expect_exit 0,1 renew
working_pair
expect_exit 0 renew
working_pair
good 'csrattrs 404'
good 'csrattrs empty'
# Round and round.
again
faults "cacerts redirect $EST_URL/cacerts" "cacerts redirect $EST_URL/cacerts" \
    "cacerts redirect $EST_URL/cacerts" "cacerts redirect $EST_URL/cacerts"
expect_exit 1 renew
expect_text "$T/out" 'without an end'
# Never.
again
faults 'simplereenroll stall'
expect_exit 1 renew
expect_text "$T/out" 'no answer within 30000 ms'
working_pair
# Nobody.
again
stop_daemon "$DAEMON_PID" KILL
expect_exit 1 renew
expect_text "$T/out" "$EST_URL"
working_pair
[ $COUNT -ge 50 ] || fail "only $COUNT"
