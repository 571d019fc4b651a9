#!/bin/bash
# conf/openssl.cnf as users take it: only the paths and the ways to the tokens are the test's own.
# One line moves a key from SoftHSM to a TPM.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need swtpm
EXAMPLE=$HWID_TESTS_DIR/../conf/openssl.cnf
export OPENSSL_CONF=$T/openssl.cnf

make_token softhsm2-token rsa:2048,label=mqtt-mtls-key-rsa
PORT=$(free_port)
while port_answers $((PORT + 1)); do PORT=$(free_port); done # for swtpm's control

# The example for this machine. Each EDIT is a sed command.
write_example() { # [EDIT...]
    local edits=() edit
    for edit in "$@"; do edits+=(-e "$edit"); done
    sed -e "s,/usr/lib/softhsm/libsofthsm2.so,$HWID_SOFTHSM_MODULE," \
        -e "s,/etc/hwid/dev.pin,$T/pin," \
        -e "s,# module = hwid.so ,module = $HWID_MODULE_DIR/hwid.so ," \
        -e "s,^# \(tcti = \)device:/dev/tpmrm0,\1swtpm:port=$PORT," \
        -e "s,/etc/hwid/device.tss2.pem,$T/device.tss2.pem," "${edits[@]}" \
        "$EXAMPLE" > "$OPENSSL_CONF"
}
sign() { # what is left in $T/public.pem is the device's key
    openssl pkey -in hwid://device -pubout -out "$T/public.pem"
    openssl dgst -sha256 -sign hwid://device -out "$T/signature" "$EXAMPLE"
    plain_openssl dgst -sha256 -verify "$T/public.pem" -signature "$T/signature" "$EXAMPLE"
}
use_device() { # TEXT: the commented line that has it becomes the one that counts
    write_example '/^device = /d' "s|^# \(device = .*$1.*\)|\1|"
    grep -q '^device = ' "$OPENSSL_CONF" || fail "the example has no device with $1"
}

# The TPM's backend is there from the start, and its TPM is not.
write_example
sign
expect_text "$OPENSSL_CONF" 'backends = dev tpm'
openssl storeutl -noout pkcs11:token=softhsm2-token > "$T/out"
expect_text "$T/out" 'Total found: 2'

# What is commented out is shown with its default, and is taken.
write_example '/no default/!s/^# \([a-z0-9_-]* = \)/\1/' '/^device = tpm2:/d' \
    '/^device = .*token=tpm-token/d' '/^\(ssl_conf\|random\) /d'
grep -q '^verify-signatures = first' "$OPENSSL_CONF" || fail "a commented line is left"
sign

# The TPM, with a key at the handle, and one in a file.
mkdir "$T/tpm"
LD_PRELOAD='' start_daemon "$T/swtpm.log" "port_answers $((PORT + 1))" swtpm socket --tpm2 \
    --tpmstate "dir=$T/tpm" --server "type=tcp,bindaddr=127.0.0.1,port=$PORT" \
    --ctrl "type=tcp,bindaddr=127.0.0.1,port=$((PORT + 1))" --flags not-need-init,startup-clear
write_example
openssl genpkey -propquery provider=hwid -algorithm EC -pkeyopt group:P-256 \
    -pkeyopt hwid_uri:tpm2:handle=0x81000002 -out "$T/reference.pem"
openssl genpkey -propquery provider=hwid -algorithm EC -pkeyopt group:P-256 \
    -pkeyopt parent:0x40000001 -out "$T/device.tss2.pem"
expect_text "$T/device.tss2.pem" 'TSS2 PRIVATE KEY'

for device in tpm2:handle= tpm2:file= token=tpm-token; do
    use_device "$device"
    sign
    mv "$T/public.pem" "$T/public.$device.pem"
done
cmp "$T/public.tpm2:handle=.pem" "$T/public.token=tpm-token.pem"
if cmp -s "$T/public.tpm2:handle=.pem" "$T/public.tpm2:file=.pem"; then
    fail "two keys have one public half"
fi
