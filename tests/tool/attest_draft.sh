#!/bin/bash
# Requests with evidence in the form of draft-ietf-lamps-csr-attestation, as others write it: statements
# and signatures are tpm2-tools', the request is Python's, byte by byte, after the draft's ASN.1 and as its
# sample (A.2) is: with a hint, a plain signature, TPM2B_PUBLIC, and the chain of the AK's certificate.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
HWID_WORLD=tpm
start_tpm
make_parent 0x81000001
export XDG_DATA_HOME=$T/data OPENSSL_CONF=$T/plain.cnf # hwid itself has no TPM
hwid ca init --subject /CN=authority > text

cat > der.py << 'END'
def der(tag, *parts):
    body = b''.join(parts)
    size = len(body)
    octets = size.to_bytes((size.bit_length() + 7) // 8, 'big')
    length = bytes([size]) if size < 128 else bytes([0x80 | len(octets)]) + octets
    return bytes([tag]) + length + body
def sequence(*parts):
    return der(0x30, *parts)
def oid(text):
    numbers = [int(number) for number in text.split('.')]
    body = b''
    for number in [numbers[0] * 40 + numbers[1]] + numbers[2:]:
        septets = [number & 0x7f]
        while number := number >> 7:
            septets.insert(0, 0x80 | number & 0x7f)
        body += bytes(septets)
    return der(0x06, body)
def read(name):
    return open(name, 'rb').read()
END
cat > to_be_signed.py << 'END'
import sys
from der import *
_, hint, area, *certificates = sys.argv
other = der(0xa3, oid('1.3.6.1.4.1.99999.1'), der(0x04, b'no X.509'))  # OtherCertificateFormat
statement = [oid('2.23.133.20.1'),
             sequence(der(0x04, read('certify.attest')), der(0x04, read('certify.signature')),
                      der(0x04, read(area)))]
if hint:
    statement.append(der(0x16, hint.encode()))
bundle = [sequence(sequence(*statement))]
if certificates:
    bundle.append(sequence(*(other if name == 'other' else read(name) for name in certificates)))
subject = sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, b'device-7'))))
evidence = sequence(oid('1.2.840.113549.1.9.16.2.59'), der(0x31, sequence(*bundle)))
open('cri', 'wb').write(
    sequence(der(0x02, b'\0'), subject, read('key.spki'), der(0xa0, evidence)))
END
cat > signed.py << 'END'
from der import *
open('request.der', 'wb').write(sequence(read('cri'), sequence(oid('1.2.840.10045.4.3.2')),
                                         der(0x03, b'\0', read('cri.signature'))))
END
request() { # OUT HINT AREA CERTIFICATE...
    python3 to_be_signed.py "${@:2}"
    tpm_tool tpm2_sign -c key.ctx -g sha256 -f plain -o cri.signature cri
    python3 signed.py
    plain_openssl req -inform DER -in request.der -verify -out "$1" 2> verified || fail "$(cat verified)"
}
sign() { hwid ca sign "$@" --profile client --require-attested; }

# --- a device with tpm2-tools, and who certifies its AK

tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u key.area -r key.priv \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign'
tpm_tool tpm2_load -C 0x81000001 -u key.area -r key.priv -c key.ctx
tpm_tool tpm2_readpublic -c key.ctx -f der -o key.spki
tail -c +3 key.area > key.tpmt
make_ca root
plain_openssl x509 -in root.pem -outform DER -out root.der
printf '%s\n' 'basicConstraints = critical, CA:FALSE' 'keyUsage = digitalSignature' \
    'extendedKeyUsage = 2.23.133.8.3' > ak.ext
certify() { # OPTION...: what tpm2-tools say of the key
    tpm_tool tpm2_certify -c key.ctx -C ak.ctx -g sha256 --scheme "${kind#*:}" -o certify.attest -s certify.signature "$@"
}
for kind in rsa:rsassa rsa:rsapss ecc:ecdsa; do
    tpm_tool tpm2_createek -G "${kind%:*}" -c ek.ctx
    tpm_tool tpm2_createak -C ek.ctx -G "${kind%:*}" -g sha256 -s "${kind#*:}" -c ak.ctx -u ak.area
    tpm_tool tpm2_readpublic -c ak.ctx -f pem -o ak.pub
    plain_openssl req -new -key root.key -subj /CN=ak |
        plain_openssl x509 -req -CA root.pem -CAkey root.key -set_serial 0x77 -days 1 \
            -force_pubkey ak.pub -extfile ak.ext -outform DER -out ak.der 2> text
    certify -f plain
    request sample.csr tpmverifier.example.com key.area ak.der root.der
    sign sample.csr --trusted-ak ak.area > text
    if [ "$kind" != rsa:rsapss ]; then # a certificate alone does not say it
        sign sample.csr --ak-ca root.pem > "$kind.pem"
        plain_openssl verify -CAfile data/hwid/ca/ca.pem "$kind.pem" > text
        plain_openssl x509 -in "$kind.pem" -noout -pubkey | plain_openssl pkey -pubin -outform DER |
            cmp - key.spki
    fi
    certify # with the TPM's own structure
    request own.csr '' key.tpmt other root.der ak.der
    sign own.csr --ak-ca root.pem > text
    sign own.csr --trusted-ak ak.area > text
    request alone.csr '' key.tpmt
    sign alone.csr --trusted-ak ak.area > text
    refused 1 'the evidence has no certificate of the AK' sign alone.csr --ak-ca root.pem
done

# --- and what is refused, whoever wrote it

request no-ak.csr verifier.example.com key.area root.der
refused 1 'no certificate of an attestation key' sign no-ak.csr --ak-ca root.pem
certify -f plain
python3 -c 'd = bytearray(open("certify.signature", "rb").read()); d[-1] ^= 1
open("certify.signature", "wb").write(d)'
request forged.csr verifier.example.com key.area ak.der
refused 1 'it is not attested: certify: signature' sign forged.csr --ak-ca root.pem
make_ca stranger
refused 1 'it is not attested: AK trust' sign sample.csr --ak-ca stranger.pem
