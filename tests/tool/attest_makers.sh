#!/bin/bash
# What --ek-ca reads: directories as makers and people leave them. A CRL that nobody reads would revoke
# nobody.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
HWID_WORLD=tpm
start_tpm
make_parent 0x81000001
TPM_OBJECTS=()
make_conf openssl.cnf default-first chip
sed -i '/^pin-source = /d' openssl.cnf
export OPENSSL_CONF=$T/openssl.cnf

# A maker with an EK's certificate, and a CRL that revokes it.
printf '%s\n' '[ca]' 'default_ca = this' '[this]' "database = $T/index" 'default_md = sha256' > ca.cnf
make_ca maker
tpm_tool tpm2_createek -G ecc -c 0x81010001
tpm_tool tpm2_readpublic -c 0x81010001 -f pem -o ek.pub
printf '%s\n' 'basicConstraints = CA:FALSE' 'extendedKeyUsage = 2.23.133.8.1' > ek.ext
plain_openssl req -new -key maker.key -subj /CN=ek |
    plain_openssl x509 -req -CA maker.pem -CAkey maker.key -set_serial 0x1234 -days 1 \
        -force_pubkey ek.pub -extfile ek.ext -out ek.pem 2> text
printf 'R\t400101000000Z\t240101000000Z\t1234\tunknown\t/CN=ek\n' > index
plain_openssl ca -config ca.cnf -gencrl -keyfile maker.key -cert maker.pem -crldays 1 \
    -out revoking.crl 2> text
hwid attest request --ak tpm2:handle=0x81010002 --ek ecc --ek-cert ek.pem --out request.json > text

makers() { # NAME CRL-NAME: a verifier's directory with the maker's certificate, and the CRL
    rm -rf makers
    mkdir makers
    cp maker.pem "makers/$1"
    [ -z "${2-}" ] || cp revoking.crl "makers/$2"
}
challenge() {
    rm -f state.json
    hwid attest challenge request.json --ek-ca makers --state state.json
}
revoked() { refused 1 'certificate revoked, by makers' challenge; }
makers maker.pem
challenge > text
makers maker.pem maker.crl
revoked

# One that is called ca.pem makes it no directory of hwid ca.
makers ca.pem
challenge > text
makers ca.pem maker.crl
revoked
# A copy of such a directory without its key: what the index says counts as well.
makers ca.pem
cp index makers/index.txt
refused 1 'it is revoked, by makers' challenge
# The index is ca.pem's: of another maker's certificate with the same number it says nothing.
make_ca neighbour
cp neighbour.pem makers/ca.pem
cp maker.pem makers/maker.pem
challenge > text
# However a CRL is named, it is read.
hash=$(plain_openssl crl -in revoking.crl -noout -hash)
for name in MAKER.CRL maker.Crl maker.PEM "$hash.r0" "$hash.r12"; do
    makers ca.pem "$name"
    revoked
done
for name in MAKER.CRT maker.Cer "$(plain_openssl x509 -in maker.pem -noout -hash).0"; do
    makers "$name" maker.crl
    revoked
done
makers maker.pem notes.txt
mkdir makers/old.crl
touch makers/notes.1
challenge > text
# And where it cannot be, nobody is believed.
makers maker.pem
ln -s gone.crl makers/maker.crl
refused 3 'stat: file=makers/maker.crl: No such file or directory; get it anew' challenge
rm makers/maker.crl
mkfifo makers/maker.crl
refused 3 'stat: file=makers/maker.crl: it is no file' challenge
makers maker.pem
sed 's/^/    /' revoking.crl > makers/maker.crl
refused 3 'makers/maker.crl: a PEM block in it does not begin its line' challenge

# No state is left of a challenge that could not be written.
makers maker.pem
rm -f state.json
refused 3 'file=/proc/challenge.json' hwid attest challenge request.json --ek-ca makers \
    --state state.json --out /proc/challenge.json
[ ! -e state.json ]
full() { "$@" > /dev/full; }
mkfifo pipe
unread() { # into a pipe whose reader is gone
    exec 3<> pipe
    exec 4> pipe 3>&-
    "$@" >&4
}
for way in full unread; do
    refused 3 'standard output: not all of the answer could be written' $way challenge
    [ ! -e state.json ]
done
# One that is in its file is there, whoever reads what is said of it: its state serves.
expect_exit 3 full hwid attest challenge request.json --ek-ca makers --state state.json --out challenge.json
hwid attest answer challenge.json --ak tpm2:handle=0x81010002 --ek ecc > answer.json
# Nor is a state used up where the AK's reader did not get it.
for way in full unread; do
    refused 3 'standard output: not all of the answer could be written' \
        $way hwid attest accept answer.json --state state.json
    [ -e state.json ]
done
hwid attest accept answer.json --state state.json > ak.json
[ ! -e state.json ]
