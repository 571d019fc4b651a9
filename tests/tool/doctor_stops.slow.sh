#!/bin/bash
# hwid doctor: a device that hangs or crashes at some step, and what ends the doctor itself.
# shellcheck disable=SC2016,SC2030,SC2031  # sed has dollars; a subshell's variables are its own
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
# shellcheck source=tests/tool/doctor_server.bash
. "$HWID_TESTS_DIR/tool/doctor_server.bash"
PIN=7315

token_credentials
GOOD=$OPENSSL_CONF
edited "$GOOD" "/^\[hwid_dev\]/,\$s|^module = .*|module = $HWID_TEST_MODULE|"
cp "$T/edited.cnf" "$T/test-module.cnf"
export OPENSSL_CONF=$T/test-module.cnf HWID_TEST_CONTROL=$T/control
SECONDS_ALLOWED=8 # that a busy machine keeps, too
PATIENT=(--patience "$SECONDS_ALLOWED")
directives() { printf '%s\n' "$@" > "$T/control"; }
is_left() { # a doctor of this test; processes end while they are looked at
    local file
    while read -r file; do
        if tr '\0' ' ' < "${file%environ}cmdline" | grep -q 'hwid doctor'; then return 0; fi
    done < <(grep -lsz "^OPENSSL_CONF=$T/" /proc/[0-9]*/environ || true)
    return 1
} 2> /dev/null
is_gone() { ! is_left; }
nothing_is_left() { if is_left; then fail 'a process was left'; fi; }
stops() { # CALL STEP OPTION...
    directives "delay-us $1 600000000"
    blames device-stops 'daemon' "${PATIENT[@]}" "${@:3}"
    sees "$2"
    sees "no end after $SECONDS_ALLOWED s"
    nothing_is_left
}

# --- it hangs
stops C_OpenSession "logging in to token line of $HWID_TEST_MODULE" --key hwid://rsa
alone
stops C_Login "logging in to token line of $HWID_TEST_MODULE" --key hwid://rsa
stops C_SignInit 'signing with key hwid://rsa' --key hwid://rsa
# What does not let go of a healthy one hides no answer.
for call in C_CloseSession C_Finalize; do
    directives "delay-us $call 600000000"
    expect_exit 0 timeout 120 "$HWID_TOOLS_DIR/hwid" doctor --key hwid://rsa "${PATIENT[@]}"
    expect_text "$T/out" 'nothing is broken'
    nothing_is_left
done
# The second signature is the handshake's.
start_mosquitto server "${WITH_CERTIFICATE[@]}"
device
directives
well --config "$T/device.conf"
directives 'delay-us C_Sign 600000000 nth=2'
doctor 1 --config "$T/device.conf" "${PATIENT[@]}"
[ "$CAUSE" = device-stops ] || fail "$(cat "$T/out")"
sees "TLS with localhost:$PORT"
[ "$(json 'd["passed"][0]')" = 'token line' ] || fail "what was found before is lost: $(cat "$T/out")"
# A fault of another backend does not hide it.
edited "$T/test-module.cnf" 's/^backends = dev/backends = other dev\nother = other_sect/' \
    '$a [other_sect]\ntype = pkcs11\nmodule = /nowhere/x.so'
directives 'delay-us C_Login 600000000'
OPENSSL_CONF=$T/edited.cnf blames module-not-there '' "${PATIENT[@]}"
others device-stops
# A person at a PIN pad is no hanging token.
directives 'token-flags +0x100' "pin-pad $PIN" 'delay-us C_Login 10000000'
sed '/^pin-source/d' "$T/test-module.cnf" > "$T/pad.cnf"
OPENSSL_CONF=$T/pad.cnf expect_exit 0 hwid doctor --key hwid://rsa "${PATIENT[@]}"
directives

# --- it crashes, or ends the process
login_is() { # STATEMENT: $T/login.so is SoftHSM, but for C_Login
    cat > "$T/login.c" << END
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
static struct list { unsigned char version[2]; void *calls[68]; } list;
static unsigned long login(void) { $1; return 0; }
unsigned long C_GetFunctionList(void **out) {
    struct list *real = 0;
    void *module = dlopen("$HWID_SOFTHSM_MODULE", RTLD_NOW);
    ((unsigned long (*)(struct list **))dlsym(module, "C_GetFunctionList"))(&real);
    list = *real;
    list.calls[18] = (void *)login; /* C_Login */
    *out = &list;
    return 0;
}
END
    cc -shared -fPIC -o "$T/login.so" "$T/login.c"
}
sed "s|$HWID_TEST_MODULE|$T/login.so|" "$T/test-module.cnf" > "$T/login.cnf"
while read -r statement how; do
    login_is "$statement"
    OPENSSL_CONF=$T/login.cnf blames device-stops 'daemon' --key hwid://rsa
    sees "$how"
    # A caller that ignores its children's end does to us what it does to itself.
    (
        trap '' CHLD
        OPENSSL_CONF=$T/login.cnf blames device-stops 'daemon' --key hwid://rsa
    )
done << 'END'
abort() SIGABRT
exit(0) exit code 0
exit(7) exit code 7
END

login_is 'raise(SIGKILL)'
OPENSSL_CONF=$T/login.cnf blames doctor-stops 'tell us' --key hwid://rsa
sees 'for want of memory'

# --- who asks goes away
directives
for number in $(seq 60); do echo "unknown$number = 1"; done > "$T/unknown"
sed "/^\[hwid_sect\]/r $T/unknown" "$T/test-module.cnf" > "$T/long.cnf"
{
    code=0
    OPENSSL_CONF=$T/long.cnf hwid doctor --json 2> "$T/err" || code=$?
    echo "$code" > "$T/code"
} | true
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
[ "$(cat "$T/code")" = 141 ] || fail "$(cat "$T/code")"
directives 'delay-us C_Login 600000000'
"$HWID_TOOLS_DIR/hwid" doctor --key hwid://rsa > "$T/out" 2> "$T/err" &
DOCTOR=$!
has_child() { pgrep -P "$DOCTOR" > /dev/null; }
wait_for 30 has_child || fail 'no examiner'
kill -TERM "$DOCTOR"
code=0
wait "$DOCTOR" || code=$?
[ "$code" = 143 ] || fail "$code"
wait_for 30 is_gone || fail 'a process was left'
expect_exit 2 hwid doctor --patience 0
