#!/bin/bash
# hwid attest and hwid verify-attestation with a TPM that has EK certificates: from the request to the
# evidence, with tpm2-tools on either side, and forged in each step.
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
NONCE=00112233445566778899aabbccddeeff
PCRS=sha256:0,7,16

make_conf openssl.cnf default-first chip
sed -i '/^pin-source = /d' openssl.cnf
export OPENSSL_CONF=$T/openssl.cnf
(umask 077 && echo sesame > auth)
tpm_tool tpm2_pcrextend "16:sha256=$(printf '%064d' 7)"
no_leftovers() { # sessions or loaded objects
    local kind
    for kind in handles-transient handles-loaded-session; do
        tpm_tool tpm2_getcap $kind
        [ ! -s "$T/tpm.out" ] || fail "$kind: $(cat "$T/tpm.out")"
    done
}

# --- an AK is made, and accepted; the verifier has neither TPM nor openssl.cnf

verifier() { # COMMAND...: on another machine
    env -u TPM2TOOLS_TCTI OPENSSL_CONF="$T/plain.cnf" "$HWID_TOOLS_DIR/hwid" "$@"
}
accept() { # AK [OPTION...]: NAME.json of that AK for --trusted-ak
    local ak=$1 name=$2
    shift 2
    rm -f state.json
    hwid attest request --ak "$ak" --out request.json --force "$@" > text
    verifier attest challenge request.json --ek-ca maker.certs --state state.json \
        --out challenge.json --force > text
    hwid attest answer challenge.json --ak "$ak" --out answer.json --force > text
    verifier attest accept answer.json --state state.json --out "$name.json" --force > text
    [ ! -e state.json ] || fail 'the state can be used again'
}
accept tpm2:handle=0x81010002 ak # RSA EK of swtpm_setup, by policy
[ "$(stat -c %a answer.json)" = 600 ] || fail 'others can read the answer'
tpm_tool tpm2_readpublic -c 0x81010002 -n name
[ "$(json 'd["name"]' ak.json)" = "$(od -An -v -tx1 name | tr -d ' \n')" ]
expect_text text 'name'
tpm_tool tpm2_readpublic -c 0x81010002
for attribute in fixedtpm fixedparent sensitivedataorigin restricted sign; do
    expect_text tpm.out "$attribute"
done
accept ak.tss2.pem file-ak --ek ecc --type rsa:2048 # P-384, by its empty auth value
tpm_tool tpm2_evictcontrol -C o -c 0x81010001
accept tpm2:handle=0x81010002 again --ek rsa # made anew, from TCG's template
cmp ak.json again.json
no_leftovers

# --- and not accepted: another maker, another AK, another TPM, too late, twice

make_maker other
mkdir empty
hwid attest request --ak tpm2:handle=0x81010002 --out request.json --force > text
refused 3 'there is no certificate in it' verifier attest challenge request.json --ek-ca empty --state s1.json
make_ca ca
cp ca.pem other.certs
refused 1 'X509_verify_cert' verifier attest challenge request.json --ek-ca other.certs --state s1.json
[ ! -e s1.json ] || fail 'a state for a challenge that was refused'
verifier attest challenge request.json --ek-ca maker.certs --state state.json --out challenge.json --force > text
refused 1 'exists' verifier attest challenge request.json --ek-ca maker.certs --state state.json
refused 1 'it was made for the AK' hwid attest answer challenge.json --ak ak.tss2.pem
change challenge.json swapped.json 'd["ak_name"] = other("file-ak.json")["name"]'
refused 3 'the challenge was made for another attestation key or another TPM' \
    hwid attest answer swapped.json --ak ak.tss2.pem
expect_text err TPM_RC_INTEGRITY
no_leftovers
# A damaged one is said to be that before the TPM is asked.
damaged() { # MEMBER BYTES WHY
    change challenge.json damaged.json "d['$1'] = base64.b64encode($2).decode()"
    forget_calls
    refused 3 "file=damaged.json: it is no hwid-attestation-challenge: $1: $3" \
        hwid attest answer damaged.json --ak tpm2:handle=0x81010002
    [ "$(tpm_commands 147)" = 0 ] || fail "TPM2_ActivateCredential of a damaged $1"
}
damaged credential 'bytes(6000)' 'it has 6000 bytes, and a TPM takes 132 at most'
damaged credential 'b""' 'it is empty'
damaged credential 'b"\x00\x20" + bytes(33)' 'it is no TPMS_ID_OBJECT'
damaged credential 'b"\x00\x21" + bytes(32)' 'it is no TPMS_ID_OBJECT'
damaged secret 'bytes(6000)' 'it has 6000 bytes, and a TPM takes'
damaged secret 'b""' 'it is empty'
hwid attest answer challenge.json --ak tpm2:handle=0x81010002 --out answer.json --force > text
change answer.json swapped.json 'd["ak_name"] = other("file-ak.json")["name"]'
refused 1 'the AK was swapped after the challenge' verifier attest accept swapped.json --state state.json
change answer.json wrong.json 'd["secret"] = flip(d["secret"])'
refused 1 'the secret is wrong' verifier attest accept wrong.json --state state.json
change state.json changed.json 'd["ak"]["public"] = other("file-ak.json")["public"]'
refused 1 'swapped' verifier attest accept answer.json --state changed.json
change state.json changed.json 'd["expires"] = 1'
refused 1 'expired' verifier attest accept answer.json --state changed.json
# Nothing may be written over it, also where it is not there yet.
refused 2 'which is needed' verifier attest challenge request.json --ek-ca maker.certs \
    --state new.json --out ./new.json --force
[ ! -e new.json ]
refused 2 'which is needed' verifier attest accept answer.json --state state.json --out state.json --force
refused 2 'removed once it has served' verifier attest accept answer.json --state - < state.json
refused 3 'No such file or directory' verifier attest accept answer.json --state state.json --out no/where.json
ln -s state.json link.json
verifier attest accept answer.json --state link.json > again.json
[ "$(echo state.json*)" = 'state.json*' ] || fail "left: $(echo state.json*)"
refused 3 'state.json' verifier attest accept answer.json --state state.json

# A software AK beside the genuine EK certificate: its name is in the challenge, and no TPM has it.
software_key soft.pem ec:P-256
plain_openssl ec -in soft.pem -pubout -outform DER -out soft.der 2> /dev/null
change request.json forged.json '
public = bytearray(base64.b64decode(d["ak"]["public"]))
point = open("soft.der", "rb").read()[-64:]
public[-66:-34] = point[:32]
public[-32:] = point[32:]
d["ak"]["public"] = base64.b64encode(bytes(public)).decode()'
verifier attest challenge forged.json --ek-ca maker.certs --state forged-state.json --out forged-challenge.json > text
refused 1 'it was made for the AK' hwid attest answer forged-challenge.json --ak tpm2:handle=0x81010002
change forged-challenge.json forged-challenge.json "d['ak_name'] = other('ak.json')['name']"
refused 3 TPM_RC_INTEGRITY hwid attest answer forged-challenge.json --ak tpm2:handle=0x81010002

# --- tpm2-tools on either side

tpm_tool tpm2_readpublic -c 0x81010016 -o ek.pub
echo 0123456789abcdef0123456789abcdef > secret
tpm_tool tpm2_makecredential -T none -u ek.pub -s secret \
    -n "$(json 'd["name"]' ak.json)" -o made.credential
hwid attest answer made.credential --ak tpm2:handle=0x81010002 --ek ecc --out answer.json --force > text
bytes_in answer.json 'd["secret"]' > given
cmp secret given
hwid attest request --ak tpm2:handle=0x81010002 --ek ecc --out request.json --force > text
verifier attest challenge request.json --ek-ca maker.certs --state state.json --tools \
    --out tools.credential > text
tpm_tool tpm2_activatecredential -c 0x81010002 -C 0x81010016 -i tools.credential -o given
[ "$(stat -c %s given)" = 32 ]
python3 -c 'import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(bytes([d[0] ^ 1]) + d[1:])' \
    < given > wrong.bin
head -c 31 given > short.bin
refused 1 'the secret is wrong' verifier attest accept wrong.bin --state state.json
refused 3 'file=short.bin' verifier attest accept short.bin --state state.json
verifier attest accept given --state state.json > again.json
cmp <(json 'd["name"], d["public"]' ak.json) <(json 'd["name"], d["public"]' again.json)
# The same by an RSA EK, whose policy asks for the endorsement hierarchy.
hwid attest request --ak tpm2:handle=0x81010002 --ek rsa --out request.json --force > text
verifier attest challenge request.json --ek-ca maker.certs --state state.json --tools \
    --out tools.credential --force > text
tpm_tool tpm2_createek -G rsa -c 0x81010001
tpm_tool bash -ec '
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policysecret -S session.ctx -c e
    tpm2_activatecredential -c 0x81010002 -C 0x81010001 -P session:session.ctx \
        -i tools.credential -o given
    tpm2_flushcontext session.ctx'
verifier attest accept given --state state.json > again.json
cmp ak.json again.json
tpm_tool tpm2_evictcontrol -C o -c 0x81010001

# --- evidence for keys: at a handle and in a file, with auth values, with their creation, with PCRs

hwid generate tpm2: --out device.pem --creation creation.json > text
hwid generate tpm2:handle=0x81000010 --auth-source file:auth --creation creation10.json > text
evidence() { # OUT ARGUMENT...
    local out=$1
    shift
    hwid attest evidence "$@" --nonce $NONCE --out "$out" --force > text
}
holds() { # FILE OPTION...
    expect_exit 0 verifier verify-attestation "$@" --nonce $NONCE --json
    [ "$(json 'd["good"], all(c["good"] for c in d["checks"])')" = '(True, True)' ]
}
evidence e.json device.pem --ak tpm2:handle=0x81010002 --creation creation.json --pcrs $PCRS
holds e.json --trusted-ak ak.json
[ "$(json 'sorted({c["check"].split(":")[0] for c in d["checks"]})')" = \
    "['AK attributes', 'AK strength', 'AK trust', 'certify', 'creation', 'key attributes', 'key strength', 'quote']" ]
json 'd["key"].strip()' > shown.pub
openssl pkey -in device.pem -pubout -out device.pub
cmp device.pub shown.pub
evidence auth.json "tpm2:handle=0x81000010?pin-source=file:$T/auth" --ak ak.tss2.pem \
    --creation creation10.json
holds auth.json --trusted-ak file-ak.json
# The EK may be of another kind than the first of which the TPM has a certificate.
holds auth.json --trusted-ak file-ak.json --ek-ca maker.certs
expect_text out 'the evidence has another one, which says nothing'
ek_of() { json 'd["ek"]["certificate"]' "$1"; }
[ "$(ek_of auth.json)" = "$(json 'd["ek_certificate"]' ak.json)" ]
json 'd["ek_certificate"]' file-ak.json > ecc-ek.pem
for given in '--ek ecc' '--ek-cert ecc-ek.pem'; do
    # shellcheck disable=SC2086  # words
    evidence ecc.json ak.tss2.pem --ak ak.tss2.pem $given
    ek_of ecc.json | cmp - ecc-ek.pem
    holds ecc.json --trusted-ak file-ak.json --ek-ca maker.certs
done
refused 2 '--ek and --ek-cert' hwid attest evidence ak.tss2.pem --ak ak.tss2.pem --nonce $NONCE \
    --ek ecc --ek-cert ecc-ek.pem
refused 1 'the TPM has none of the kind H-4' hwid attest evidence ak.tss2.pem --ak ak.tss2.pem \
    --nonce $NONCE --ek H-4
refused 2 'no such kind' hwid attest evidence ak.tss2.pem --ak ak.tss2.pem --nonce $NONCE --ek dsa
evidence self.json ak.tss2.pem --ak ak.tss2.pem
evidence quote.json --ak ak.tss2.pem --pcrs sha256:16,23
holds quote.json --trusted-ak file-ak.json --quote-only
[ "$(json 'd["key"]')" = None ]
expect_exit 1 verifier verify-attestation quote.json --trusted-ak file-ak.json --nonce $NONCE
expect_text err 'no key was proven'
expect_text err '--quote-only'
holds self.json --trusted-ak file-ak.json --quote-only # a key more does no harm, once it holds
refused 2 '--quote-only and --cert' verifier verify-attestation quote.json \
    --trusted-ak file-ak.json --nonce $NONCE --quote-only --cert ca.pem
tpm_tool tpm2_readpublic -c 0x81010002 -o ak.pub
holds e.json --trusted-ak ak.pub # TPM2B_PUBLIC
no_leftovers
(umask 077 && echo wrong > wrong)
refused 1 TPM_RC_AUTH_FAIL hwid attest evidence "tpm2:handle=0x81000010?pin-source=file:$T/wrong" \
    --ak tpm2:handle=0x81010002 --nonce $NONCE
no_leftovers
tpm_tool tpm2_create -C 0x81000001 -G rsa1024 -u weak.pub -r weak.priv
tpm_tool tpm2_load -C 0x81000001 -u weak.pub -r weak.priv -c weak.ctx
tpm_tool tpm2_evictcontrol -C o -c weak.ctx 0x81000011
refused 1 'tpm2:handle=0x81000011: it has 80 bits of security' \
    hwid attest evidence tpm2:handle=0x81000011 --ak tpm2:handle=0x81010002 --nonce $NONCE
refused 3 'the creation was another' hwid attest evidence device.pem --ak tpm2:handle=0x81010002 \
    --nonce $NONCE --creation creation10.json
refused 3 'not restricted' hwid attest evidence device.pem --ak tpm2:handle=0x81000010 \
    --ak-pin-source "file:$T/auth" --nonce $NONCE
refused 2 nonce hwid attest evidence device.pem --ak ak.tss2.pem
refused 2 'hexadecimal digits' hwid attest evidence device.pem --ak ak.tss2.pem --nonce 0x12
# Of few bytes it could be made for all of them beforehand.
refused 2 'it has 1 byte, and at least 8 are needed' hwid attest evidence device.pem \
    --ak ak.tss2.pem --nonce 00
refused 2 'it has 7 bytes' hwid attest evidence device.pem --ak ak.tss2.pem --nonce ${NONCE::14}
hwid attest evidence device.pem --ak ak.tss2.pem --nonce ${NONCE::16} > text
refused 2 'it has 65 bytes' hwid attest evidence device.pem --ak ak.tss2.pem --nonce "$(printf '%0130d' 0)"
hwid attest evidence --ak ak.tss2.pem --pcrs sha256:0 --nonce "$(printf '%0128d' 1)" > text
# An AK with an auth value, and a key with another.
(umask 077 && echo ak-value > ak-auth)
accept "tpm2:handle=0x81010003?pin-source=file:$T/ak-auth" auth-ak --auth-source "file:$T/ak-auth"
evidence both.json "tpm2:handle=0x81000010?pin-source=file:$T/auth" \
    --ak tpm2:handle=0x81010003 --ak-pin-source "file:$T/ak-auth" --pcrs $PCRS
holds both.json --trusted-ak auth-ak.json
refused 1 TPM_RC_ hwid attest evidence device.pem --ak tpm2:handle=0x81010003 \
    --ak-pin-source "file:$T/wrong" --nonce $NONCE
no_leftovers

# What it says is what tpm2-tools say: the quote, and the certification.
bytes_in e.json 'd["quote"]["attest"]' > quote.attest
bytes_in e.json 'd["quote"]["signature"]' > quote.signature
tpm_tool tpm2_readpublic -c 0x81010002 -f pem -o ak.pem
tpm_tool tpm2_pcrread $PCRS -o pcrs.bin -F values
tpm_tool tpm2_checkquote -u ak.pem -m quote.attest -s quote.signature -f pcrs.bin -g sha256 \
    -l $PCRS -F values -q $NONCE
tpm_tool tpm2_readpublic -c 0x81000010 -n name
tpm_tool tpm2_certify -c 0x81000010 -P sesame -C 0x81010002 -g sha256 -o certify.attest \
    -s certify.signature
bytes_in both.json 'd["key"]["certify"]["attest"]' > ours.attest
python3 - << 'END'
import struct
def name(path):
    data = open(path, 'rb').read()
    assert data[:6] == b'\xffTCG\x80\x17', data[:6]
    at = 6
    for _ in range(2):  # qualifiedSigner, extraData
        at += 2 + struct.unpack('>H', data[at:at + 2])[0]
    at += 17 + 8  # clockInfo, firmwareVersion
    return data[at + 2:at + 2 + struct.unpack('>H', data[at:at + 2])[0]]
assert name('ours.attest') == name('certify.attest') == open('name', 'rb').read()
END

# --- forged: the real evidence, changed in one place; the other places are forged in tool-tests/attest_evidence

verify=(verifier verify-attestation)
with=(--nonce "$NONCE" --trusted-ak ak.json)
refused 2 'at least 8 are needed' "${verify[@]}" e.json --nonce ${NONCE::14} --trusted-ak ak.json
checks 'certify: nonce; creation: nonce; quote: nonce' "${verify[@]}" e.json --nonce ${NONCE::16} \
    --trusted-ak ak.json
expect_exit 1 "${verify[@]}" e.json --nonce ${NONCE::16} --trusted-ak ak.json
expect_text out 'The evidence does not hold.'
expect_text err 'certify: nonce'
change e.json f.json 'd["key"]["certify"]["signature"] = flip(d["key"]["certify"]["signature"])'
checks 'certify: signature' "${verify[@]}" f.json "${with[@]}"
change e.json f.json 'd["key"]["public"] = other("auth.json")["key"]["public"]'
checks 'certify: name; creation: name' "${verify[@]}" f.json "${with[@]}"
change e.json f.json 'd["key"]["creation"]["data"] = flip(d["key"]["creation"]["data"])'
checks 'creation: data' "${verify[@]}" f.json "${with[@]}"
change e.json f.json 'd["quote"]["pcrs"] = d["quote"]["pcrs"].replace("16=", "16=00")[:-2]'
checks 'quote: PCR digest' "${verify[@]}" f.json "${with[@]}"
checks 'AK trust; certify: signature; creation: signature; quote: signature' "${verify[@]}" e.json \
    --nonce $NONCE --trusted-ak file-ak.json
holds e.json --trusted-ak ak.json --pcrs "$(json 'd["quote"]["pcrs"]' e.json)"
checks 'PCR 16 of bank sha256' "${verify[@]}" e.json "${with[@]}" --pcrs "sha256:16=$(printf '%064d' 1)"
issue_cert ca device client device.pub
holds e.json --trusted-ak ak.json --cert device.pem
issue_cert ca other-device client ec:P-256
checks "certificate's key" "${verify[@]}" e.json "${with[@]}" --cert other-device.pem

# An EK certificate alone says nothing of the AK.
json 'd["ek"]["certificate"]' e.json > ek.pem
plain_openssl x509 -in ek.pem -outform DER -out ek.der
plain_openssl x509 -in ek.pem -text -out ek.txt
for trust in "--trusted-ak ek.pem" "--trusted-ak ek.der" "--trusted-ak ek.txt" "--ak-ca maker.certs" "--ek-ca maker.certs" \
    "--ak-ca maker.certs --ak-cert ek.pem"; do
    # shellcheck disable=SC2086  # words
    expect_exit 1 "${verify[@]}" e.json --nonce $NONCE $trust
    expect_text out 'AK not bound to this EK'
    expect_text err 'AK not bound to this EK'
done
refused 3 'does not say what the AK may sign' "${verify[@]}" e.json --nonce $NONCE --trusted-ak ak.pem
refused 3 'it is no hwid-attestation' "${verify[@]}" ak.json "${with[@]}"
for member in ak ek; do
    for value in 7 '[]' '"AAAA"'; do
        change e.json f.json "d['$member'] = $value"
        refused 3 "$member: an object is wanted" "${verify[@]}" f.json "${with[@]}"
    done
done

# An ordinary key of the TPM says what its owner wants: as AK it is not believed.
tpm_tool tpm2_readpublic -c 0x81000010 -o ordinary.pub
change e.json f.json 'd["ak"]["public"] = base64.b64encode(open("ordinary.pub", "rb").read()).decode()'
expect_exit 1 "${verify[@]}" f.json --nonce $NONCE --trusted-ak ordinary.pub
expect_text out 'AK attributes: restricted is not set'

# An AK that its policy opens, in all that it does.
hwid generate tpm2: --attestation --out policy-ak.pem --policy-pcr sha256:16 > text
accept policy-ak.pem policy-ak
evidence policy.json "tpm2:handle=0x81000010?pin-source=file:$T/auth" --ak policy-ak.pem \
    --pcrs sha256:16 --creation creation10.json
holds policy.json --trusted-ak policy-ak.json
# With all of it in sessions, begun with a key that is known by its name.
tpm_tool tpm2_readpublic -c 0x81000001 -n parent.name
sed "s/^parent = 0x81000001\$/&\nparent-name = $(od -An -v -tx1 parent.name | tr -d ' \n')\nsession = hmac/" \
    openssl.cnf > hmac.cnf
expect_text hmac.cnf 'session = hmac'
OPENSSL_CONF=$T/hmac.cnf accept policy-ak.pem hmac-ak
cmp policy-ak.json hmac-ak.json
OPENSSL_CONF=$T/hmac.cnf evidence policy.json "tpm2:handle=0x81000010?pin-source=file:$T/auth" \
    --ak policy-ak.pem --pcrs sha256:16 --creation creation10.json
holds policy.json --trusted-ak hmac-ak.json
tpm_tool tpm2_pcrextend "16:sha256=$(printf '%064d' 8)"
expect_exit 1,3 hwid attest evidence --ak policy-ak.pem --pcrs sha256:16 --nonce $NONCE
expect_text err 'PCR 16'
no_leftovers

# Another TPM of the same maker.
stop_daemon "$TPM_PID"
manufacture maker
TPM_PORT=${TPM_TCTI##*=} start_tpm
make_parent 0x81000001
hwid attest request --ak tpm2:handle=0x81010002 --out request2.json > text
# Its EK certificate is as genuine, but not that of the TPM in which the AK was accepted.
holds e.json --trusted-ak ak.json --ek-ca maker.certs
change e.json f.json 'd["ek"]["certificate"] = other("request2.json")["ek"]["certificate"]'
checks 'EK certificate' "${verify[@]}" f.json "${with[@]}" --ek-ca maker.certs
expect_exit 1 "${verify[@]}" f.json "${with[@]}" --ek-ca maker.certs
expect_text err 'that of the evidence: it is not the one that the AK was accepted beside'
verifier attest challenge request.json --ek-ca maker.certs --state state.json --out challenge.json --force > text
change challenge.json other-tpm.json "d['ak_name'] = '$(python3 -c '
import base64, hashlib, json
public = base64.b64decode(json.load(open("request2.json"))["ak"]["public"])[2:]
print("000b" + hashlib.sha256(public).hexdigest())')'"
refused 1 'another endorsement key than this TPM has' hwid attest answer other-tpm.json \
    --ak tpm2:handle=0x81010002
refused 3 'another attestation key or another TPM' hwid attest answer other-tpm.json \
    --ak tpm2:handle=0x81010002 --ek ecc
no_leftovers

# The RSA EK's certificate is that of the other TPM: a challenge for the ECC EK is answered all the same.
json 'd["ek"]["certificate"]' request.json > other-ek.pem
plain_openssl x509 -in other-ek.pem -outform DER -out other-ek.der
tpm_tool tpm2_nvundefine -C p 0x1c00002
tpm_tool tpm2_nvdefine 0x1c00002 -C p -s "$(stat -c %s other-ek.der)" \
    -a 'platformcreate|ppwrite|ppread|ownerread|authread|no_da'
tpm_tool tpm2_nvwrite 0x1c00002 -C p -i other-ek.der
refused 1,3 'the EK certificate is for another key' hwid attest answer other-tpm.json --ak tpm2:handle=0x81010002
rm state.json
hwid attest request --ak tpm2:handle=0x81010002 --ek ecc --out request.json --force > text
verifier attest challenge request.json --ek-ca maker.certs --state state.json --out challenge.json --force > text
hwid attest answer challenge.json --ak tpm2:handle=0x81010002 --out answer.json --force > text
verifier attest accept answer.json --state state.json > again.json
no_leftovers

# What is no certificate is said to be in its stead.
tpm_tool tpm2_nvundefine -C p 0x1c00002
head -c 20 /dev/urandom > noise
tpm_tool tpm2_nvdefine 0x1c00002 -C p -s 20 -a 'platformcreate|ppwrite|ppread|ownerread|authread|no_da'
tpm_tool tpm2_nvwrite 0x1c00002 -C p -i noise
expect_exit 1 hwid attest request --ak tpm2:handle=0x81010002 --ek L-1 --out request.json --force
grep 'endorsement key RSA 2048.*0x1c00002: this is the address of the EK certificate, and' err ||
    fail "$(cat err)"
no_leftovers
