#!/bin/bash
# hwid init: tokens for development that are usable at once, and real tokens, which are not erased
# by accident.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

export HOME=$T/home XDG_DATA_HOME=
mkdir "$HOME"
mode_of() { stat -c %a "$1"; }
in_dir() { # DIR COMMAND...: as the line that init printed
    OPENSSL_CONF=$1/openssl.cnf "${@:2}"
}
usable() { # DIR KEY-URI: what init says goes on
    in_dir "$1" hwid generate hwid://device > "$T/text"
    in_dir "$1" openssl req -new -key hwid://device -subj /CN=device -out "$T/csr.pem"
    plain_openssl req -in "$T/csr.pem" -verify -noout 2> "$T/err" || fail "$(cat "$T/err")"
    in_dir "$1" openssl pkey -in "$2" -pubout -out "$T/key.pem" || fail "not by $2"
}
device_conf() { # DIR: the key of device.conf, as a program would open it
    local key
    key=$(sed -n 's/^key = //p' "$1/device.conf")
    in_dir "$1" openssl pkey -in "$key" -pubout > "$T/key.pem"
    expect_text "$1/device.conf" "cert = $1/device.pem"
}

# --- SoftHSM

refused 2 'one of softhsm, swtpm, token' hwid init

expect_exit 0 hwid init softhsm
D=$HOME/.local/share/hwid/dev
expect_text "$T/out" "export OPENSSL_CONF='$D/openssl.cnf'"
expect_text "$T/out" 'hwid generate hwid://device'
[ "$(mode_of "$D") $(mode_of "$D/tokens")" = '700 700' ] || fail "others may look"
for secret in pin so-pin softhsm2.conf; do
    [ "$(mode_of "$D/$secret")" = 600 ] || fail "$secret: $(mode_of "$D/$secret")"
done
[ "$(wc -c < "$D/pin")" = 32 ] || fail "PIN: $(wc -c < "$D/pin")"
if cmp -s "$D/pin" "$D/so-pin"; then fail "one PIN for both"; fi
if grep -qF "$(cat "$D/pin")" "$T/out" "$D/openssl.cnf" "$D/hwid.cnf"; then fail "the PIN is shown"; fi
usable "$D" 'pkcs11:token=dev;object=device'
device_conf "$D"
# In the token's own words: the security officer's PIN is the one in the file.
SOFTHSM2_CONF=$D/softhsm2.conf pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --token-label dev --login \
    --login-type so --so-pin "$(cat "$D/so-pin")" --init-pin --new-pin "$(cat "$D/pin")" \
    > "$T/text" 2> "$T/err" ||
    fail "SO PIN: $(cat "$T/err")"
cp -r "$D" "$T/before"
refused 1 "$D/hwid.cnf: it exists already" hwid init softhsm
diff -r "$D" "$T/before" || fail "a second init changed the first"

# The fragment goes into another file.
printf 'openssl_conf = init\n[init]\n' > "$T/system.cnf"
expect_exit 0 hwid enable --openssl-conf "$T/system.cnf" --from "$D/hwid.cnf"
OPENSSL_CONF=$T/system.cnf openssl pkey -in hwid://device -pubout -out "$T/key.pem"

# As JSON, in another directory, with another label.
D="$T/a\$b'c"
expect_exit 0 hwid init softhsm --dir "$D" --token 'line #7' --json
[ "$(json "d['directory']")" = "$D" ] || fail "$(cat "$T/out")"
[ "$(json "d['token']")" = 'line #7' ] || fail "$(cat "$T/out")"
[ "$(json "d['uri']")" = 'pkcs11:token=line%20%237' ] || fail "$(cat "$T/out")"
[ "$(json "d['openssl_cnf']")" = "$D/openssl.cnf" ] || fail "$(cat "$T/out")"
# The lines themselves, run by a shell.
json "'\n'.join(d['commands'])" > "$T/commands"
(cd "$T" && PATH=$HWID_TOOLS_DIR:$PATH sh -e "$T/commands" > "$T/text" 2>&1) || fail "$(cat "$T/text")"
plain_openssl req -in "$T/device.csr" -verify -noout 2> "$T/err" || fail "$(cat "$T/err")"

# What cannot be leaves nothing.
refused 2 blank hwid init softhsm --dir "$T/a b"
[ ! -e "$T/a b" ] || fail "a directory was left"
refused 3 "module=$T/plain.cnf" hwid init softhsm --dir "$T/bad" --module "$T/plain.cnf"
[ ! -e "$T/bad" ] || fail "left: $(ls -A "$T/bad")"
mkdir "$T/mine"
echo mine > "$T/mine/pin"
refused 1 'it exists already' hwid init softhsm --dir "$T/mine"
[ "$(ls -A "$T/mine") $(cat "$T/mine/pin")" = 'pin mine' ] || fail "$(ls -A "$T/mine")"
mkdir "$T/open"
chmod 0777 "$T/open"
refused 3 'others may write' hwid init softhsm --dir "$T/open"
if [ "$(id -u)" = 0 ]; then
    mkdir "$T/others"
    chown 65534 "$T/others"
    refused 3 'it belongs to user 65534' hwid init softhsm --dir "$T/others"
fi
for bad in 'a#b' 'a=b'; do
    refused 2 "the character ${bad:1:1}" hwid init softhsm --dir "$T/$bad"
    [ ! -e "$T/$bad" ] || fail "a directory was left"
done
refused 2 'does not end in a blank' hwid init softhsm --dir "$T/bad" --token 'trail '

# Killed while the token is made: the next run begins anew, and leaves alone what is not its own.
echo 'delay-us C_InitToken 20000000' > "$T/control"
mkdir -m 700 "$T/killed"
echo mine > "$T/killed/notes"
HWID_TEST_CONTROL=$T/control start_daemon "$T/killed.log" "test -f $T/killed/pin" \
    "$HWID_TOOLS_DIR/hwid" init softhsm --dir "$T/killed" --module "$HWID_TEST_MODULE"
stop_daemon "$DAEMON_PID" KILL
[ ! -e "$T/killed/openssl.cnf" ] || fail "it looks finished"
expect_exit 0 hwid init softhsm --dir "$T/killed"
expect_text "$T/err" 'interrupted'
[ "$(cat "$T/killed/notes")" = mine ] || fail 'notes'
[ -z "$(find "$T/killed" -name '.hwid*')" ] || fail "left: $(ls -A "$T/killed")"
usable "$T/killed" hwid://device
# Once openssl.cnf is there, nothing is removed.
echo tokens > "$T/killed/.hwid-init"
refused 1 'it exists already' hwid init softhsm --dir "$T/killed"
in_dir "$T/killed" openssl pkey -in hwid://device -pubout -out "$T/key.pem"

# The user's own configuration of SoftHSM goes before: how to go on is said.
SOFTHSM2_CONF=$T/none expect_exit 0 hwid init softhsm --dir "$T/other" --json
expect_text "$T/err" "SOFTHSM2_CONF is set ($T/none)"
json "'\n'.join(d['commands'])" > "$T/commands"
(cd "$T" && SOFTHSM2_CONF=$T/none PATH=$HWID_TOOLS_DIR:$PATH sh -e "$T/commands" > "$T/text" 2>&1) ||
    fail "$(cat "$T/text")"
refused 2 '1 to 32 bytes' hwid init softhsm --dir "$T/bad" --token "$(printf 'x%.0s' {1..33})"
refused 2 'control characters' hwid init softhsm --dir "$T/bad" --token $'a\eb'
refused 2 '--dir' env HOME= "$HWID_TOOLS_DIR/hwid" init softhsm

# --- a real token

mkdir "$T/tokens"
printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$T/tokens" \
    > "$T/softhsm2.conf"
export SOFTHSM2_CONF=$T/softhsm2.conf
(umask 077 && printf '%s\n' "$PIN" > "$T/pin" && printf '%s\n' "$SO_PIN" > "$T/so-pin" &&
    echo 99999999 > "$T/wrong")
make_conf "$T/openssl.cnf" default-first line
export OPENSSL_CONF=$T/openssl.cnf
pins=(--so-pin-source "file:$T/so-pin" --pin-source "file:$T/pin")
serial_of() { # LABEL
    pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --list-token-slots 2> "$T/err" |
        awk -v label="$1" '/token label/ {found = $NF == label} found && /serial num/ {print $NF}'
}
refused 2 --label hwid init token pkcs11: "${pins[@]}"
refused 2 'is empty' hwid init token pkcs11: --label '' "${pins[@]}"
refused 2 --pin-source hwid init softhsm --dir "$T/pin-of-no-use" --pin-source "file:$T/pin"
refused 2 'not an object' hwid init token 'pkcs11:object=x' --label line "${pins[@]}"
refused 2 'a TPM needs nothing of that' hwid init token tpm2: --label line "${pins[@]}"
refused 3 'no token matches' hwid init token pkcs11:slot-id=77 --label line "${pins[@]}"
refused 3 --so-pin-source hwid init token pkcs11: --label line --pin-source "file:$T/pin"
refused 3 --pin-source hwid init token pkcs11: --label line --so-pin-source "file:$T/so-pin"
[ -z "$(serial_of line)" ] || fail "a token was made without a PIN"
expect_exit 0 hwid init token pkcs11: --label line "${pins[@]}"
expect_text "$T/out" pkcs11:token=line
hwid generate 'pkcs11:token=line;object=first' > "$T/text"
openssl pkey -in 'pkcs11:token=line;object=first' -pubout -out "$T/key.pem"

# It is not erased by accident.
serial=$(serial_of line)
refused 1 'initialized already' hwid init token pkcs11:token=line --label new "${pins[@]}"
refused 2 "--serial $serial" hwid init token pkcs11:token=line --label new --force "${pins[@]}"
refused 1 'its serial number is not 123' hwid init token pkcs11:token=line --label new --force \
    --serial 123 "${pins[@]}"
refused 1 CKR_PIN_INCORRECT hwid init token pkcs11:token=line --label new --force --serial "$serial" \
    --so-pin-source "file:$T/wrong" --pin-source "file:$T/pin"
openssl pkey -in 'pkcs11:token=line;object=first' -pubout -out "$T/key.pem" || fail "the key is gone"
expect_exit 0 hwid init token pkcs11:token=line --label new --force --serial "$serial" "${pins[@]}" \
    --json
[ "$(json "d['uri'], d['label'], d['erased']")" = "('pkcs11:token=new', 'new', True)" ] ||
    fail "$(cat "$T/out")"
[ -z "$(serial_of line)" ] || fail "the old token is there still"
[ -n "$(serial_of new)" ] || fail "the new token is not there"
# A module that is not in openssl.cnf; a token that a vague URI does not choose.
refused 1 'several tokens match' env OPENSSL_CONF="$T/plain.cnf" "$HWID_TOOLS_DIR/hwid" init token \
    pkcs11: --label x --module "$HWID_SOFTHSM_MODULE" --force --serial "$serial" "${pins[@]}"
refused 3 --module env OPENSSL_CONF="$T/plain.cnf" "$HWID_TOOLS_DIR/hwid" init token pkcs11: \
    --label x "${pins[@]}"
# Another token in the slot by the time that the PINs are there: the calls before are those that
# list the tokens.
tested() { # DIRECTIVES COMMAND...: with the module that obeys
    echo "$1" > "$T/control"
    HWID_TEST_CONTROL=$T/control HWID_TEST_REPORT=$T/report "${@:2}" --module "$HWID_TEST_MODULE" "${pins[@]}"
}
serial=$(serial_of new)
again=(hwid init token pkcs11:token=new --label other --force --serial "$serial")
slots=$(pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --list-token-slots 2> "$T/err" | grep -c '^Slot')
refused 3 'another token than the one' tested "lie C_GetTokenInfo no-serial nth=$((slots + 1))" "${again[@]}"
refused 3 'another token than the one' tested "token-flags -0x400
at C_GetTokenInfo nth=$((slots + 1)) token-flags +0x400" \
    hwid init token "pkcs11:serial=$serial" --label other
refused 3 CKR_TOKEN_NOT_PRESENT tested "at C_GetTokenInfo nth=$((slots + 1)) remove-token" "${again[@]}"
[ -n "$(serial_of new)" ] || fail "it was erased"
# A PIN that the token would not take, and the last try: known before anything is erased.
(umask 077 && echo 1 > "$T/short" && printf '%0256d\n' 0 > "$T/long" && printf '12\00034' > "$T/zero")
for bad in short long zero; do
    code=CKR_PIN_LEN_RANGE
    if [ $bad = zero ]; then code=CKR_PIN_INVALID; fi
    refused 1 "$code" "${again[@]}" --so-pin-source "file:$T/so-pin" --pin-source "file:$T/$bad"
    expect_text "$T/err" 'nothing was changed'
    refused 1 "$code" "${again[@]}" --so-pin-source "file:$T/$bad" --pin-source "file:$T/pin"
done
refused 1 CKF_SO_PIN_FINAL_TRY tested 'token-flags +0x200000' "${again[@]}"
refused 1 CKF_SO_PIN_LOCKED tested 'token-flags +0x400000' "${again[@]}"
[ -n "$(serial_of new)" ] || fail "it was erased"
# The token's own word for a PIN that it does not like comes too late; how to go on is said.
refused 1 CKR_PIN_INVALID tested 'fail C_InitPIN 0xa1' hwid init token pkcs11: --label half
expect_text "$T/err" 'has no user PIN yet'
next=$(sed -n 's/.*give it one with //p' "$T/err")
[ -n "$(serial_of half)" ] || fail "no token"
sh -c "$next --so-pin $SO_PIN --new-pin $PIN" > "$T/text" 2>&1 || fail "$next: $(cat "$T/text")"
pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --token-label half --login --pin "$PIN" --list-objects \
    > "$T/text" 2>&1 || fail "the PIN is not set: $(cat "$T/text")"
unset OPENSSL_CONF SOFTHSM2_CONF

# --- swtpm

if without_tpm; then exit 0; fi
D=$HOME/.local/share/hwid/tpm
stop_all() { # the TPMs of this test, by their own scripts
    local stop
    for stop in "$T"/*/stop "$HOME"/.local/share/hwid/*/stop; do
        if [ -x "$stop" ]; then "$stop"; fi
    done
}
trap 'stop_all; cleanup' EXIT
tpm_is_gone() { ! kill -0 "$1" 2> /dev/null; }

expect_exit 0 hwid init swtpm
expect_text "$T/out" 'runs now'
expect_text "$T/out" "export OPENSSL_CONF='$D/openssl.cnf'"
[ "$(mode_of "$D") $(mode_of "$D/state")" = '700 700' ] || fail "others may look"
usable "$D" tpm2:handle=0x81000002
in_dir "$D" openssl pkey -in 'pkcs11:token=dev-tpm;object=device' -pubout -out "$T/other.pem"
cmp "$T/key.pem" "$T/other.pem"
device_conf "$D"
# It is stopped and started again, and the key is there still.
pid=$(cat "$D/swtpm.pid")
"$D/start" # runs already
[ "$(cat "$D/swtpm.pid")" = "$pid" ] || fail "a second one was started"
"$D/stop"
wait_for 20 tpm_is_gone "$pid" || fail "it does not stop"
expect_failure in_dir "$D" openssl pkey -in hwid://device -pubout
"$D/stop" # is no error
"$D/start"
in_dir "$D" openssl pkey -in hwid://device -pubout -out "$T/other.pem"
cmp "$T/key.pem" "$T/other.pem"
refused 1 'it exists already' hwid init swtpm

# A port that is taken: nothing is left.
port=$(sed -n 's/.*port=\([0-9]*\)$/\1/p' "$D/hwid.cnf")
expect_exit 3 hwid init swtpm --dir "$T/taken" --port "$port"
expect_text "$T/err" --port
[ ! -e "$T/taken" ] || fail "left: $(ls -A "$T/taken")"
refused 2 '1 to 32 bytes' hwid init swtpm --dir "$T/taken" --token "$(printf 'x%.0s' {1..33})"
refused 2 65534 hwid init swtpm --dir "$T/taken" --port 65535
mkdir "$T/bin"
refused 3 'install swtpm' env PATH="$T/bin" "$HWID_TOOLS_DIR/hwid" init swtpm --dir "$T/none"
[ ! -e "$T/none" ] || fail "left: $(ls -A "$T/none")"

expect_exit 0 hwid init swtpm --dir "$T/with blank" --token 'chip 1' --json
[ "$(json "d['start']")" = "$T/with blank/start" ] || fail "$(cat "$T/out")"
in_dir "$T/with blank" hwid generate 'pkcs11:token=chip%201;object=device' > "$T/text"
pid=$(cat "$T/with blank/swtpm.pid")
"$T/with blank/stop"
wait_for 20 tpm_is_gone "$pid" || fail "it does not stop"

# A process id of another TPM: that one is left alone.
"$D/start"
cp "$D/swtpm.pid" "$T/with blank/swtpm.pid"
"$T/with blank/stop"
"$T/with blank/start"
in_dir "$T/with blank" openssl pkey -in hwid://device -pubout -out "$T/key.pem"
in_dir "$D" openssl pkey -in hwid://device -pubout -out "$T/key.pem"
pid=$(cat "$T/with blank/swtpm.pid")
"$T/with blank/stop"
wait_for 20 tpm_is_gone "$pid" || fail "it does not stop"

refused 2 'the character ,' hwid init swtpm --dir "$T/a,b"
refused 2 'does not end in a blank' hwid init swtpm --dir "$T/none" --token 'trail '
# Killed while it starts: the next run stops what runs, and begins anew.
mkdir "$T/slow"
printf '#!/bin/sh\n"%s" "$@"\nsleep 10\n' "$(command -v swtpm)" > "$T/slow/swtpm"
chmod +x "$T/slow/swtpm"
PATH=$T/slow:$PATH start_daemon "$T/killed.log" "test -f $T/chip/swtpm.pid" \
    "$HWID_TOOLS_DIR/hwid" init swtpm --dir "$T/chip"
pid=$(cat "$T/chip/swtpm.pid")
stop_daemon "$DAEMON_PID" KILL
expect_exit 0 hwid init swtpm --dir "$T/chip"
wait_for 20 tpm_is_gone "$pid" || fail "the first one runs still"
usable "$T/chip" hwid://device
