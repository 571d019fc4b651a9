#!/bin/bash
# conf/openssl.cnf, hwid-provider(7) and the provider know the same settings.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/fixture/manual.bash
. "$HWID_TESTS_DIR/fixture/manual.bash"
ROOT=$HWID_TESTS_DIR/..
MANUAL=$ROOT/doc/hwid-provider.7.md

# What OpenSSL reads itself, and the names that the example gives to backends and keys.
OTHERS='activate|default|hwid|module|providers|openssl_conf|nodejs_conf|ssl_conf|random'
OTHERS+='|distinguished_name|dev|tpm|device'

in_example() { # the settings, commented out or not, up to what is not ours
    sed -n -e '/^## What TLS accepts/q' -e 's/^\(# \)\{0,1\}\([a-z0-9_-]*\) = .*/\2/p' \
        -e 's/^# \([a-z0-9_-]*\) =$/\1/p' "$ROOT/conf/openssl.cnf" | grep -vxE "$OTHERS" | sort -u
}
in_manual() { # what is described, also several in one
    manual_part '# CONFIGURATION' '^# ' "$MANUAL" | manual_terms | bold_words | grep -vxE "$OTHERS" |
        sort -u
}
in_provider() { # what the configuration's reader asks for
    local call='text\|list\|flag\|number\|secret\|parent\|object_name\|objects\|lookup\|nested\|words\|parameter'
    sed -n "s/.*\b\($call\)(\"\([a-z0-9_-]*\)\".*/\2/p" "$ROOT/provider/core/config.cpp" \
        "$ROOT/provider/ossl/provider.cpp" "$ROOT/provider/tpm2/policy_conf.cpp" | sort -u
}

in_example > "$T/example"
in_manual > "$T/manual"
in_provider > "$T/provider"
for list in example manual provider; do
    [ "$(wc -l < "$T/$list")" -ge 25 ] || fail "$list: too few settings: $(xargs < "$T/$list")"
done

MISSING=''
missing() { MISSING+=$'\n'$1; }
while read -r key; do
    grep -qw -- "$key" "$ROOT/conf/openssl.cnf" || missing "conf/openssl.cnf has no $key"
done < "$T/manual"
while read -r key; do
    bold_words < "$MANUAL" | grep -qw -- "$key" ||
        missing "hwid-provider(7) has no $key"
done < <(sort -u "$T/example" "$T/provider")
while read -r key; do
    grep -rqF "\"$key\"" "$ROOT/provider/core" "$ROOT/provider/ossl" "$ROOT/provider/tpm2" ||
        missing "the provider does not know $key"
    grep -rqF "\"$key\"" "$ROOT/tools/openssl_conf" "$ROOT/provider/tpm2/policy_conf.cpp" ||
        missing "hwid doctor does not know $key" # it leaves the policies' settings to the provider
done < <(sort -u "$T/example" "$T/manual")
[ -z "$MISSING" ] || fail "$MISSING"
