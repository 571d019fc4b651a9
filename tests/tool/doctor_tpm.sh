#!/bin/bash
# hwid doctor: the way to a TPM, its lockout, and its keys, one fault at a time, made with swtpm.
# shellcheck disable=SC2016,SC2317  # messages and sed have backticks and dollars
HWID_WORLD=tpm
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
need swtpm tpm2_createprimary tpm2_dictionarylockout
PIN=7315

make_token tpm-token ec:P-256,label=device
GOOD=$T/good.cnf
make_conf "$GOOD" default-first tpm-token 'keys.device=pkcs11:token=tpm-token;object=device'
export OPENSSL_CONF=$GOOD
KEY=(--key hwid://device)
fault() { # ID FIX EDIT...
    local id=$1 fix=$2
    shift 2
    edited "$GOOD" "$@"
    OPENSSL_CONF=$T/edited.cnf blames "$id" "$fix" "${KEY[@]}"
    alone
}
key_fault() { # ID FIX URI
    blames "$1" "$2" --key "$3"
    alone
}

# --- nothing is wrong
healthy
healthy "${KEY[@]}"
healthy --key tpm2:handle=0x81000002
hwid generate tpm2: --out "$T/key.tss2.pem" > "$T/text" 2>&1 || fail "$(cat "$T/text")"
healthy --key "tpm2:file=$T/key.tss2.pem"
healthy --key "$T/key.tss2.pem"

# --- the way to it
tcti() { printf 's|^tcti = .*|tcti = %s|' "$1"; }
fault tcti-wrong 'device:/dev/tpmrm0 for a chip' "$(tcti nosuch:port=1)"
sees libtss2-tcti-nosuch
fault tcti-wrong 'correct `tcti`' "$(tcti swtpm:prt=1)"
fault tcti-wrong 'correct `tcti`' "$(tcti "device:$T/pin")"
sees 'is not a device'
fault tpm-device-missing 'enable the TPM in the firmware' "$(tcti device:/dev/no-such-tpm)"
fault tpm-not-reached 'start it' "$(tcti "swtpm:port=$(free_port)")"
if can_be_nobody && mknod "$T/tpm0" c 1 3; then
    chmod 0660 "$T/tpm0"
    chgrp tty "$T/tpm0"
    chmod 0644 "$GOOD"
    hwid() { as_nobody "$HWID_TOOLS_DIR/hwid" "$@"; }
    fault tpm-closed 'usermod -aG tty USER' "$(tcti "device:$T/tpm0")"
    sees 'group tty'
    # A group that may not use it, or root's own, is no way in.
    chmod 0600 "$T/tpm0"
    fault tpm-closed 'tpm-udev' "$(tcti "device:$T/tpm0")"
    chmod 0660 "$T/tpm0"
    chgrp root "$T/tpm0"
    fault tpm-closed 'tpm-udev' "$(tcti "device:$T/tpm0")"
    if grep -q 'usermod -aG root' "$T/out"; then fail "root's group: $(cat "$T/out")"; fi
    hwid() { "$HWID_TOOLS_DIR/hwid" "$@"; }
fi
# What listens there and says nothing, at both of swtpm's ports.
SILENT=$(free_port)
while port_answers $((SILENT + 1)); do SILENT=$(free_port); done
start_daemon "$T/silent.out" "port_answers $((SILENT + 1))" python3 -c "import signal, socket
servers = [socket.create_server(('127.0.0.1', port)) for port in ($SILENT, $SILENT + 1)]
signal.pause()"
edited "$GOOD" "$(tcti "swtpm:port=$SILENT")"
OPENSSL_CONF=$T/edited.cnf blames tpm-hangs 'what listens there' "${KEY[@]}" --patience 5
alone
sees 'no end after'
stop_daemon "$DAEMON_PID"
# One that nobody has started: TPM2_Startup is the firmware's business.
OTHER=$(free_port)
while port_answers $((OTHER + 1)); do OTHER=$(free_port); done
mkdir "$T/other-tpm"
start_daemon "$T/other-swtpm.out" "port_answers $((OTHER + 1))" env -u LD_PRELOAD swtpm socket --tpm2 \
    --tpmstate "dir=$T/other-tpm" --server "type=tcp,bindaddr=127.0.0.1,port=$OTHER" \
    --ctrl "type=tcp,bindaddr=127.0.0.1,port=$((OTHER + 1))" --flags not-need-init
fault tpm-unreadable 'behind the TCTI' "$(tcti "swtpm:port=$OTHER")"
sees TPM_RC_INITIALIZE

# --- keys
key_fault tpm-key-not-there 'where the TPM was cleared' tpm2:handle=0x8100abcd
fault key-not-there 'make the key' 's/object=device/object=other/'
key_fault key-label-wrong 'object=device' 'pkcs11:token=tpm-token;object=devcie'
key_fault key-file-unreadable 'correct the path' "$T/nowhere.tss2.pem"
printf '%s' 9999 > "$T/other.pin"
chmod 0600 "$T/other.pin"
WRONG="s|^pin-source = .*|pin-source = file:$T/other.pin|"
fault key-auth 'sent once' "$WRONG"
sees TPM_RC
healthy "${KEY[@]}"

# --- the lockout: a key that counts against it
tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u "$T/da.pub" -r "$T/da.priv" -p "$PIN" \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign'
tpm_tool tpm2_load -C 0x81000001 -u "$T/da.pub" -r "$T/da.priv" -c "$T/da.ctx"
tpm_tool tpm2_evictcontrol -C o -c "$T/da.ctx" 0x81000020
DA=tpm2:handle=0x81000020
tpm_tool tpm2_dictionarylockout -s -n 3 -t 100000 -l 0
healthy --key "$DA"
failures() {
    tpm_tool tpm2_getcap properties-variable
    awk '/TPM2_PT_LOCKOUT_COUNTER/ {print $2}' "$T/tpm.out"
}
edited "$GOOD" "$WRONG"
for wanted in 0x1:key-auth 0x2:key-auth 0x2:tpm-last-try 0x2:tpm-last-try; do
    OPENSSL_CONF=$T/edited.cnf blames "${wanted#*:}" '' --key "$DA"
    alone
    [ "$(failures)" = "${wanted%%:*}" ] || fail "$wanted: $(failures) failures"
done
blames tpm-last-try 'hwid pin unblock' --key "$DA" # the right one is not sent, either
sees '2 of 3 failures'
expect_failure env OPENSSL_CONF="$T/edited.cnf" openssl dgst -sha256 -sign "$DA" -out "$T/signature" "$T/pin"
blames tpm-lockout 'hwid pin unblock' --key "$DA"
alone
blames tpm-lockout 'wait, or end it'
tpm_tool tpm2_dictionarylockout -c
healthy --key "$DA"

# --- another TPM, or a cleared one
cp "$T/key.tss2.pem" "$T/mine.pem"
tpm_tool tpm2_clear -c p
key_fault tpm-parent-not-there 'gone for good' "$T/mine.pem"
blames tpm-key-not-there "gone for good" --key tpm2:handle=0x81000002
alone
make_parent 0x81000001 # which is another key now
key_fault tpm-key-foreign 'made by this TPM' "$T/mine.pem"
sees TPM_RC_INTEGRITY
