#!/bin/bash
# hwid doctor: PKCS#11 modules, tokens, PINs and keys, one fault at a time, made with SoftHSM.
# shellcheck disable=SC2016,SC2030,SC2031,SC2317  # messages and sed have backticks and dollars
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
PIN=7315
export HOME=$T/home
mkdir "$HOME"

make_token dev rsa:2048,label=device,id=01 ec:P-256,label=web,id=02
printf '%s' "$PIN" > "$T/pin" # the mode stays
GOOD=$T/good.cnf
make_conf "$GOOD" default-first dev "keys.device=$(key_uri dev device)" \
    'keys.web=pkcs11:token=dev;object=web'
KEY=(--key hwid://device)
fault() { # ID FIX EDIT...: the good file with these edits has that cause for the key, and no other
    local id=$1 fix=$2
    shift 2
    edited "$GOOD" "$@"
    OPENSSL_CONF=$T/edited.cnf blames "$id" "$fix" "${KEY[@]}"
    alone
}
key_fault() { # ID FIX URI: the good file, and that key
    OPENSSL_CONF=$GOOD blames "$1" "$2" --key "$3"
    alone
}
export OPENSSL_CONF=$GOOD

# --- nothing is wrong
healthy
healthy "${KEY[@]}"
expect_text "$T/out" 'RSA 2048'
healthy --key 'pkcs11:token=dev;object=web;type=private'
healthy --key 'pkcs11:token=dev;id=%02'
hwid ref hwid://web --out "$T/web.ref" 2> "$T/err" || fail "$(cat "$T/err")"
healthy --key "$T/web.ref"
printf 'endpoint = mqtts://localhost\nkey = hwid://web\n' > "$T/device.conf"
software_key "$T/software.key" ec:P-256
healthy --key "$T/software.key"
healthy --key 'pkcs11:token=dev;object=web?pin-value=7315'
healthy --key 'pkcs11:token=dev;object=web' --pin-source "file:$T/pin"
# A backend that the key has nothing to do with is not looked at, and one that is not there is.
edited "$GOOD" 's/^backends = dev/backends = dev tpm\ntpm = tpm_sect/' \
    '$a [tpm_sect]\ntype = tpm2\ntcti = swtpm:port=1'
OPENSSL_CONF=$T/edited.cnf healthy "${KEY[@]}"
OPENSSL_CONF=$T/edited.cnf blames tpm-not-reached 'start it'
alone

# --- the module
dev_module() { printf '/^\[hwid_dev\]/,$s|^module = .*|module = %s|' "$1"; }
fault module-not-there "$(basename "$HWID_SOFTHSM_MODULE")" "$(dev_module /nowhere/libsofthsm2.so)"
sees '/nowhere/libsofthsm2.so'
[[ $FIX = *'there it is'* ]] || fail "$(cat "$T/out")"
fault module-not-there 'correct the path' "$(dev_module /nowhere/no-such-module.so)"
# A bare name is one for the dynamic linker, which knows fewer directories.
fault module-not-there 'there it is' "$(dev_module "$(basename "$HWID_SOFTHSM_MODULE")")"
sees 'the dynamic linker'
fault module-not-there 'correct the path' "$(dev_module no-such-module.so)"
cp "$HWID_SOFTHSM_MODULE" "$T/my-module.so"
fault module-not-there "$T/my-module.so" "$(dev_module "$T/my-modul.so")"
echo text > "$T/text.so"
fault module-architecture 'for this machine' "$(dev_module "$T/text.so")"
sees 'no library'
: > "$T/empty.so"
fault module-architecture 'for this machine' "$(dev_module "$T/empty.so")"
sees empty
cp "$HWID_SOFTHSM_MODULE" "$T/arm.so"
printf '\267\0' | dd of="$T/arm.so" bs=1 seek=18 conv=notrunc status=none
fault module-architecture 'for this machine' "$(dev_module "$T/arm.so")"
sees AArch64
fault module-is-none "token's own module" "$(dev_module "$HWID_MODULE_DIR/hwid.so")"
sees 'an OpenSSL provider'
LIBC=$(ldd "$HWID_SOFTHSM_MODULE" | awk '/libstdc\+\+/ {print $3}')
fault module-is-none 'own module' "$(dev_module "$LIBC")"
sees C_GetFunctionList
# It wants a library that is not there.
python3 - "$HWID_SOFTHSM_MODULE" "$T/needs.so" << 'END'
import sys
data = open(sys.argv[1], "rb").read()
assert b"\0libcrypto.so.3\0" in data
open(sys.argv[2], "wb").write(data.replace(b"\0libcrypto.so.3\0", b"\0libcrypto.so.7\0"))
END
fault module-unloadable 'ldd' "$(dev_module "$T/needs.so")"
sees libcrypto.so.7
PKCS11_PROVIDER_MODULE=/nowhere/x.so blames module-not-there 'correct the path'
sees PKCS11_PROVIDER_MODULE
cat > "$T/crash.c" << 'END'
#include <signal.h>
#include <unistd.h>
typedef unsigned long CK_RV;
static CK_RV initialize(void *arguments) { raise(SIGSEGV); return 0; }
static struct { unsigned char version[2]; void *calls[68]; } list = {{2, 40}, {(void *)initialize}};
CK_RV C_GetFunctionList(void **out) { *out = &list; return 0; }
END
cc -shared -fPIC -o "$T/crash.so" "$T/crash.c"
fault module-crashes 'own log' "$(dev_module "$T/crash.so")"
sees SIGSEGV

# --- what SoftHSM reads
(
    export SOFTHSM2_CONF=$T/nowhere.conf
    blames softhsm-conf-not-there 'SOFTHSM2_CONF' "${KEY[@]}"
    alone
    sees "$T/nowhere.conf (SOFTHSM2_CONF)"
)
sed "s|^directories.tokendir.*|directories.tokendir = $T/gone|" "$SOFTHSM2_CONF" > "$T/gone.conf"
SOFTHSM2_CONF=$T/gone.conf blames token-directory-not-there "install -d -m 0700 $T/gone" "${KEY[@]}"
alone
edited "$GOOD" "/^\[hwid_dev\]/a environment = SOFTHSM2_CONF=$SOFTHSM2_CONF"
(unset SOFTHSM2_CONF && OPENSSL_CONF=$T/edited.cnf healthy "${KEY[@]}")
mkdir "$T/blank"
sed "s|^directories.tokendir.*|directories.tokendir = $T/blank|" "$SOFTHSM2_CONF" > "$T/blank.conf"
SOFTHSM2_CONF=$T/blank.conf blames token-not-initialized "--label 'dev'" "${KEY[@]}"
alone
sees "$T/blank.conf"
if can_be_nobody; then
    hwid() { as_nobody "$HWID_TOOLS_DIR/hwid" "$@"; }
    cp "$T/softhsm2.conf" "$T/closed.conf"
    chmod 0600 "$T/closed.conf"
    chmod 0755 "$T/tokens"
    SOFTHSM2_CONF=$T/closed.conf blames softhsm-conf-closed 'let that user read it' "${KEY[@]}"
    sees 'mode 0600'
    blames token-directory-closed 'chown -R USER' "${KEY[@]}"
    alone
    chmod 0600 "$T/my-module.so"
    fault module-closed "chmod a+r $T/my-module.so" "$(dev_module "$T/my-module.so")"
    chown -R 65534 "$T/tokens"
    blames pin-file-closed "chown USER $T/pin" "${KEY[@]}"
    alone
    sees 'mode 0600'
    hwid() { "$HWID_TOOLS_DIR/hwid" "$@"; }
    chown -R 0 "$T/tokens"
fi
# A variable that sudo drops: a process of that name has it, and starts one that does not.
cp "$(command -v bash)" "$T/sudo"
sed 's/^pin-source.*//' "$GOOD" > "$T/sudo.cnf"
lost() { # NAME COMMAND...: without that variable below a "sudo" that has it
    local name=$1
    shift
    "$T/sudo" -c "env -u $name \"\$@\"; exit \$?" sudo "$@"
}
hwid() { lost SOFTHSM2_CONF "$HWID_TOOLS_DIR/hwid" "$@"; }
blames module-environment-lost "environment = SOFTHSM2_CONF=$SOFTHSM2_CONF" "${KEY[@]}"
sees 'sudo ('
hwid() { lost OPENSSL_CONF "$HWID_TOOLS_DIR/hwid" "$@"; }
blames environment-lost '--preserve-env=OPENSSL_CONF' "${KEY[@]}"
sees "OPENSSL_CONF=$OPENSSL_CONF"
hwid() { "$HWID_TOOLS_DIR/hwid" "$@"; }

# --- the token
fault token-label-wrong 'write dev where it says deb' 's/^token = dev/token = deb/' \
    's/^device = .*/device = pkcs11:object=device/'
fault token-label-wrong 'write dev where' 's/^token = dev/token = DEV/' \
    's/^device = .*/device = pkcs11:object=device/'
fault token-not-there 'hwid list' 's/^token = dev/token = production/' \
    's/^device = .*/device = pkcs11:object=device/'
sees 'the tokens dev'
fault uri-token-wrong 'token=dev' 's/token=dev;object=device/token=dve;object=device/'
fault uri-token-not-served 'for that token' 's/token=dev;object=device/token=other;object=device/'
fault token-label-wrong 'write dev where it says dve (token=)' '/^token = /d' \
    's/token=dev;object=device/token=dve;object=device/'

# --- where the PIN is
with_pin() { # CONTENT [MODE]: in a file, which the edit names
    printf '%b' "$1" > "$T/other.pin"
    chmod "${2:-0600}" "$T/other.pin"
}
OTHER="s|^pin-source = .*|pin-source = file:$T/other.pin|"
fault pin-missing 'pin-source = file:PATH' '/^pin-source/d'
fault pin-source-not-there 'as the message says' 's|^pin-source = .*|pin-source = file:/nowhere/pin|'
sees 'No such file'
fault pin-source-not-there 'as the message says' 's|^pin-source = .*|pin-source = env:NO_PIN|'
sees 'no variable NO_PIN'
fault pin-source-not-there 'as the message says' "s|^pin-source = .*|pin-source = file:$T/tokens|"
fault pin-source-wrong 'write file:PATH' 's|^pin-source = .*|pin-source = 7315|'
expect_failure env OPENSSL_CONF="$T/edited.cnf" openssl pkey -in hwid://device -pubout
expect_text "$T/out" 'pin-source: unknown kind'
if grep -q 7315 "$T/out"; then fail "the PIN is shown: $(cat "$T/out")"; fi
with_pin ''
fault pin-empty 'first line' "$OTHER"
with_pin '\n7315\n'
fault pin-empty 'first line' "$OTHER"
with_pin "$PIN\\n" 0666
fault pin-file-writable "chmod 0400 $T/other.pin" "$OTHER"
with_pin "$PIN\\n" 0644
fault pin-file-readable "chmod 0400 $T/other.pin" "$OTHER"
[ "$EXIT" = 0 ] || fail "exit $EXIT: $(cat "$T/out")" # it works
OPENSSL_CONF=$T/edited.cnf expect_exit 0 hwid doctor "${KEY[@]}"
[[ $(head -1 "$T/out") = 'nothing is broken'* ]] || fail "$(cat "$T/out")"
expect_text "$T/out" 'risk: Everybody may read'
if [ "$(id -u)" = 0 ]; then
    with_pin "$PIN\\n" 0400
    chown 65534 "$T/other.pin"
    fault pin-file-of-other 'chown USER' "$OTHER"
fi
rm -f "$T/other.pin"
for good in "$PIN" "$PIN\\n" "$PIN\\r\\n" "$PIN\\nmore\\n"; do
    with_pin "$good"
    edited "$GOOD" "$OTHER"
    OPENSSL_CONF=$T/edited.cnf healthy "${KEY[@]}"
done

# --- a PIN that is wrong costs one try
tries() { # of the test's module: how many C_Login there were
    forget_calls
    HWID_TEST_REPORT=$T/counts "$@"
    calls C_Login
}
with_pin '9999\n'
edited "$GOOD" "$OTHER" "$(dev_module "$HWID_TEST_MODULE")"
[ "$(OPENSSL_CONF=$T/edited.cnf tries blames pin-wrong 'correct it there' "${KEY[@]}")" = 1 ] ||
    fail "more than one try"
sees 'CKR_PIN_INCORRECT'
if grep -q 9999 "$T/out"; then fail "the PIN is shown"; fi
alone
OPENSSL_CONF=$T/edited.cnf blames pin-wrong 'correct it there'
with_pin "$PIN \\n"
fault pin-has-more 'with an editor' "$OTHER"
sees 'ends in a blank'
with_pin "$PIN\\r"
fault pin-has-more 'with an editor' "$OTHER"
sees 'carriage return'
with_pin "\\357\\273\\277$PIN\\n"
fault pin-has-more 'with an editor' "$OTHER"
sees 'byte order mark'
with_pin "\"$PIN\"\\n"
fault pin-has-more 'with an editor' "$OTHER"
sees 'in quotes'
healthy "${KEY[@]}" # and the right one sets it back

# --- what the token says of its PIN: nothing is sent where one more try may lock it
edited "$GOOD" "$(dev_module "$HWID_TEST_MODULE")"
cp "$T/edited.cnf" "$T/counted.cnf"
edited "$T/counted.cnf" "$OTHER" '/^\[hwid_dev\]/a allow-final-try = yes'
export HWID_TEST_CONTROL=$T/control
told() { # FLAGS ID FIX: with these flags of the token no PIN is sent
    echo "token-flags $1" > "$T/control"
    [ "$(OPENSSL_CONF=$T/counted.cnf tries blames "$2" "$3" "${KEY[@]}")" = 0 ] || fail "tried: $1"
    alone
}
told +0x40000 pin-locked 'hwid pin unblock'
told +0x20000 pin-last-try 'hwid audit'
[[ $FIX = *"pkcs11-tool --module $HWID_TEST_MODULE --token-label dev --login"* ]] || fail "$FIX"
told +0x80000 pin-to-be-changed 'hwid pin change'
told -0x8 pin-not-set 'hwid pin unblock'
echo 'token-flags +0x10000' > "$T/control"
OPENSSL_CONF=$T/counted.cnf healthy "${KEY[@]}"
# Three tries: two runs send a wrong PIN, the third does not.
with_pin '9999\n'
echo 'pin-tries 3' > "$T/control"
forget_calls
export HWID_TEST_REPORT=$T/counts
for wanted in 1:pin-wrong 2:pin-wrong 2:pin-last-try 2:pin-last-try; do
    OPENSSL_CONF=$T/edited.cnf blames "${wanted#*:}" '' "${KEY[@]}"
    [ "$(calls C_Login)" = "${wanted%%:*}" ] || fail "$wanted: $(calls C_Login) tries"
done
OPENSSL_CONF=$T/counted.cnf expect_exit 1 hwid doctor --json # the right one is not sent, either
[ "$(calls C_Login)" = 2 ] || fail "$(calls C_Login) tries"
unset HWID_TEST_REPORT

# --- modules that fail when they are started, and tokens that go
module_fault() { # DIRECTIVE ID FIX: of the test's module
    echo "$1" > "$T/control"
    OPENSSL_CONF=$T/counted.cnf blames "$2" "$3" "${KEY[@]}"
    alone
}
module_fault 'fail C_Initialize CKR_GENERAL_ERROR' module-does-not-start "own manual"
sees CKR_GENERAL_ERROR
module_fault 'fail C_Initialize CKR_ARGUMENTS_BAD' module-does-not-start 'init-args'
module_fault 'fail C_GetTokenInfo CKR_DEVICE_ERROR' token-unreadable 'connect it again'
module_fault 'remove-token' token-none 'connect the token'
module_fault 'fail C_Login CKR_FUNCTION_FAILED' login-fails 'as the message says'
module_fault 'fail C_Sign CKR_DEVICE_REMOVED' key-does-not-sign 'as the message says'
unset HWID_TEST_CONTROL

# --- the key
key_fault name-unknown 'hwid://device' hwid://devise
sees 'device, web'
key_fault name-unknown 'write `something = URI`' hwid://something
key_fault key-label-wrong 'object=device' 'pkcs11:token=dev;object=devcie'
key_fault key-label-wrong 'object=web' 'pkcs11:token=dev;object=WEB'
key_fault key-not-there "hwid generate 'pkcs11:" 'pkcs11:token=dev;object=something'
sees 'device, web'
key_fault key-id-wrong 'id=%01' 'pkcs11:token=dev;object=device;id=%07'
key_fault uri-type-wrong 'type=private' 'pkcs11:token=dev;object=device;type=public'
key_fault uri-type-wrong 'type=private' 'pkcs11:token=dev;object=device;type=cert'
key_fault key-file-unreadable 'correct the path' "$T/nowhere.ref"
key_fault key-file-is-none 'hwid ref' "$T/good.cnf"
make_ca ca
key_fault key-file-is-none 'hwid ref' "$T/ca.pem"
sees 'a CERTIFICATE'
issue_cert ca lonely client ec:P-256
add_certificate dev lonely 09 "$T/lonely.pem"
key_fault key-only-other-half 'make a new pair' 'pkcs11:token=dev;object=lonely'
sees 'no private key matches'
hwid generate 'pkcs11:token=dev;object=edwards' -t ed25519 > "$T/text" 2>&1 || fail "$(cat "$T/text")"
pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --token-label dev --login --pin "$PIN" --delete-object \
    --type pubkey --label edwards > "$T/text" 2>&1 || fail "$(cat "$T/text")"
key_fault key-without-public-half 'hwid import' 'pkcs11:token=dev;object=edwards'
token_tool generate dev "$PIN" rsa:2048,label=twin,id=11
token_tool generate dev "$PIN" rsa:2048,label=twin,id=12
key_fault key-several 'add id=' 'pkcs11:token=dev;object=twin'
sees '%11'
healthy --key 'pkcs11:token=dev;object=twin;id=%12'
token_tool generate dev "$PIN" ec:P-256,label=open,id=13,extractable
key_fault key-can-leave 'hwid generate' 'pkcs11:token=dev;object=open'
[ "$EXIT" = 0 ] || fail "$(cat "$T/out")"
openssl genpkey -propquery provider=hwid -algorithm RSA -pkeyopt pkcs11_key_usage:dataEncipherment \
    -pkeyopt "hwid_uri:pkcs11:token=dev;object=decrypts" -out "$T/decrypts.ref"
key_fault key-may-not-sign 'hwid generate' 'pkcs11:token=dev;object=decrypts'
sees CKA_SIGN

# --- OpenSSL's own choice
HWID_CONF_PROPERTIES='provider=default' make_conf "$T/properties.cnf" default-first dev \
    "keys.device=$(key_uri dev device)"
OPENSSL_CONF=$T/properties.cnf blames properties-hide-hwid 'question mark' "${KEY[@]}"
HWID_CONF_PROPERTIES='?provider=default' make_conf "$T/properties.cnf" default-first dev \
    "keys.device=$(key_uri dev device)"
OPENSSL_CONF=$T/properties.cnf healthy "${KEY[@]}"

HWID_CONF_PROPERTIES='fips=yes' make_conf "$T/properties.cnf" default-first dev \
    "keys.device=$(key_uri dev device)"
for wish in 'default_properties = fips = yes' 'fips_mode = yes'; do
    sed -i "s/^\[alg_sect\]/&\n$wish/; /^default_properties = fips=yes/d" "$T/properties.cnf"
    OPENSSL_CONF=$T/properties.cnf blames properties-want-fips \
        'write `pkcs11-module-assume-fips = true` into [hwid_sect]' "${KEY[@]}"
    sees 'does not say that the token is a validated module'
    sed -i '/^default_properties/d' "$T/properties.cnf"
done
edited "$T/properties.cnf" 's/^fips_mode = yes/default_properties = ?fips=yes/'
OPENSSL_CONF=$T/edited.cnf healthy "${KEY[@]}"
# It is asked of the algorithms, so not of a line without effect; and no longer blamed where it is there.
edited "$T/properties.cnf" 's/^\[hwid_sect\]/&\npkcs11-module-assume-fips = maybe/'
OPENSSL_CONF=$T/edited.cnf blames properties-want-fips 'pkcs11-module-assume-fips' "${KEY[@]}"
edited "$T/properties.cnf" 's/^\[hwid_sect\]/&\npkcs11-module-assume-fips = true/'
OPENSSL_CONF=$T/edited.cnf doctor 0,1 "${KEY[@]}"
[ "$CAUSE" != properties-want-fips ] || fail "$(cat "$T/out")"

# --- two at once
fault module-not-there '' "$(dev_module /nowhere/x.so)" "$OTHER"
fault token-label-wrong '' 's/^token = dev/token = deb/' "$OTHER" 's/^device = .*/device = pkcs11:object=dvice/'
with_pin '9999\n'
fault pin-wrong '' "$OTHER" 's/object=device/object=dvice/'
with_pin "$PIN\\n" 0644
edited "$GOOD" "$OTHER" 's/object=device/object=dvice/' # what is broken goes before a risk
OPENSSL_CONF=$T/edited.cnf blames key-label-wrong '' "${KEY[@]}"
others pin-file-readable

# --- two tokens, and a section that names none: a PIN goes to the one that is named, else to none
token_tool init dev2 "$SO_PIN" 2468
# It is there, and the section serves another.
fault uri-token-wrong 'write token=dev in' 's/token=dev;object=device/token=dev2;object=device/'
token_tool init production "$SO_PIN" 2468
fault uri-token-not-served 'a section for that token' 's/token=dev;object=device/token=production;object=device/'
edited "$T/counted.cnf" '/^token = /d' 's/token=dev;object=device/object=device/'
cp "$T/edited.cnf" "$T/several.cnf"
export OPENSSL_CONF=$T/several.cnf
[ "$(tries blames pin-for-several 'token=LABEL' "${KEY[@]}")" = 0 ] || fail 'a PIN was sent'
alone
sees 'pkcs11:token=dev2'
[ "$(tries blames pin-for-several 'token=LABEL' --key 'pkcs11:object=device?pin-value=7315')" = 0 ] ||
    fail 'a PIN was sent'
[ "$(tries blames pin-for-the-named 'token = LABEL')" = 0 ] || fail 'a PIN was sent'
alone
healthy --key 'pkcs11:token=dev;object=device'
export OPENSSL_CONF=$GOOD

# --- two tokens of one label
token_tool init dev "$SO_PIN" "$PIN"
blames token-label-twice 'serial number' "${KEY[@]}"
[[ $FIX =~ serial=[0-9a-f]+ ]] || fail "$(cat "$T/out")"
