#!/bin/bash
# hwid doctor: what other modules than SoftHSM want - tpm2-pkcs11's store, NSS's arguments - and keys
# that are of no use, one fault at a time.
# shellcheck disable=SC2016,SC2317  # messages have backticks and dollars
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
PIN=7315
export HOME=$T/home TSS2_LOG=all+NONE
mkdir "$HOME"

make_token dev rsa:2048,label=device
GOOD=$T/good.cnf
make_conf "$GOOD" default-first dev "keys.device=$(key_uri dev device)"
fault() { # ID FIX EDIT...: of the good file
    local id=$1 fix=$2
    shift 2
    edited "$GOOD" "$@"
    OPENSSL_CONF=$T/edited.cnf blames "$id" "$fix"
    alone
}
key_fault() { # ID FIX URI
    OPENSSL_CONF=$GOOD blames "$1" "$2" --key "$3"
    alone
}

# --- keys of a kind that hwid does not use
plain_openssl genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out "$T/dsa.params" 2> "$T/text"
plain_openssl genpkey -paramfile "$T/dsa.params" -out "$T/dsa.key"
softhsm2-util --module "$HWID_SOFTHSM_MODULE" --import "$T/dsa.key" --token dev --pin "$PIN" --label dsa \
    --id 0d > "$T/text" 2>&1 || fail "$(cat "$T/text")"
key_fault key-of-other-kind 'RSA, EC or an Edwards curve' 'pkcs11:token=dev;object=dsa'
OPENSSL_CONF=$GOOD healthy --key hwid://device

# --- a token that logs in, and then shows nothing
edited "$GOOD" "/^\[hwid_dev\]/,\$s|^module = .*|module = $HWID_TEST_MODULE|"
export HWID_TEST_CONTROL=$T/control
for call in C_FindObjectsInit C_FindObjects C_GetAttributeValue; do
    echo "fail $call CKR_FUNCTION_FAILED" > "$T/control"
    OPENSSL_CONF=$T/edited.cnf blames key-fails 'as the message says' --key hwid://device
    alone
    sees "$call"
done
OPENSSL_CONF=$T/edited.cnf blames token-unreadable 'connect it again'
echo 'fail C_OpenSession CKR_SESSION_COUNT' > "$T/control"
OPENSSL_CONF=$T/edited.cnf blames login-fails 'as the message says' --key hwid://device
alone
# One that fails when a program opens the key by OpenSSL: the doctor has looked at it twice by then.
echo 'fail C_FindObjectsInit CKR_FUNCTION_FAILED nth=3' > "$T/control"
OPENSSL_CONF=$T/edited.cnf blames openssl-cannot-open 'as the message says' --key hwid://device
alone
sees CKR_FUNCTION_FAILED
unset HWID_TEST_CONTROL

# --- tpm2-pkcs11
MODULE=${HWID_TPM2_PKCS11_MODULE:-$(find /usr/lib* -name libtpm2_pkcs11.so -print -quit)}
if [ -z "$MODULE" ] || without_tpm; then
    echo 'skipped: libtpm2_pkcs11.so (libtpm2-pkcs11-1) is not installed'
else
    start_tpm
    make_parent 0x81000001
    mkdir "$T/store"
    (umask 077 && printf '%s\n' "$SO_PIN" > "$T/so-pin")
    through_tpm2_pkcs11() { # FILE STORE
        HWID_CONF_MODULE=$MODULE make_conf "$1" default-first chip \
            "dev.environment = TPM2_PKCS11_STORE=$2 TPM2_PKCS11_TCTI=$TPM_TCTI TPM2_PKCS11_LOG_LEVEL=0" \
            'keys.device=pkcs11:token=chip;object=device'
        chmod 0644 "$1"
    }
    through_tpm2_pkcs11 "$T/chip.cnf" "$T/store"
    export OPENSSL_CONF=$T/chip.cnf
    blames token-not-initialized "--label 'chip'"
    expect_exit 0 hwid init token pkcs11: --label chip --so-pin-source "file:$T/so-pin" \
        --pin-source "file:$T/pin"
    expect_exit 0 hwid generate hwid://device
    healthy --key hwid://device
    through_tpm2_pkcs11 "$T/nowhere.cnf" "$T/nowhere/store"
    OPENSSL_CONF=$T/nowhere.cnf blames tpm2-store-not-there "tpm2_ptool init --path $T/nowhere/store" \
        --key hwid://device
    alone
    sees "$T/nowhere/store (TPM2_PKCS11_STORE): No such file"
    if can_be_nobody; then
        chmod 0700 "$T/store"
        chmod 0644 "$T/pin"
        hwid() { as_nobody "$HWID_TOOLS_DIR/hwid" "$@"; }
        blames tpm2-store-closed "chown -R USER $T/store" --key hwid://device
        alone
        sees 'mode 0700'
        hwid() { "$HWID_TOOLS_DIR/hwid" "$@"; }
        chmod 0600 "$T/pin"
    fi
    unset OPENSSL_CONF
fi

# --- NSS
SOFTOKN=$(find /usr/lib* -name libsoftokn3.so -print -quit)
if [ -z "$SOFTOKN" ] || ! command -v certutil > /dev/null; then
    echo 'skipped: NSS (libnss3, libnss3-tools) is not installed'
else
    mkdir "$T/db"
    env -u LD_PRELOAD certutil -N -d "sql:$T/db" -f "$T/pin"
    through_nss() { # FILE LINE...
        HWID_CONF_MODULE=$SOFTOKN make_conf "$1" default-first 'NSS Certificate DB' \
            'keys.device=pkcs11:token=NSS%20Certificate%20DB;object=device' "${@:2}"
    }
    DB="certPrefix='' keyPrefix='' secmod='secmod.db'"
    through_nss "$T/nss.cnf" "dev.init-args = configdir='sql:$T/db' $DB"
    export OPENSSL_CONF=$T/nss.cnf
    expect_exit 0 hwid generate hwid://device
    expect_exit 0 hwid doctor --key hwid://device
    through_nss "$T/bare.cnf"
    OPENSSL_CONF=$T/bare.cnf blames nss-arguments 'init-args = configDir=DIR' --key hwid://device
    alone
    through_nss "$T/gone.cnf" "dev.init-args = configdir='sql:/nowhere/db' $DB"
    OPENSSL_CONF=$T/gone.cnf blames nss-arguments 'it must be there' --key hwid://device
    alone
fi
