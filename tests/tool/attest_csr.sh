#!/bin/bash
# Attested keys in requests and certificates: an AK that hwid ca certified, hwid csr --evidence, hwid ca
# sign --require-attested, hwid verify; and a TPM whose endorsement hierarchy has an auth value.
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
export XDG_DATA_HOME=$T/data
NONCE=0123456789abcdef OTHER=0123456789abcdee
make_conf openssl.cnf default-first chip keys.device=device.pem
sed -i "/^pin-source = /d; s|^device = .*|device = $T/device.pem|" openssl.cnf
export OPENSSL_CONF=$T/openssl.cnf
(umask 077 && echo endorse > auth && echo wrong > wrong)
tpm_tool tpm2_changeauth -c endorsement endorse
AK=tpm2:handle=0x81010002
WITH_AUTH=(--endorsement-auth-source "file:$T/auth")

# --- the endorsement hierarchy's auth value: once wrong, and never tried again without

hwid generate $AK --attestation --parent owner > text
refused 1 TPM_RC_BAD_AUTH hwid attest request --ak tpm2: --endorsement-auth-source "file:$T/wrong"
hwid attest request --ak $AK --out request.json > text
hwid attest challenge request.json --ek-ca maker.certs --state state.json --out challenge.json > text
refused 3 '--endorsement-auth-source' hwid attest answer challenge.json --ak $AK
refused 1 TPM_RC_BAD_AUTH hwid attest answer challenge.json --ak $AK \
    --endorsement-auth-source "file:$T/wrong"
hwid attest answer challenge.json --ak $AK "${WITH_AUTH[@]}" --out answer.json > text
# Nor is it that of a key's parent, which is told apart from the key's.
make_parent 0x81000040 ecc mother
(umask 077 && echo mother > parent-auth)
TPM2OPENSSL_PARENT_AUTH=mother hwid generate tpm2: --attestation --parent 0x81000040 --out below.pem > text
BELOW="tpm2:file=$T/below.pem?parent-pin-source=file:$T"
for command in "request --ak $BELOW/wrong" "answer challenge.json --ak $BELOW/wrong" \
    "evidence $BELOW/wrong --ak $AK --nonce $NONCE" "evidence --pcrs sha256:0 --ak $BELOW/wrong --nonce $NONCE"; do
    forget_calls
    # shellcheck disable=SC2086  # words
    refused 1 "the auth value of the key's parent (0x81000040) is wrong; correct what ?parent-pin-source=" \
        hwid attest $command
    [ "$(tpm_commands 157)" = 1 ] || fail "$command: $(tpm_commands 157) times TPM2_Load"
done
hwid attest request --ak "$BELOW/parent-auth" "${WITH_AUTH[@]}" --out below.json > text
hwid attest evidence --pcrs sha256:0 --ak "$BELOW/parent-auth" --nonce $NONCE > text
for kind in handles-transient handles-loaded-session; do
    tpm_tool tpm2_getcap $kind
    [ ! -s tpm.out ] || fail "$kind: $(cat tpm.out)"
done

has_der() { # CERTIFICATE HEX
    plain_openssl x509 -in "$1" -outform DER | od -An -v -tx1 | tr -d ' \n' | grep -q "$2" || fail "no $2 in $1"
}

# --- certified by hwid ca

hwid ca init --subject /CN=authority > text
# Of runs that have all read the state one accepts by it. All wait for the CA, or are refused.
exec 9< data/hwid/ca
flock 9
runs=(1 2 3) pids=()
for run in "${runs[@]}"; do
    (hwid attest accept answer.json --state state.json --ca --days 30 --out "ak$run.pem" &&
        echo accepted >&2) > accept.out 2> "accept$run.err" 9>&- &
    pids+=($!)
done
for run in "${runs[@]}"; do
    wait_for 60 test -s "accept$run.err" || fail "run $run says nothing"
done
exec 9>&-
for pid in "${pids[@]}"; do wait "$pid" || true; done
[ "$(cat accept?.err | grep -c '^accepted')" = 1 ] || fail "$(cat accept?.err)"
[ "$(grep -L '^accepted' accept?.err | wc -l)" = 2 ] || fail "$(cat accept?.err)"
[ "$(echo ak?.pem | wc -w)" = 1 ] && [ "$(wc -l < data/hwid/ca/index.txt)" = 1 ]
[ "$(echo state.json*)" = 'state.json*' ] || fail "left: $(echo state.json*)"
mv ak?.pem ak.pem
plain_openssl x509 -in ak.pem -noout -text > text
expect_text text 'X509v3 Extended Key Usage: critical'
has_der ak.pem 06056781050803 # 2.23.133.8.3, which newer ones call by a name
plain_openssl verify -CAfile data/hwid/ca/ca.pem -purpose any ak.pem > text
tpm_tool tpm2_readpublic -c 0x81010002 -f pem -o ak.pub
plain_openssl x509 -in ak.pem -noout -pubkey | cmp - ak.pub
# Beside which EK it was accepted: as OpenSSL counts it.
json 'd["ek"]["certificate"]' request.json > ek.pem
EK=$(plain_openssl x509 -in ek.pem -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f)
plain_openssl asn1parse -i -in ak.pem > text
expect_text text 2.25.167023048226118120337560874147275265930
plain_openssl x509 -in ak.pem -outform DER | od -An -v -tx1 | tr -d ' \n' | grep -q "04220420$EK"

# --- a request that carries its evidence, in each form

hwid generate tpm2: --out device.pem --creation creation.json > text
hwid attest evidence device.pem --ak $AK --nonce $NONCE --creation creation.json --ak-cert ak.pem \
    --out evidence.json > text
expect_exit 0 hwid verify-attestation evidence.json --nonce $NONCE --ak-ca data/hwid/ca
expect_text out 'certified by data/hwid/ca'
# A CRL that is over stops nobody where the index beside it says who is revoked.
printf '%s\n' '[ca]' 'default_ca = this' '[this]' "database = $T/data/hwid/ca/index.txt" > old-crl.cnf
plain_openssl ca -config old-crl.cnf -gencrl -md sha256 -keyfile data/hwid/ca/ca.key \
    -cert data/hwid/ca/ca.pem -crl_lastupdate 240101000000Z -crl_nextupdate 240102000000Z \
    -out data/hwid/ca/crl.pem 2> text
expect_exit 0 hwid verify-attestation evidence.json --nonce $NONCE --ak-ca data/hwid/ca
rm data/hwid/ca/crl.pem
expect_text out "EK certificate, SHA-256 $EK"
expect_exit 0 hwid verify-attestation evidence.json --nonce $NONCE --ak-ca data/hwid/ca --json \
    --ek-ca maker.certs --ek-cert ek.pem
[ "$(json 'd["ek_sha256"]')" = "$EK" ]
# Another genuine certificate of this maker is not it.
tpm_tool tpm2_nvread 0x01c00016 -o other-ek.der
plain_openssl x509 -inform DER -in other-ek.der -out other-ek.pem
change evidence.json other-ek.json 'd["ek"]["certificate"] = open("other-ek.pem").read()'
verify=(hwid verify-attestation --nonce "$NONCE" --ak-ca data/hwid/ca)
checks 'EK certificate' "${verify[@]}" other-ek.json --ek-ca maker.certs
checks EK "${verify[@]}" evidence.json --ek-cert other-ek.pem
# Nor does a public area alone, or the certificate of an AK by who does not say it, name one.
tpm_tool tpm2_readpublic -c 0x81010002 -o ak.area
checks 'EK; EK certificate' hwid verify-attestation evidence.json --nonce $NONCE \
    --trusted-ak ak.area --ek-cert ek.pem --ek-ca maker.certs
request() { # OUT [OPTION...]
    local out=$1
    shift
    hwid csr hwid://device --subject /CN=device-7 --out "$out" --force "$@" > text
    plain_openssl req -in "$out" -verify -noout > verified 2>&1
}
ATTESTED=(--profile client --require-attested)
for form in private draft both; do
    request $form.csr --evidence evidence.json --evidence-form $form
    hwid ca sign $form.csr "${ATTESTED[@]}" --nonce $NONCE --out $form.pem > text
    plain_openssl verify -CAfile data/hwid/ca/ca.pem $form.pem > text
    hwid ca sign $form.csr "${ATTESTED[@]}" > text # of any time
    refused 1 'it is not attested: certify: nonce' hwid ca sign $form.csr "${ATTESTED[@]}" --nonce $OTHER
    refused 2 'at least 8 are needed' hwid ca sign $form.csr "${ATTESTED[@]}" --nonce ${NONCE::14}
done
plain_openssl req -in draft.csr -outform DER | plain_openssl asn1parse -inform DER > text
expect_text text '1.2.840.113549.1.9.16.2.59'
expect_text text '2.23.133.20.1'
plain_openssl req -in private.csr -noout -text > text
expect_text text 2.25.83006159834808359215558469248359536408
# What the draft's form holds are the TPM's own structures.
python3 - << 'END' "$(plain_openssl req -in draft.csr -outform DER | od -An -v -tx1 | tr -d ' \n')"
import base64, json, sys
request = bytes.fromhex(sys.argv[1])
evidence = json.load(open('evidence.json'))
for data in (evidence['key']['certify']['attest'], evidence['key']['certify']['signature']):
    assert base64.b64decode(data) in request
assert base64.b64decode(evidence['key']['public'])[2:] in request
END

# --- and what is refused

request plain.csr
refused 1 'it is not attested: there is no evidence' hwid ca sign plain.csr "${ATTESTED[@]}"
hwid ca sign plain.csr --profile client > text
plain_openssl ecparam -name prime256v1 -genkey -noout -out soft.pem
refused 1 'another key than the request' hwid csr soft.pem --subject /CN=x --evidence evidence.json
python3 - << 'END' # another key's request with this key's evidence
text = open('evidence.json', 'rb').read()
der = '0c82' + format(len(text), '04x') + text.hex()
open('forged.cnf', 'w').write(
    '[req]\ndistinguished_name = dn\nreq_extensions = e\n[dn]\n[e]\n'
    '2.25.83006159834808359215558469248359536408 = DER:' + der + '\n')
END
plain_openssl req -new -key soft.pem -subj /CN=device-7 -config forged.cnf \
    -out forged.csr
refused 1 "it is not attested: certificate's key" hwid ca sign forged.csr "${ATTESTED[@]}" --nonce $NONCE
# An ordinary certificate of this CA makes no AK.
software_key "$T/fake-ak.key" ec:P-256
plain_openssl req -new -key fake-ak.key -subj /CN=fake -out fake.csr
hwid ca sign fake.csr --profile client --out fake.pem > text
refused 1 "certificate=fake.pem: the certificate is another key's (their values differ)" \
    hwid attest evidence device.pem --ak $AK --nonce $NONCE --ak-cert fake.pem --out fake.json
[ ! -e fake.json ] || fail 'evidence with a certificate that is not its AK'"'"'s'
refused 1 'their types differ, RSA, and EC is wanted' hwid attest evidence device.pem --ak $AK \
    --nonce $NONCE --ak-cert ek.pem --out fake.json
change evidence.json fake.json 'd["ak"]["certificate"] = open("fake.pem").read()'
request fake-ak.csr --evidence fake.json
refused 1 'no certificate of an attestation key' hwid ca sign fake-ak.csr "${ATTESTED[@]}"
refused 2 '--require-attested' hwid ca sign both.csr --profile client --nonce $NONCE
# Revoked.
hwid ca revoke ak.pem --reason keyCompromise > text
refused 1 'it is revoked' hwid ca sign both.csr "${ATTESTED[@]}"
hwid ca crl > text
refused 1 'it is revoked' hwid ca sign both.csr "${ATTESTED[@]}"

# --- hwid verify: who attests, where the device is no program

hwid attest request --ak $AK --out request.json --force > text
hwid attest challenge request.json --ek-ca maker.certs --state state.json --out challenge.json --force > text
hwid attest answer challenge.json --ak $AK "${WITH_AUTH[@]}" --out answer.json --force > text
hwid attest accept answer.json --state state.json --out ak.json > text
for how in "--ak $AK" "--evidence evidence.json" "--evidence evidence.json --nonce $NONCE"; do
    # shellcheck disable=SC2086  # words
    expect_exit 0 hwid verify hwid://device $how --trusted-ak ak.json --json
    [ "$(json 'd["verdict"], d["evidence"][0]["kind"]')" = "('software-token', 'TPM2_Certify')" ] ||
        fail "$(cat out)"
    [ "$(json '{c["finding"] for c in d["checks"] if c["group"] == "evidence"}')" = "{'good'}" ]
done
bad_evidence() { # CHECKS OPTION...: the answer is no, for these checks alone
    local expected=$1
    shift
    expect_exit 1 hwid verify hwid://device "$@" --json
    [ "$(json '"; ".join(c["asked"] for c in d["checks"] if c["finding"] == "bad")')" = "$expected" ] ||
        fail "not \"$expected\": $(cat out)"
    [ "$(json 'd["evidence"], d["good"]')" = '([], False)' ]
    expect_text out 'The evidence that was given does not hold.'
}
bad_evidence 'certify: nonce; creation: nonce' --evidence evidence.json --nonce $OTHER --trusted-ak ak.json
refused 2 'at least 8 are needed' hwid verify hwid://device --evidence evidence.json --nonce 00 \
    --trusted-ak ak.json
bad_evidence 'AK trust; certify: signature' --ak $AK # nobody said that it is to be believed
expect_text out 'AK not bound to this EK'
hwid attest evidence --ak $AK --pcrs sha256:7 --nonce $NONCE --out quote.json > text
bad_evidence key --evidence quote.json --trusted-ak ak.json
expect_exit 1 hwid verify hwid://device --evidence quote.json --trusted-ak ak.json --html report.html
expect_text report.html 'evidence that'
expect_text out 'does not hold'
