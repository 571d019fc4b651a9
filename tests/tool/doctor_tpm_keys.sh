#!/bin/bash
# hwid doctor: what keeps a TPM from using a key - slots, policies, parents, a restart - one fault at
# a time, made with swtpm and tpm2-tools.
# shellcheck disable=SC2016,SC2317  # messages have backticks and dollars
HWID_WORLD=tpm
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
need swtpm tpm2_createprimary tpm2_pcrextend
PIN=7315

make_token tpm-token ec:P-256,label=device
GOOD=$T/good.cnf
make_conf "$GOOD" default-first tpm-token 'keys.device=pkcs11:token=tpm-token;object=device' \
    dev.policies=hwid_policies
printf '[hwid_policies]\nbooted = policy_booted\n[policy_booted]\nstatements = pcr\npcr = sha256:16\n' >> "$GOOD"
export OPENSSL_CONF=$GOOD
key_fault() { # ID FIX URI
    blames "$1" "$2" --key "$3"
    alone
}
generate() { # FILE OPTION...
    hwid generate tpm2: --out "$@" > "$T/text" 2>&1 || fail "$(cat "$T/text")"
}
extend() { # PCR
    tpm_tool tpm2_pcrextend "$1:sha256=$(printf '%064d' 1)"
}
healthy --key hwid://device

# --- another key than the section's parent-name says is its parent, where no session is needed
sed '/^pin-source = /d' "$GOOD" > "$T/free.cnf"
OPENSSL_CONF=$T/free.cnf generate "$T/free.pem"
OPENSSL_CONF=$T/free.cnf healthy --key "$T/free.pem"
sed "s/^parent = .*/&\nparent-name = 000b$(printf '%064d' 7)/" "$T/free.cnf" > "$T/pinned.cnf"
OPENSSL_CONF=$T/pinned.cnf blames key-does-not-sign '' --key "$T/free.pem"
alone
sees 'not the one that parent-name asks for'
OPENSSL_CONF=$T/pinned.cnf refused 3 'not the one that parent-name asks for' \
    hwid generate tpm2: --out "$T/pinned.pem"

# --- a policy that is not met any more, and one that openssl.cnf does not have
generate "$T/bound.pem" --policy-pcr sha256:16
healthy --key "$T/bound.pem"
extend 16
key_fault tpm-policy tpm2_pcrread "$T/bound.pem"
sees 'PCR 16'
sees 'the policy wants'
key_fault key-fails 'as the message says' 'tpm2:handle=0x81000002?policy=boted'
sees 'boted'

# --- a parent with an auth value of its own, which is not said, or wrong
make_parent 0x81000010 ecc parent-auth
(umask 077 && echo parent-auth > "$T/parent.pin" && echo other > "$T/wrong.pin")
generate "$T/below.pem" --parent 0x81000010 --parent-auth-source "file:$T/parent.pin"
BELOW="tpm2:file=$T/below.pem?parent-pin-source=file:$T"
healthy --key "$BELOW/parent.pin"
key_fault tpm-parent-auth '?parent-pin-source=file:PATH' "$BELOW/wrong.pin"
sees TPM_RC
key_fault tpm-parent-auth TPM2OPENSSL_PARENT_AUTH "$T/below.pem"
TPM2OPENSSL_PARENT_AUTH=parent-auth healthy --key "$T/below.pem"
if grep -qE 'parent-auth' "$T/out"; then fail "the auth value is shown: $(cat "$T/out")"; fi

# --- the parent is gone
tpm_tool tpm2_evictcontrol -C o -c 0x81000010
key_fault tpm-parent-not-there 'tpm2_evictcontrol' "$T/below.pem"
sees TPM_RC_HANDLE

# --- no slot is left: somebody else's objects are in all of them, and no resource manager is there
generate "$T/loaded.pem"
for slot in 1 2 3 4; do
    if ! env -u LD_PRELOAD -u OPENSSL_CONF TPM2TOOLS_TCTI="$TPM_TCTI" TSS2_LOG=all+NONE \
        tpm2_createprimary -C o -G ecc -c "$T/slot-$slot.ctx" > "$T/text" 2>&1; then break; fi
done
[ "$slot" -gt 1 ] || fail "$(cat "$T/text")"
key_fault tpm-no-slots 'device:/dev/tpmrm0' "$T/loaded.pem"
sees TPM_RC_OBJECT_MEMORY
sees tpm2_flushcontext
tpm_tool true # which flushes them
healthy --key "$T/loaded.pem"

# --- the TPM was started anew: what was below its null hierarchy is gone, and nothing else is
generate "$T/passing.pem" --parent null
healthy --key "$T/passing.pem"
stop_daemon "$TPM_PID"
TPM_PORT=${TPM_TCTI##*=} start_tpm
key_fault tpm-key-foreign 'null hierarchy' "$T/passing.pem"
sees TPM_RC_INTEGRITY
healthy --key hwid://device
healthy --key "$T/loaded.pem"
healthy --key "$T/bound.pem" # PCR 16 is what it was

# --- two at once: what comes first on the way
extend 16
TPM2OPENSSL_PARENT_AUTH=nothing blames tpm-parent-auth '' --key "$T/bound.pem"
alone
sed "s|^tcti = .*|tcti = swtpm:port=$(free_port)|" "$GOOD" > "$T/edited.cnf"
OPENSSL_CONF=$T/edited.cnf blames tpm-not-reached '' --key "$T/bound.pem"
alone
