#!/bin/bash
# The attestation keys that hwid makes are those of TCG's template, as tpm2_createak makes them. (That its
# endorsement keys are tpm2_createek's is in tpm-tests/endorsement.)
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
(umask 077 && echo ak-value > ak-auth)

public_of() { # OBJECT: all of its public area as tpm2_readpublic shows it, but the key itself
    tpm_tool tpm2_readpublic -c "$1"
    sed -E '/^(name|qualified name|x|y|rsa): /d' tpm.out
}
same_as_tools() { # FILE TOOLS-FILE: FILE is the public area of ours
    diff "$2" "$1" || fail "$1 is not what tpm2-tools make: $2"
}

# An AK with an auth value is in all what tpm2_createak makes. One without has noDA as well, and no more: a
# value that is empty cannot be guessed, and a TPM in lockout then attests all the same.
handle=0x81010010
for kind in ecc rsa; do
    type=ec:P-256 scheme=ecdsa
    if [ $kind = rsa ]; then type=rsa:2048 scheme=rsassa; fi
    tpm_tool tpm2_createek -G $kind -c ek.ctx
    tpm_tool tpm2_createak -C ek.ctx -G $kind -g sha256 -s $scheme -c ak.ctx
    public_of ak.ctx > "$kind-ak.tools"
    for auth in none value; do
        handle=$(printf '0x%x' $((handle + 1)))
        uri=tpm2:handle=$handle options=()
        if [ $auth = value ]; then
            uri="$uri?pin-source=file:$T/ak-auth" options=(--auth-source "file:$T/ak-auth")
        fi
        hwid attest request --ak "$uri" --type $type --out request.json --force "${options[@]}" > text
        public_of "$handle" > "$kind-ak.$auth"
    done
    same_as_tools "$kind-ak.value" "$kind-ak.tools"
    grep -A2 '^attributes:' "$kind-ak.tools" | grep -q 'userwithauth|restricted|sign$'
    sed 's/userwithauth|restricted/userwithauth|noda|restricted/; s/raw: 0x50072$/raw: 0x50472/' \
        "$kind-ak.tools" > "$kind-ak.noda"
    same_as_tools "$kind-ak.none" "$kind-ak.noda"
done
