#!/bin/bash
# Whose pass phrase is asked for at a terminal: that of an encrypted private key. Of certificates,
# requests and CRLs nobody's is, though their PEM says that it is encrypted: no verifier waits for one.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
cd "$T"
export OPENSSL_CONF=$T/plain.cnf XDG_DATA_HOME=$T/data

at_terminal() { # CODE COMMAND...: at a terminal of its own, where "sesame" is typed at each question;
    # what it shows is left in shown
    local wanted=$1 code=0
    shift
    python3 - "$@" > shown << 'END' || code=$?
import os, pty, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
shown, answered, end = b'', 0, time.monotonic() + 120
while time.monotonic() < end:
    if not select.select([terminal], [], [], 1)[0]:
        continue
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
    if shown.lower().count(b'pass phrase') > answered and shown.rstrip(b' ').endswith(b':'):
        answered += 1
        os.write(terminal, b'sesame\n')
else:
    os.kill(pid, 9)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
    [ "$code" = "$wanted" ] || fail "exit $code, not $wanted: $*: $(cat shown)"
}
asks() { grep -qi 'pass phrase.*:' shown; }

locked() { # FILE LABEL: PEM that says that it is encrypted
    printf '%s\n' "-----BEGIN $2-----" 'Proc-Type: 4,ENCRYPTED' \
        'DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF' '' \
        "$(head -c 96 /dev/zero | base64 -w 64)" "-----END $2-----" > "$1"
}
HWID=$HWID_TOOLS_DIR/hwid
software_key open.pem ec:P-256
plain_openssl ec -in open.pem -aes256 -passout pass:sesame -out key.pem 2> /dev/null

at_terminal 0 "$HWID" csr key.pem --subject /CN=device --out device.csr
asks || fail "nobody asked: $(cat shown)"
plain_openssl req -in device.csr -verify -noout > verified 2>&1

locked cert.pem CERTIFICATE
locked request.pem 'CERTIFICATE REQUEST'
locked crl.pem 'X509 CRL'
"$HWID" ca init --subject /CN=authority > text
echo '{}' > evidence.json
for command in "verify open.pem --cert cert.pem" "ca sign request.pem --profile client" \
    "verify-attestation evidence.json --nonce 0123456789abcdef --ak-ca cert.pem" \
    "verify-attestation evidence.json --nonce 0123456789abcdef --ak-ca crl.pem" \
    "verify-attestation evidence.json --nonce 0123456789abcdef --cert cert.pem"; do
    # shellcheck disable=SC2086  # words
    at_terminal 3 "$HWID" $command
    if asks; then fail "$command asks for a pass phrase: $(cat shown)"; fi
done
