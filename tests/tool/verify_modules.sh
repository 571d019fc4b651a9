#!/bin/bash
# hwid verify on other modules than SoftHSM: a TPM behind tpm2-pkcs11, NSS, p11-kit's remote.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/verify.bash
. "$HWID_TESTS_DIR/tool/verify.bash"
need pkg-config
module_named() { # FILE
    local lib candidate
    lib=$(pkg-config --variable=libdir p11-kit-1)
    for candidate in "$lib/$1" "$lib/pkcs11/$1" "$lib/nss/$1"; do
        if [ -e "$candidate" ]; then
            printf '%s' "$candidate"
            return
        fi
    done
    return 1
}
conf() { # MODULE TOKEN [LINE...]
    HWID_CONF_MODULE=$1 make_conf "$T/openssl.cnf" default-first "${@:2}"
    export OPENSSL_CONF=$T/openssl.cnf
}
stays() { # URI TYPE...: a new key of that type does
    local type uri=$1
    shift
    for type in "$@"; do
        expect_exit 0 hwid generate "$uri;object=${type/:/-}" --type "$type"
        verdict software-token 0 "$uri;object=${type/:/-}"
        is 'sorted({c["finding"] for c in d["checks"] if c["group"] == "attempts"} - {"warning"})' \
            "['good']"
        is '[c["finding"] for c in d["checks"] if c["group"] == "certificate"]' "['good']"
    done
}

make_token line

if proxy=$(module_named p11-kit-client.so) && command -v p11-kit > /dev/null; then
    start_daemon "$T/server.log" "test -S $T/socket" env -u LD_PRELOAD \
        p11-kit server -f -n "$T/socket" --provider "$HWID_SOFTHSM_MODULE" pkcs11:
    export P11_KIT_SERVER_ADDRESS=unix:path=$T/socket
    conf "$proxy" line
    stays pkcs11:token=line rsa:2048 ec:P-256
    is 'd["device"]["manufacturer"]' 'SoftHSM project'
else
    echo 'skipped: p11-kit is not installed'
fi

if softokn=$(module_named libsoftokn3.so) && command -v certutil > /dev/null; then
    mkdir "$T/db"
    env -u LD_PRELOAD certutil -N -d "sql:$T/db" -f "$T/pin"
    conf "$softokn" 'NSS Certificate DB' \
        "dev.init-args = configdir='sql:$T/db' certPrefix='' keyPrefix='' secmod='secmod.db'"
    # NSS 3.87 wraps also what is not extractable: then that is what must be said. What it puts into
    # the buffer of a refusal is no private value.
    for type in rsa:2048 ec:P-256; do
        uri="pkcs11:token=NSS%20Certificate%20DB;object=${type/:/-}"
        expect_exit 0 hwid generate "$uri" --type $type
        hwid verify "$uri" --json > "$T/out" || true
        is '"NSS" in d["device"]["software"]' True
        is '{c["finding"] for c in d["checks"] if c["asked"].startswith("C_GetAttr")}' "{'good'}"
        wrapped=$(json 'any(c["asked"].startswith("C_") and c["answer"] == "CKR_OK"
            for c in d["checks"] if c["group"] == "attempts")')
        is 'd["verdict"] == "can-leave"' "$wrapped"
        is 'any("does not hold" in r for r in d["reasons"])' "$wrapped"
    done
else
    echo 'skipped: NSS is not installed'
fi

tpm2_pkcs11=${HWID_TPM2_PKCS11_MODULE:-$(find /usr/lib* -name libtpm2_pkcs11.so -print -quit)}
if [ -z "$tpm2_pkcs11" ] || without_tpm; then
    echo 'skipped: libtpm2_pkcs11.so (libtpm2-pkcs11-1) is not installed'
    exit 0
fi
start_tpm
make_parent 0x81000001
mkdir "$T/store"
(umask 077 && printf '%s\n' "$SO_PIN" > "$T/so-pin")
conf "$tpm2_pkcs11" chip \
    "dev.environment = TPM2_PKCS11_STORE=$T/store TPM2_PKCS11_TCTI=$TPM_TCTI TPM2_PKCS11_LOG_LEVEL=0"
export TSS2_LOG=all+NONE
expect_exit 0 hwid init token pkcs11: --label chip --so-pin-source "file:$T/so-pin" \
    --pin-source "file:$T/pin"
stays pkcs11:token=chip ec:P-256 rsa:2048
# It notes down whatever it is told, the TPM keeps the key all the same, and it is told otherwise again.
verdict software-token 0 'pkcs11:token=chip;object=rsa-2048'
found CKA_EXTRACTABLE false good
found CKA_SENSITIVE true good
# What the TPM says of itself comes through.
is 'd["device"]["manufacturer"], "SW TPM" in d["device"]["software"]' "('IBM', True)"
