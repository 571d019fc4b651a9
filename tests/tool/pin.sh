#!/bin/bash
# hwid pin state, change, unblock: PINs of tokens and the files that hold them.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

RECORD=$XDG_STATE_HOME/hwid/pins.json
TOKEN=pkcs11:token=line
SECRETS="$SO_PIN|2222|34567|9999|4444"

run() { # CODE COMMAND...: as expect_exit, calls counted; no PIN is shown
    local code=$1
    shift
    forget_calls
    HWID_TEST_REPORT=$T/counts expect_exit "$code" "$@"
    if grep -qE "\b($PIN|$SECRETS)\b" "$T/out" "$T/err"; then
        fail "a PIN is shown: $(cat "$T/out" "$T/err")"
    fi
}
tries() { # N: that many calls with a PIN were made
    local seen=$(($(calls C_Login) + $(calls C_SetPIN)))
    [ "$seen" = "$1" ] || fail "$seen calls with a PIN, not $1"
}
is_pin() { # PIN: it is the token's
    HWID_NOW=$1 "$HWID_TOOLS_DIR/hwid" list "$TOKEN;object=ec" --pin-source env:HWID_NOW > "$T/list" 2>&1 ||
        fail "the PIN is not $1: $(cat "$T/list")"
}
file_is() { # TEXT: the PIN file has exactly that, and nothing is beside it
    printf '%b' "$1" | cmp - "$T/pin" || fail "the file has: $(od -c "$T/pin")"
    [ ! -e "$T/pin.new" ] || fail 'FILE.new is left'
    [ -z "$(find "$T" -maxdepth 1 -name '.hwid-*')" ] || fail 'a temporary file is left'
}
write_pin() { (umask 077 && printf '%b' "$1" > "$T/pin"); }
control() { printf '%s\n' "$@" > "$T/control"; }

make_token line ec:P-256,label=ec,id=01
make_token other
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/openssl.cnf" default-first line \
    'keys.device=pkcs11:token=line;object=ec'
export OPENSSL_CONF=$T/openssl.cnf HWID_TEST_CONTROL=$T/control
control clear

# --- state
run 0 hwid pin state
expect_text "$T/out" 'token line'
expect_text "$T/out" 'token other'
tries 0
run 0 hwid pin state $TOKEN --json
[ "$(json 'len(d["tokens"]), d["tokens"][0]["label"], d["tokens"][0]["user_pin"]')" = "(1, 'line', 'ok')" ] ||
    fail "$(cat "$T/out")"
[ "$(json 'd["tokens"][0]["user_pin_changed"]["source"]')" = "$T/pin" ] || fail "$(cat "$T/out")"
touch -d '2020-02-03T04:05:06Z' "$T/pin"
run 0 hwid pin state hwid://device
expect_text "$T/out" '2020-02-03T04:05:06Z, '
for each in '+0x10000:low:0' '+0x20000:last-try:1' '+0x40000:locked:1' '-0x8:not-set:0'; do
    IFS=: read -r flags word code <<< "$each"
    control "token-flags $flags"
    run "$code" hwid pin state $TOKEN
    grep -Eq "^ +PIN +$word" "$T/out" || fail "$flags: $(cat "$T/out")"
    run "$code" hwid pin state $TOKEN --json
    [ "$(json 'd["tokens"][0]["user_pin"]')" = "$word" ] || fail "$(cat "$T/out")"
    tries 0
done
control clear
run 3 hwid pin state pkcs11:token=none
expect_text "$T/err" 'no token matches; there are: '
run 3 hwid pin state $'pkcs11:token=\x1b[2Jx'
if grep -q $'\x1b' "$T/err"; then fail 'raw text of the user'; fi
run 1 hwid pin state hwid://none
run 2 hwid pin state $TOKEN --pin-source "file:$T/pin"
run 2 hwid pin
expect_text "$T/err" 'state, change, unblock'

# A label for a shell to fall over: the command that is told is one to paste.
make_token "a'\$(id)"
control 'token-flags +0x40000'
run 1 hwid pin state 'pkcs11:token=a%27%24%28id%29'
expect_text "$T/out" "hwid pin unblock 'pkcs11:token=a'\\''\$(id)'"
control clear

# --- change: the PIN that openssl.cnf has in a file
# No other provider in openssl.cnf: what SoftHSM takes random numbers from is not the token itself.
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/only.cnf" hwid-only line
NEW=9999 run 0 timeout 20 "$HWID_TOOLS_DIR/hwid" pin change $TOKEN --new-pin-source env:NEW \
    --openssl-conf "$T/only.cnf"
OPENSSL_CONF=$T/only.cnf NEW=$PIN run 0 timeout 20 "$HWID_TOOLS_DIR/hwid" pin change $TOKEN \
    --new-pin-source env:NEW
chmod 640 "$T/pin"
NEW=2222 run 0 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/out" "$T/pin"
tries 2 # C_Login, C_SetPIN
file_is '2222\n'
[ "$(stat -c %a "$T/pin")" = 640 ] || fail 'mode'
is_pin 2222
[ "$(stat -c %a "$RECORD")" = 600 ] || fail 'mode of the record'
[ "$(json 'd["pins"][0]["label"]' "$RECORD")" = line ] || fail "$(cat "$RECORD")"

# By name, at random; what follows the PIN in the file stays.
write_pin '2222\r\n# kept\r\n'
run 0 hwid pin change hwid://device --generate --json
[ "$(json 'd["pin_file"], d["finished_interrupted"]')" = "('$T/pin', False)" ] || fail "$(cat "$T/out")"
grep -Eqx $'[0-9]{32}\r' "$T/pin" || fail "$(od -c "$T/pin")"
[ "$(tail -n +2 "$T/pin")" = $'# kept\r' ] || fail "$(od -c "$T/pin")"
is_pin "$(head -1 "$T/pin" | tr -d '\r')"
if grep -qF "$(head -1 "$T/pin" | tr -d '\r')" "$T/out" "$T/err" "$RECORD"; then fail 'shown'; fi
hwid list hwid://device > /dev/null

# A link stays one.
mv "$T/pin" "$T/real.pin"
ln -s real.pin "$T/pin"
NEW=2222 run 0 hwid pin change $TOKEN --new-pin-source env:NEW
[ -L "$T/pin" ] || fail 'the link is gone'
rm "$T/pin" "$T/real.pin"

# Another file, and no file at all: what programs read is told.
write_pin '2222\n'
cp "$T/pin" "$T/mine"
NEW=34567 run 0 hwid pin change $TOKEN --pin-source "file:$T/mine" --new-pin-source env:NEW
[ "$(cat "$T/mine")" = 34567 ] || fail "$(cat "$T/mine")"
expect_text "$T/err" "programs take the PIN from file:$T/pin"
sed "s#^pin-source.*#pin-source = env:OLD#" "$T/openssl.cnf" > "$T/env.cnf"
OLD=34567 NEW=2222 run 0 hwid pin change $TOKEN --new-pin-source env:NEW --openssl-conf "$T/env.cnf"
expect_text "$T/err" 'programs take the PIN from env:OLD: put the new one there'
OLD=2222 run 2 hwid pin change $TOKEN --generate --openssl-conf "$T/env.cnf"
is_pin 2222
run 0 hwid pin state $TOKEN --openssl-conf "$T/env.cnf" --json
[ "$(json 'd["tokens"][0]["user_pin_changed"]["source"]')" = "$RECORD" ] || fail "$(cat "$T/out")"

# What costs no try.
for new in 3 22; do
    NEW=$new run 3 hwid pin change $TOKEN --new-pin-source env:NEW
    expect_text "$T/err" 'too short'
    expect_text "$T/err" 'No try was spent'
    tries 0
done
NEW=$(printf '%0300d' 1) run 3 hwid pin change $TOKEN --new-pin-source env:NEW
tries 0
NEW=$'44\n44' run 3 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" 'on one line'
NEW=2222 run 1 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" 'it is the old one'
run 3 hwid pin change $TOKEN
expect_text "$T/err" '--new-pin-source'
tries 0
control 'token-flags +0x20000'
NEW=4444 run 1 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" '--force'
tries 0
control 'token-flags +0x40000'
NEW=4444 run 1 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" 'hwid pin unblock'
tries 0
control 'token-flags +0x100'
NEW=4444 run 1 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" 'on the token itself'
tries 0
control clear
file_is '2222\n'

# A wrong PIN costs one, and leaves nothing.
write_pin '9999\n'
NEW=4444 run 1 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" 'CKR_PIN_INCORRECT'
tries 1
file_is '9999\n'
is_pin 2222

# Where nobody knows whether it was done, both are kept.
write_pin '2222\n'
control 'fail C_SetPIN CKR_DEVICE_ERROR after'
NEW=4444 run 3 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" 'whether the PIN was changed is not known'
[ "$(cat "$T/pin") $(cat "$T/pin.new")" = '2222 4444' ] || fail 'files'

# --- interrupted: the next run finds out which PIN is right
control clear
is_pin 4444 # the token had obeyed
NEW=34567 run 0 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" 'an interrupted change of the PIN was finished'
tries 3 # the old one, the one of FILE.new, and the change itself
file_is '34567\n'
is_pin 34567
(umask 077 && echo 4444 > "$T/pin.new") # written, and the token knows nothing of it
NEW=2222 run 0 hwid pin change $TOKEN --new-pin-source env:NEW --json
[ "$(json 'd["finished_interrupted"]')" = False ] || fail "$(cat "$T/out")"
tries 2
file_is '2222\n'
is_pin 2222
# The same PIN again is what was to be reached.
write_pin '4444\n'
(umask 077 && echo 2222 > "$T/pin.new")
NEW=2222 run 0 hwid pin change $TOKEN --new-pin-source env:NEW
tries 2
file_is '2222\n'
# Neither is right; and not even tried at the last try.
write_pin '9999\n'
(umask 077 && echo 4444 > "$T/pin.new")
NEW=34567 run 1 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" 'neither the PIN that was given nor the one in'
tries 2
[ "$(cat "$T/pin.new")" = 4444 ] || fail 'FILE.new is gone'
echo 2222 > "$T/pin.new"
control 'pin-tries 2'
NEW=34567 run 1 hwid pin change $TOKEN --new-pin-source env:NEW
expect_text "$T/err" 'was not tried'
expect_text "$T/err" 'last-try'
tries 1
[ "$(cat "$T/pin") $(cat "$T/pin.new")" = '9999 2222' ] || fail 'files'
control clear

# Killed while the token works.
rm "$T/pin.new"
write_pin '2222\n'
control 'delay-us C_SetPIN 20000000'
NEW=4444 start_daemon "$T/killed" "test -f $T/pin.new" "$HWID_TOOLS_DIR/hwid" pin change $TOKEN \
    --new-pin-source env:NEW
stop_daemon "$DAEMON_PID" KILL
control clear
[ "$(cat "$T/pin") $(cat "$T/pin.new")" = '2222 4444' ] || fail 'files'
NEW=34567 run 0 hwid pin change $TOKEN --new-pin-source env:NEW
file_is '34567\n'
is_pin 34567

# Several at once: each takes for the old PIN what the one before it left, although it has looked at
# the token before.
exec {held}< "$T"
flock "$held"
changes=()
for _ in 1 2 3; do
    hwid pin change $TOKEN --generate >> "$T/changes.out" 2>> "$T/changes.err" {held}<&- &
    changes+=($!)
done
all_wait() { [ "$(grep -c '^waiting for another' "$T/changes.err")" = 3 ]; }
wait_for 30 all_wait || fail "$(cat "$T/changes.err")"
exec {held}<&-
for each in "${changes[@]}"; do wait "$each" || fail "$(cat "$T/changes.err")"; done
run 0 hwid pin state $TOKEN --json
[ "$(json 'd["tokens"][0]["user_pin"]')" = ok ] || fail "$(cat "$T/out")"
is_pin "$(cat "$T/pin")"

# --- unblock
(umask 077 && echo "$SO_PIN" > "$T/so-pin" && echo 9999 > "$T/wrong")
control 'pin-tries 2'
write_pin '9999\n'
forget_calls
HWID_TEST_REPORT=$T/counts expect_exit 1 hwid pin change $TOKEN --generate
HWID_TEST_REPORT=$T/counts expect_exit 1 hwid pin change $TOKEN --generate --force
HWID_TEST_REPORT=$T/counts expect_exit 1 hwid pin state $TOKEN
expect_text "$T/out" 'locked; `hwid pin unblock'
HWID_TEST_REPORT=$T/counts expect_exit 0 hwid pin unblock $TOKEN --so-pin-source "file:$T/so-pin" --generate
expect_text "$T/out" 'PIN set'
HWID_TEST_REPORT=$T/counts expect_exit 0 hwid pin state $TOKEN
control clear
[ ! -e "$T/pin.new" ] || fail 'FILE.new is left'
is_pin "$(cat "$T/pin")"
NEW=2222 run 0 hwid pin unblock $TOKEN --so-pin-source "file:$T/so-pin" --new-pin-source env:NEW
tries 1
file_is '2222\n'
is_pin 2222
NEW=4444 run 1 hwid pin unblock $TOKEN --so-pin-source "file:$T/wrong" --new-pin-source env:NEW
expect_text "$T/err" 'it is the SO PIN, and one try was spent'
tries 1
file_is '2222\n'
NEW=44 run 3 hwid pin unblock $TOKEN --so-pin-source "file:$T/so-pin" --new-pin-source env:NEW
expect_text "$T/err" 'too short'
tries 0
run 3 hwid pin unblock $TOKEN --generate
expect_text "$T/err" '--so-pin-source'
for each in 0x400000:nobody 0x200000:--force; do
    control "token-flags +${each%%:*}"
    NEW=4444 run 1 hwid pin unblock $TOKEN --so-pin-source "file:$T/so-pin" --new-pin-source env:NEW
    expect_text "$T/err" "${each#*:}"
    tries 0
done
control clear
# Into a file that is not there yet.
NEW=4444 run 0 hwid pin unblock $TOKEN --so-pin-source "file:$T/so-pin" --new-pin-source env:NEW \
    --pin-source "file:$T/fresh"
[ "$(cat "$T/fresh") $(stat -c %a "$T/fresh")" = '4444 600' ] || fail 'fresh'
is_pin 4444

# PINs and their record in one directory; a damaged record.
write_pin '4444\n'
sed "s#^keys = .*#&\nstate-dir = $T#" "$T/openssl.cnf" > "$T/state.cnf"
NEW=2222 run 0 timeout 60 "$HWID_TOOLS_DIR/hwid" pin change $TOKEN --new-pin-source env:NEW \
    --openssl-conf "$T/state.cnf"
[ -f "$T/pins.json" ] || fail 'no record'
echo '{"pins": 3' > "$T/pins.json"
run 0 hwid pin state $TOKEN --openssl-conf "$T/state.cnf"
expect_text "$T/out" 'no record of PINs; remove it'

# --- a TPM
if without_tpm; then exit 0; fi
unset HWID_TEST_CONTROL
HWID_WORLD=tpm
make_token chip ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip
run 0 hwid pin state
expect_text "$T/out" '0, at '
run 0 hwid pin state tpm2: --json
json 'd["tokens"][0]["lockout"]["recovery_s"]' > /dev/null
for uri in tpm2: tpm2:handle=0x81000002 pkcs11:token=chip; do
    NEW=4444 run 1 hwid pin change $uri --new-pin-source env:NEW
    expect_text "$T/err" 'TPM2_ObjectChangeAuth'
done
# A key whose wrong auth values count.
tpm_tool tpm2_dictionarylockout -s -n 2 -t 1000 -l 1000
tpm_tool tpm2_create -C 0x81000001 -G ecc -u "$T/da.pub" -r "$T/da.priv" -p "$PIN" \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign'
tpm_tool tpm2_load -C 0x81000001 -u "$T/da.pub" -r "$T/da.priv" -c "$T/da.ctx"
tpm_tool tpm2_evictcontrol -C o -c "$T/da.ctx" 0x81000009
for each in 1:last-try 2:locked; do
    expect_failure env -u LD_PRELOAD TPM2TOOLS_TCTI="$TPM_TCTI" tpm2_sign -c 0x81000009 -p 9999 \
        -o "$T/sig" "$T/plain.cnf"
    run 1 hwid pin state tpm2: --json
    [ "$(json 'd["tokens"][0]["lockout"]["failures"], d["tokens"][0]["user_pin"]')" = \
        "(${each%%:*}, '${each#*:}')" ] || fail "$(cat "$T/out")"
    run 1 hwid pin state
    expect_text "$T/out" "at 2 no auth value is taken any more"
    expect_text "$T/out" 'one each 1000 s'
done
run 2 hwid pin unblock tpm2: --generate
run 0 hwid pin unblock tpm2: --json
[ "$(json 'd["failures"]')" = 0 ] || fail "$(cat "$T/out")"
run 0 hwid pin state tpm2:
tpm_tool tpm2_changeauth -c lockout 34567
(umask 077 && echo 34567 > "$T/lockout")
run 0 hwid pin unblock pkcs11:token=chip --so-pin-source "file:$T/lockout"
run 1 hwid pin unblock tpm2: --so-pin-source "file:$T/wrong"
expect_text "$T/err" 'TPM2_DictionaryAttackLockReset: TPM_RC_AUTH_FAIL'
