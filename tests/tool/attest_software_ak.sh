#!/bin/bash
# A "software AK": an attacker has the private key in a file, the public area of an AK around it, and a
# genuine TPM with the genuine certificate of its EK. Neither can the TPM be brought to answer for it, nor
# does the verifier believe it.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/attest.bash
. "$HWID_TESTS_DIR/tool/attest.bash"
HWID_WORLD=tpm
make_maker maker
manufacture maker
start_tpm
make_parent 0x81000001
TPM_OBJECTS=()
make_conf openssl.cnf default-first chip
sed -i '/^pin-source = /d' openssl.cnf
export OPENSSL_CONF=$T/openssl.cnf
AK_ATTRIBUTES='fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign'

tpm_refuses() { # TEXT COMMAND...: of tpm2-tools
    local text=$1
    shift
    expect_failure "$@"
    expect_text out "$text"
    tpm_tool true # frees the slots
}
challenge() { # REQUEST: challenge.bin, as tpm2_makecredential writes it, and state.json
    rm -f state.json
    hwid attest challenge "$1" --ek-ca maker.certs --state state.json --tools --out challenge.bin \
        --force > text
}
activate() { tpm_tool tpm2_activatecredential -c "$1" -C 0x81010016 -i challenge.bin -o secret.bin; }

handle=0x81010002
for kind in ecc rsa; do
    type=ec:P-256
    if [ $kind = rsa ]; then type=rsa:2048; fi
    hwid attest request --ak tpm2:handle=$handle --type $type --ek ecc --out request.json --force > text
    software_key soft.pem $type
    plain_openssl pkey -in soft.pem -pubout -outform DER -out soft.der
    if [ $kind = rsa ]; then
        plain_openssl rsa -in soft.pem -noout -modulus > text
        sed 's/^Modulus=/0100/' text > unique # sizes and values, as the public area ends with them
    else
        python3 -c 'p = open("soft.der", "rb").read()[-64:].hex(); print("0020" + p[:64] + "0020" + p[64:])' \
            > unique
    fi
    change request.json forged.json '
public = base64.b64decode(d["ak"]["public"])
unique = bytes.fromhex(open("unique").read())
public = public[:-len(unique)] + unique
open("forged.pub", "wb").write(public)
d["ak"]["public"] = base64.b64encode(public).decode()'

    # What follows is refused for the AK: the TPM's own gets the secret in the same way.
    challenge request.json
    activate $handle
    hwid attest accept secret.bin --state state.json > text

    # The certificate is genuine, and the public area is an AK's: that there is a challenge says nothing.
    challenge forged.json
    tpm_tool tpm2_loadexternal -C n -u forged.pub -c public.ctx -n name
    hwid attest challenge forged.json --ek-ca maker.certs --state named.json --out named-challenge.json \
        --force > text
    rm named.json
    [ "$(json 'd["ak_name"]' named-challenge.json)" = "$(od -An -v -tx1 name | tr -d ' \n')" ]
    rm -f secret.bin
    # TPM_RC_AUTH_UNAVAILABLE: of the public half alone there is nobody who could permit it.
    tpm_refuses '(0x12F)' activate public.ctx
    # Nor does the genuine AK certify such a key, which would say that it is fixed to this TPM.
    tpm_refuses '(0x12F)' tpm_tool tpm2_certify -c public.ctx -C $handle -g sha256 -o attest.bin \
        -s signature.bin
    # TPM_RC_ATTRIBUTES: with both halves it is none that is fixed to this TPM or restricted.
    for attributes in "$AK_ATTRIBUTES" 'userwithauth|restricted|sign' 'fixedtpm|fixedparent|userwithauth|sign'; do
        tpm_refuses '(0x2C2)' tpm_tool tpm2_loadexternal -C n -G "$kind" -r soft.pem -a "$attributes" \
            -c both.ctx
    done
    # TPM_RC_INTEGRITY: without these attributes it has another name.
    tpm_tool tpm2_loadexternal -C n -G "$kind" -r soft.pem -a 'userwithauth|sign' -c both.ctx
    tpm_refuses '(0x1DF)' activate both.ctx
    tpm_refuses '(0x1DF)' activate $handle
    [ ! -e secret.bin ]
    head -c 32 /dev/urandom > guess.bin
    refused 1 'the secret is wrong' hwid attest accept guess.bin --state state.json
    handle=0x81010003
done
