#!/bin/bash
# What a person reads from stock openssl when something is wrong: the cause, the code that the
# token gave, and what to do next; a text of its own for each cause, and no PIN in any.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"

# shellcheck disable=SC2034  # lib.sh's
PIN=71355317 # to be looked for in what is printed
make_token line 'rsa:2048,label=rsa,id=01' 'ec:P-256,label=ec,id=02' \
    'ec:P-256,label=twin,id=03' 'ec:P-256,label=twin,id=04'
make_token other 'ec:P-256,label=elsewhere,id=05'
echo message > "$T/message"
mkdir "$T/cases"
HWID_CONF_MODULE=$HWID_TEST_MODULE
export HWID_TEST_CONTROL=$T/control HWID_TEST_REPORT=$T/counts

conf() { # [LINE...]: the configuration that follows
    make_conf "$T/openssl.cnf" default-first line "keys.rsa=$(key_uri line rsa)" "$@"
    export OPENSSL_CONF=$T/openssl.cnf
}
plan() { # [DIRECTIVE...]: what the test module does from now on, and counts from zero
    rm -f "$T/counts"
    printf '%s\n' "$@" > "$T/control"
}
attempt() { openssl dgst -sha256 -sign "$1" -out "$T/signature" "$T/message"; }

refused() { # CASE URI TEXT...: signing fails, and these texts are in what openssl prints; the
    # first is the cause, found in this case's output alone
    local case=$1 uri=$2 text
    shift 2
    expect_failure attempt "$uri"
    for text in "$@"; do expect_text "$T/out" "$text"; done
    record "$case" "$1"
}
record() { # CASE CAUSE: what is in $T/out
    [ ! -e "$T/cases/$1.out" ] || fail "two cases are called $1"
    cp "$T/out" "$T/cases/$1.out"
    printf '%s' "$2" > "$T/cases/$1.cause"
}
expect_calls() { # NAME NUMBER
    [ "$(calls "$1")" = "$2" ] || fail "$(calls "$1") calls of $1, not $2"
}

# --- all is well

plan
conf
attempt hwid:rsa

# --- the module

HWID_CONF_MODULE=$T/missing.so conf
refused module-missing hwid:rsa 'No such file or directory; correct the path' "module=$T/missing.so"
cp "$T/message" "$T/text.so"
HWID_CONF_MODULE=$T/text.so conf
refused module-is-text hwid:rsa 'file too short; install what it needs' "module=$T/text.so"
HWID_CONF_MODULE=$(ldd "$(command -v openssl)" | awk '/libcrypto/ {print $3}') conf
refused module-of-another-kind hwid:rsa \
    'is not a PKCS#11 module (it has no C_GetFunctionList); name the module of your token'
conf
plan 'fail C_Initialize CKR_GENERAL_ERROR'
refused module-does-not-initialize hwid:rsa \
    "see the module's own log; check its configuration" 'C_Initialize: CKR_GENERAL_ERROR (0x5)' \
    "module=$HWID_TEST_MODULE"
plan

# --- the token

refused no-token 'pkcs11:token=absent;object=rsa;type=private' 'serves token line only' \
    'no token matches'
conf dev.token=
refused no-such-token 'pkcs11:token=absent;object=rsa;type=private' \
    'no token matches; there are: ' line other 'correct token= in the URI'
mkdir "$T/empty"
sed "s|$T/tokens|$T/empty|" "$T/softhsm2.conf" > "$T/empty.conf"
SOFTHSM2_CONF=$T/empty.conf refused token-not-initialized 'pkcs11:object=rsa;type=private' \
    'no token is initialized' "initialize one with \`hwid init token"
plan 'remove-token'
refused no-token-in-any-slot 'pkcs11:object=rsa;type=private' \
    'plug it in, or check the module' 'no token'
plan
conf

# --- the object

refused no-object 'pkcs11:token=line;object=absent;type=private' \
    'no private key matches on token=line; there are: ' rsa ec twin 'correct object= or id='
expect_failure openssl x509 -in 'pkcs11:token=line;object=absent;type=cert' -noout
expect_text "$T/out" 'no certificate matches on token=line; the token shows no certificate at all'
record no-certificate 'no certificate matches'
refused several-objects 'pkcs11:token=line;object=twin;type=private' \
    '2 keys match: ' 'object=twin id=%03' 'object=twin id=%04' '; add id=... to the URI' token=line
refused name-unknown hwid:absent "the name is not configured; add \`absent = pkcs11:"

# --- the PIN

conf dev.pin-source=
plan
refused pin-missing hwid:rsa 'a PIN is needed' 'give ?pin-source=file:PATH in the URI' token=line
expect_calls C_Login 0
conf "dev.pin-source=file:$T/no-pin"
refused pin-file-missing hwid:rsa "open $T/no-pin: No such file or directory; make the file"
expect_calls C_Login 0
conf 'dev.pin-source=env:HWID_TEST_NO_SUCH_VARIABLE'
refused pin-variable-missing hwid:rsa 'the environment has no variable HWID_TEST_NO_SUCH_VARIABLE'
(umask 077 && echo 71355318 > "$T/wrong-pin")
conf "dev.pin-source=file:$T/wrong-pin"
plan
refused pin-wrong hwid:rsa 'the PIN is wrong; correct it' \
    'C_Login: CKR_PIN_INCORRECT (0xa0) token=line'
expect_calls C_Login 1
conf
plan
attempt hwid:rsa # the token counts from zero again
plan 'fail C_Login 0xa2'
refused pin-length hwid:rsa 'the PIN is too long or too short' 'CKR_PIN_LEN_RANGE (0xa2)'
plan 'token-flags +0x40000'
refused pin-locked hwid:rsa 'the PIN is locked; unlock it with the SO PIN' CKF_USER_PIN_LOCKED \
    token=line
expect_calls C_Login 0
plan 'fail C_Login CKR_PIN_LOCKED'
refused pin-locked-answer hwid:rsa 'C_Login: CKR_PIN_LOCKED (0xa4)' \
    'the PIN is locked; unlock it with the SO PIN: hwid pin unblock'
plan 'token-flags +0x20000'
refused pin-final-try hwid:rsa 'one more wrong PIN locks the token, so none is sent' \
    'allow-final-try = yes' token=line
expect_calls C_Login 0
conf 'dev.allow-final-try=yes'
attempt hwid:rsa
expect_calls C_Login 1
conf
plan 'fail C_Login CKR_PIN_EXPIRED'
refused pin-expired hwid:rsa 'the PIN has expired; set a new one: hwid pin change' \
    'C_Login: CKR_PIN_EXPIRED (0xa3)' token=line
plan 'token-flags +0x80000'
refused pin-to-be-changed hwid:rsa 'the token wants a new PIN first' CKF_USER_PIN_TO_BE_CHANGED
expect_calls C_Login 0
plan

# --- the key and the token's abilities

plan 'fail C_SignInit CKR_KEY_FUNCTION_NOT_PERMITTED'
refused may-not-sign hwid:rsa 'the key may not sign; use a signing key' \
    'C_SignInit: CKR_KEY_FUNCTION_NOT_PERMITTED (0x68)' 'token=line object=rsa'
plan 'hide-mechanism 0x1' 'hide-mechanism 0x3' 'hide-mechanism 0x40'
refused mechanism-missing hwid:rsa \
    'RSA PKCS#1 v1.5 SHA2-256 needs CKM_RSA_PKCS; the token offers CKM_MD5_RSA_PKCS' \
    'CKR_MECHANISM_INVALID (0x70)' 'token=line object=rsa'
plan 'max-sessions 0'
refused session-limit hwid:rsa 'the token has no session free; close other programs that use it' \
    'C_OpenSession: CKR_SESSION_COUNT (0xb1)' token=line
plan 'fail C_Sign CKR_DEVICE_REMOVED' 'fail C_SignInit CKR_DEVICE_REMOVED'
refused token-removed hwid:rsa 'the token was removed; put it back' 'CKR_DEVICE_REMOVED (0x32)' \
    'token=line object=rsa'
plan 'fail C_Sign CKR_DEVICE_ERROR' 'fail C_SignInit CKR_DEVICE_ERROR'
refused token-failed hwid:rsa "the token failed; see the module's own log" \
    'CKR_DEVICE_ERROR (0x30)' 'token=line object=rsa'
plan 'fail C_Sign 0x80000123' 'fail C_SignInit 0x80000123'
refused vendor-code hwid:rsa 'CKR_VENDOR_DEFINED+0x123' 'token=line object=rsa'
plan

# --- URIs and configuration

refused uri-attribute 'pkcs11:token=line;objekt=rsa' objekt 'at position 19'
refused uri-escape 'pkcs11:token=line;object=%4' "'%' without two hexadecimal digits" \
    'at position 26'
refused uri-twice 'pkcs11:token=line;token=other' 'is given twice' 'at position '
conf 'dev.max-sessions=many'
refused configuration-number hwid:rsa 'dev.max-sessions = many: write a number from 1 to' \
    openssl.cnf
conf 'dev.cache-pin=perhaps'
refused configuration-flag hwid:rsa 'dev.cache-pin = perhaps: write yes or no'
conf 'dev.type=pkcs12'
refused configuration-type hwid:rsa 'dev.type = pkcs12: unknown backend type'
conf 'backends = nowhere'
refused configuration-backend hwid:rsa 'backends = nowhere: the backend has no section'

# --- no base provider: not one try of the PIN

printf 'openssl_conf = init\n[init]\n' > "$T/nothing.cnf"
plan
OPENSSL_CONF=$T/nothing.cnf PKCS11_PROVIDER_MODULE=$HWID_TEST_MODULE expect_failure \
    openssl pkey -provider-path "$HWID_MODULE_DIR" -provider hwid -pubout \
    -in "pkcs11:token=line;object=rsa;type=private?pin-source=file:$T/pin"
expect_text "$T/out" 'no base provider is active'
expect_text "$T/out" '-provider default'
record no-base-provider 'no base provider is active'
expect_calls C_Login 0
make_conf "$T/openssl.cnf" hwid-only line "keys.rsa=$(key_uri line rsa)"
expect_failure openssl pkey -in hwid:rsa -pubout
expect_text "$T/out" 'no base provider is active'
expect_text "$T/out" "the default provider with \`activate = 1\` to openssl.cnf"
record no-base-provider-configured 'no base provider is active'
expect_calls C_Login 0

# --- each cause has its own text, and no text holds a PIN

for file in "$T"/cases/*.out; do
    case=$(basename "$file" .out)
    for pin in 71355317 71355318; do
        if grep -qF $pin "$file"; then fail "$case shows a PIN: $(cat "$file")"; fi
    done
    # What the token's module leaves on OpenSSL's queue is no error of the program's.
    if grep -Eq 'DSO support|engine routines' "$file"; then fail "$case: noise: $(cat "$file")"; fi
    same=$(grep -lF -- "$(cat "$T/cases/$case.cause")" "$T"/cases/*.out | grep -cv "/$case.out" ||
        true)
    case $case in
        # One cause, seen in two ways.
        pin-locked* | no-base-provider* | no-token | no-such-token) ;;
        *) [ "$same" = 0 ] || fail "$case says what others say: $(cat "$T/cases/$case.cause")" ;;
    esac
done
echo "$(find "$T/cases" -name '*.out' | wc -l) causes"

# --- what is logged, in pkcs11-provider's words

conf
wrong='pkcs11:token=line;object=rsa;type=private?pin-source=|command'
PKCS11_PROVIDER_DEBUG=file:$T/debug,level:1 openssl pkey -in "$wrong" -noout 2> /dev/null || true
expect_text "$T/debug" 'commands are not run'
for debug in level:2,file:/dev/stderr file:/dev/stderr,level:2 level:2; do
    PKCS11_PROVIDER_DEBUG=$debug openssl pkey -in "$wrong" -noout 2> "$T/out" || true
    expect_text "$T/out" '] debug: backend dev: '
done
PKCS11_PROVIDER_DEBUG=level:0,file:/dev/stderr openssl pkey -in "$wrong" -noout 2> "$T/out" || true
if grep -q '] debug: ' "$T/out"; then fail 'level 0 is not all'; fi
HWID_LOG=off PKCS11_PROVIDER_DEBUG=file:$T/none openssl pkey -in "$wrong" -noout 2> /dev/null || true
if [ -e "$T/none" ]; then fail 'HWID_LOG comes first'; fi
# A wrong value stops nothing, and the warning says where it stands.
for variable in HWID_LOG PKCS11_PROVIDER_DEBUG; do
    env $variable=loud openssl version > /dev/null 2> "$T/out"
    expect_text "$T/out" "$variable: log = "
done
