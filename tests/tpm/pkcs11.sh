#!/bin/bash
# One TPM in two ways: through the PKCS#11 module of tpm2-pkcs11, over fork too, and natively, with
# the same pkcs11: URI; only the backend's section differs.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need pkcs11-tool
PYTHON=/usr/bin/python3
if ! $PYTHON -c 'import ssl; assert ssl.OPENSSL_VERSION_INFO >= (3,)' 2> /dev/null; then
    skip "$PYTHON has no ssl module with OpenSSL 3"
fi
MODULE=${HWID_TPM2_PKCS11_MODULE:-$(find /usr/lib* -name libtpm2_pkcs11.so -print -quit)}
if [ -z "$MODULE" ]; then skip "libtpm2_pkcs11.so (libtpm2-pkcs11-1) is not installed"; fi
start_tpm
make_parent 0x81000001
echo "$PIN" > "$T/pin"
chmod 600 "$T/pin"
cd "$T"
mkdir store
settings=("TPM2_PKCS11_STORE=$T/store" "TPM2_PKCS11_TCTI=$TPM_TCTI" TPM2_PKCS11_LOG_LEVEL=0)
token_tool() {
    env -u LD_PRELOAD "${settings[@]}" TSS2_LOG=all+NONE pkcs11-tool --module "$MODULE" "$@" \
        > tool.out 2>&1 || fail "pkcs11-tool $*: $(cat tool.out)"
}
token_tool --slot-index 0 --init-token --label tpm-token --so-pin "$SO_PIN"
token_tool --token-label tpm-token --login --login-type so --so-pin "$SO_PIN" --init-pin \
    --pin "$PIN"
for key in 'ec EC:prime256v1 01' 'rsa rsa:2048 02'; do
    read -r label type id <<< "$key"
    token_tool --token-label tpm-token --login --pin "$PIN" --keypairgen --key-type "$type" \
        --label "$label" --id "$id"
done
make_tpm_key 0x81000002 rsa:2048 "$PIN"
make_tpm_key 0x81000003 ec:P-256 "$PIN"
TPM_OBJECTS=(rsa=0x81000002 ec=0x81000003)

keys=("keys.rsa=$(key_uri tpm-token rsa)" "keys.ec=$(key_uri tpm-token ec)")
HWID_CONF_MODULE=$MODULE make_conf pkcs11.cnf default-first tpm-token "${keys[@]}" \
    "dev.environment = ${settings[*]}"
HWID_WORLD=tpm make_conf tpm2.cnf default-first tpm-token "${keys[@]}"

# Wrong auth values count towards lockout, after which the third stops everything.
lockout_counter() {
    tpm_tool tpm2_getcap properties-variable
    awk '/TPM2_PT_LOCKOUT_COUNTER/ {print $2}' tpm.out
}
make_ca ca
issue_cert ca server server ec:P-256
port=$(free_port)
start_daemon server.log "port_answers $port" env OPENSSL_CONF=plain.cnf openssl s_server \
    -accept "127.0.0.1:$port" -www -cert server.pem -key server.key -CAfile ca.pem -Verify 1 \
    -verify_return_error
echo text > message
for way in pkcs11 tpm2; do
    export OPENSSL_CONF=$T/$way.cnf
    for key in rsa ec; do
        openssl req -new -key hwid:$key -subj /CN=device-$key -out $key.csr
        issue_cert ca $key both $key.csr
        for uri in "hwid:$key" "$(key_uri tpm-token $key)"; do
            openssl dgst -sha256 -sign "$uri" -out signature message
            plain_openssl x509 -in $key.pem -noout -pubkey > $key.pub
            plain_openssl dgst -sha256 -verify $key.pub -signature signature message > /dev/null
        done
        openssl pkey -in hwid:$key -out $key.ref
        cp $key.pem $way-$key.pem
    done
done
# Over a fork, where the module's own session survives nothing: parent and child roll its nonces.
for way in pkcs11 tpm2; do
    for key in rsa ec; do
        cp $way-$key.pem $key.pem
        OPENSSL_CONF=$T/$way.cnf $PYTHON "$HWID_TESTS_DIR/tpm/fork.py" "$port" $key
    done
done
[ "$(lockout_counter)" = 0x0 ] || fail "wrong auth values: $(lockout_counter)"
