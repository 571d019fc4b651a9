#!/bin/bash
# What bash offers at the cursor: what hwid's own table has, and the names of openssl.cnf.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tools/completion/hwid.bash
. "$HWID_TESTS_DIR/../tools/completion/hwid.bash"

offers() { # LINE WANTED: with the cursor at its end
    # shellcheck disable=SC2034  # for _hwid, as bash sets them
    COMP_LINE=$1 COMP_POINT=${#1}
    COMPREPLY=()
    _hwid
    [ "${COMPREPLY[*]}" = "$2" ] || fail "$1: ${COMPREPLY[*]}, not $2"
}
candidates() { # WORD...
    hwid complete -- "$@"
}
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:' # as readline has it
[[ $(complete -p hwid) = *_hwid* ]] || fail "$(complete -p hwid)"

HWID_CONF_MODULE=$T/no-such-module.so make_conf "$T/openssl.cnf" default-first 'line 7' \
    keys.device=pkcs11:object=a keys.web=pkcs11:object=b
export OPENSSL_CONF=$T/openssl.cnf

# Subcommands.
offers 'hwid gen' generate
offers 'hwid ca s' sign
offers 'hwid ca ' 'crl init list revoke sign'
offers 'hwid init ' 'softhsm swtpm token'
offers 'hwid no-such ' ''
offers 'hwid li st' '' # nobody has that
[[ "$(candidates '' | xargs)" = *' init list '* ]] || fail "$(candidates '')"

# Options, and what they take.
offers 'hwid delete hwid://device --ce' --certificate
offers 'hwid delete --owner-auth-source file:/x --oth' --other
offers 'hwid ca sign --prof' --profile
offers 'hwid list --pin-source ' 'file: env: credential: keyring:'
offers 'hwid list --pin-source cr' credential:
offers 'hwid list --pin-source=e' env: # without what readline keeps: it ends a word at =
offers 'hwid generate -t rsa:' '2048 3072 4096'
offers 'hwid generate hwid://device --type=ec:P-3' P-384
offers 'hwid ca sign a.csr --profile ' 'client server both'
offers 'hwid audit --op de' 'decrypt derive'
offers 'hwid csr hwid://device --days ' ''
offers 'hwid attest ' 'accept answer challenge evidence request'
offers 'hwid greengrass ' 'classic lite'
offers 'hwid greengrass classic --nuc' --nucleus-version
[ "$(candidates greengrass lite --conf-out '')" = :files ] || fail "$(candidates greengrass lite --conf-out '')"
offers 'hwid attest answer a.json --ek H-' 'H-1 H-2 H-3 H-4 H-6 H-7'
offers 'hwid csr hwid://device --evidence-form p' private
[ "$(candidates attest challenge '')" = :files ] || fail "$(candidates attest challenge '')"
[ "$(candidates enable --from '')" = :files ] || fail "$(candidates enable --from '')"
[ "$(candidates import hwid://device '')" = :files ] || fail "$(candidates import hwid://device '')"
[ "$(candidates ca sign '')" = :files ] || fail "$(candidates ca sign '')"
offers 'hwid enable --from /etc/ss' ''

# URIs: of openssl.cnf, whose module is not even there.
offers 'hwid list ' 'hwid://device hwid://web pkcs11:token=line%207'
offers 'hwid list h' 'hwid://device hwid://web'
offers 'hwid list hwid://w' //web # readline keeps "hwid:"
offers "hwid list 'hwid://w" hwid://web
offers 'hwid ca init --key hwid://d' //device
offers 'hwid delete --yes pkcs11:token=l' line%207
offers 'hwid list hwid://web ' "$(candidates list hwid://web '' | xargs)"
sed 's/^device=.*/mine=tpm2:/' "$T/openssl.cnf" > "$T/other.cnf"
offers "hwid list --openssl-conf $T/other.cnf hwid://m" //mine
OPENSSL_CONF=$T/no-such.cnf offers 'hwid list ' ''
echo '[' > "$T/broken.cnf"
OPENSSL_CONF=$T/broken.cnf offers 'hwid list ' ''

# Where the cursor is not at the end.
# shellcheck disable=SC2034
COMP_LINE='hwid gen hwid://device' COMP_POINT=8 COMPREPLY=()
_hwid
[ "${COMPREPLY[*]}" = generate ] || fail "${COMPREPLY[*]}"

# Nothing goes stale: every subcommand of --help, and every option of its own --help.
expect_exit 0 hwid --help
sed -n 's/^  \([a-z]*\( [a-z]*\)\{0,1\}\)  .*/\1/p' "$T/out" > "$T/commands"
[ "$(wc -l < "$T/commands")" -ge 19 ] || fail "too few: $(cat "$T/commands")"
while read -r -a command; do
    candidates "${command[@]:0:${#command[@]}-1}" '' | grep -qxF -- "${command[-1]}" ||
        fail "no ${command[*]}"
    hwid "${command[@]}" --help | sed -n 's/^  [^ ]*\(-. \[ \)*\(--[a-z-]*\).*/\2/p' | sort > "$T/help"
    grep -qx -- --json "$T/help" || fail "${command[*]}: $(cat "$T/help")"
    candidates "${command[@]}" - | sort | diff "$T/help" - || fail "${command[*]}"
done < "$T/commands"
