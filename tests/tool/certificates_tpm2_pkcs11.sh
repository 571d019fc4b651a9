#!/bin/bash
# Requests, a CA, import and export with keys that tpm2-pkcs11 keeps in a TPM.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
need pkcs11-tool
MODULE=${HWID_TPM2_PKCS11_MODULE:-$(find /usr/lib* -name libtpm2_pkcs11.so -print -quit)}
if [ -z "$MODULE" ]; then skip "libtpm2_pkcs11.so (libtpm2-pkcs11-1) is not installed"; fi
start_tpm
make_parent 0x81000001
(umask 077 && echo "$PIN" > "$T/pin")
mkdir "$T/store"
settings=("TPM2_PKCS11_STORE=$T/store" "TPM2_PKCS11_TCTI=$TPM_TCTI" TPM2_PKCS11_LOG_LEVEL=0)
p11_tool() {
    env -u LD_PRELOAD "${settings[@]}" TSS2_LOG=all+NONE pkcs11-tool --module "$MODULE" "$@" \
        > "$T/tool.out" 2>&1 || fail "pkcs11-tool $*: $(cat "$T/tool.out")"
}
p11_tool --slot-index 0 --init-token --label chip --so-pin "$SO_PIN"
p11_tool --token-label chip --login --login-type so --so-pin "$SO_PIN" --init-pin --pin "$PIN"
for key in 'ec EC:prime256v1 01' 'ca rsa:2048 02'; do
    read -r label type id <<< "$key"
    p11_tool --token-label chip --login --pin "$PIN" --keypairgen --key-type "$type" \
        --label "$label" --id "$id"
done
HWID_CONF_MODULE=$MODULE make_conf "$T/openssl.cnf" default-first chip \
    "keys.ec=$(key_uri chip ec)" "keys.ca=$(key_uri chip ca)" "dev.environment = ${settings[*]}"
export OPENSSL_CONF=$T/openssl.cnf

hwid ca init --dir "$T/ca" --subject CN=CA --key hwid:ca > "$T/out"
hwid csr hwid:ec --subject CN=device --out "$T/ec.csr" > "$T/out"
hwid ca sign --dir "$T/ca" "$T/ec.csr" --profile client --out "$T/ec.pem" > "$T/out"
plain_openssl verify -x509_strict -CAfile "$T/ca/ca.pem" "$T/ec.pem" > /dev/null
hwid import hwid:ec "$T/ec.pem" > "$T/out"
expect_text "$T/out" 'Certificate: stored'
hwid export hwid:ec | cmp - "$T/ec.pem"
hwid ca sign --dir "$T/ca" "$T/ec.csr" --profile client --out "$T/new.pem" > "$T/out"
refused 1 '--force' hwid import hwid:ec "$T/new.pem"
hwid import hwid:ec "$T/new.pem" --force > "$T/out"
hwid export hwid:ec | cmp - "$T/new.pem"
hwid ref hwid:ec --bundle "$T/new.pem" --out "$T/bundle.pem" > "$T/out"
echo message > "$T/message"
openssl dgst -sha256 -sign "$T/bundle.pem" -out "$T/signature" "$T/message"
hwid export --public hwid:ec > "$T/ec.pub"
plain_openssl dgst -sha256 -verify "$T/ec.pub" -signature "$T/signature" "$T/message" > /dev/null
