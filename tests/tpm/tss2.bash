# shellcheck shell=bash
# Sourced by tests of keys in files: what tpm2-tools made, put into TSS2 PRIVATE KEY files by
# openssl's ASN.1 writer, field by field as draft-bottomley-tpm2-keys has them.

hex_of() { od -An -v -tx1 "$1" | tr -d ' \n'; }
unhex() { # of standard input
    local digits
    digits=$(cat)
    printf '%b' "$(sed 's/../\\x&/g' <<< "$digits")"
}
size_hex() { printf '%04x' $((${#1} / 2)); } # of the bytes that HEX has
tpm2b() { printf '%s%s' "$(size_hex "$1")" "$1"; }

pcr_selection() { # BANK PCR...: TPML_PCR_SELECTION; BANK: 000b = SHA-256, 0004 = SHA-1
    local bank=$1 pcr bits=0
    shift
    for pcr in "$@"; do bits=$((bits | 1 << pcr)); done
    printf '00000001%s03%02x%02x%02x' "$bank" $((bits & 255)) $((bits >> 8 & 255)) $((bits >> 16))
}

# Fields are written in the order in which they are given: what is left out is not in the file.
# FIELD: auth=true|false, policy=CODE:HEX[,CODE:HEX...], secret=HEX, named=NAME:CODE:HEX[,...][;NAME:...],
#        description=TEXT, rsa-parent=true, parent-name=HEX, parent=NUMBER, pub=FILE, priv=FILE, type=OID
write_tss2() { # FILE FIELD...
    local file=$1 field sections='' number=0 body='' type=2.23.133.10.1.3
    shift
    for field in "$@"; do
        number=$((number + 1))
        case $field in
            type=*) type=${field#*=} ;;
            auth=*) body+="f$number=EXPLICIT:0,BOOLEAN:${field#*=}"$'\n' ;;
            policy=*)
                body+="f$number=EXPLICIT:1,SEQUENCE:p$number"$'\n'
                sections+=$(policy_section "p$number" "${field#*=}")$'\n'
                ;;
            secret=*) body+="f$number=EXPLICIT:2,$(octets "${field#*=}")"$'\n' ;;
            named=*)
                body+="f$number=EXPLICIT:3,SEQUENCE:a$number"$'\n'
                sections+=$(named_section "a$number" "${field#*=}")$'\n'
                ;;
            description=*) body+="f$number=EXPLICIT:4,UTF8:${field#*=}"$'\n' ;;
            rsa-parent=*) body+="f$number=EXPLICIT:5,BOOLEAN:${field#*=}"$'\n' ;;
            parent-name=*)
                body+="f$number=EXPLICIT:6,$(octets "${field#*=}")"$'\n'
                ;;
            parent=*) body+="f$number=INTEGER:${field#*=}"$'\n' ;;
            pub=* | priv=*)
                body+="f$number=FORMAT:HEX,OCTETSTRING:$(hex_of "${field#*=}")"$'\n'
                ;;
            *) fail "write_tss2: no field $field" ;;
        esac
    done
    printf 'asn1=SEQUENCE:key\n[key]\ntype=OID:%s\n%s%s' "$type" "$body" "$sections" > "$T/asn1.cnf"
    plain_openssl asn1parse -genconf "$T/asn1.cnf" -noout -out "$T/asn1.der"
    {
        echo '-----BEGIN TSS2 PRIVATE KEY-----'
        plain_openssl base64 -in "$T/asn1.der"
        echo '-----END TSS2 PRIVATE KEY-----'
    } > "$file"
}
octets() { # HEX; openssl calls none of them illegal
    if [ -n "$1" ]; then echo "FORMAT:HEX,OCTETSTRING:$1"; else echo OCTETSTRING:; fi
}
named_section() { # NAME POLICIES
    local name=$1 policy list='' bodies='' number=0
    while read -r policy; do
        number=$((number + 1))
        list+="e$number=SEQUENCE:${name}e$number"$'\n'
        bodies+="[${name}e$number]"$'\n'"name=EXPLICIT:0,UTF8:${policy%%:*}"$'\n'
        bodies+="policy=EXPLICIT:1,SEQUENCE:${name}p$number"$'\n'
        bodies+=$(policy_section "${name}p$number" "${policy#*:}")$'\n'
    done <<< "${2//;/$'\n'}"
    printf '[%s]\n%s%s' "$name" "$list" "$bodies"
}
policy_section() { # NAME STATEMENTS
    local name=$1 statement list='' bodies='' number=0
    while read -r statement; do
        number=$((number + 1))
        list+="s$number=SEQUENCE:${name}s$number"$'\n'
        bodies+="[${name}s$number]"$'\n'"code=EXPLICIT:0,INTEGER:${statement%%:*}"$'\n'
        bodies+="body=EXPLICIT:1,$(octets "${statement#*:}")"$'\n'
    done <<< "${2//,/$'\n'}"
    printf '[%s]\n%s%s' "$name" "$list" "$bodies"
}

# The digest of a policy, by a trial session of tpm2-tools: "tpm2_policypcr -l sha256:16", ...
trial_policy() { # FILE HASH COMMAND...
    local file=$1 hash=$2 command
    shift 2
    tpm_tool tpm2_startauthsession -S "$T/trial.ctx" -g "$hash"
    for command in "$@"; do
        # shellcheck disable=SC2086  # words
        tpm_tool $command -S "$T/trial.ctx" -L "$file"
    done
    tpm_tool tpm2_flushcontext "$T/trial.ctx"
}
make_policy_key() { # NAME POLICY-FILE [ARGUMENT...]: NAME.pub and NAME.priv below 0x81000001, which
    # only the policy opens
    local name=$1 policy=$2
    shift 2
    tpm_tool tpm2_create -C 0x81000001 -G "${ALGORITHM:-ecc256}" -g "${HASH:-sha256}" \
        -u "$name.pub" -r "$name.priv" -L "$policy" \
        -a "${ATTRIBUTES:-fixedtpm|fixedparent|sensitivedataorigin|noda|sign|decrypt}" "$@"
}
persist() { # NAME HANDLE: of make_policy_key
    tpm_tool tpm2_load -C 0x81000001 -u "$1.pub" -r "$1.priv" -c "$1.ctx"
    tpm_tool tpm2_evictcontrol -C o -c "$1.ctx" "$2"
}
# What of a file tpm2_load takes: NAME.pub, NAME.priv.
split_tss2() { # FILE NAME
    local file=$1 name=$2 kind line
    sed '/-----/d' "$file" | plain_openssl base64 -d > "$T/split.der"
    plain_openssl asn1parse -inform DER -in "$T/split.der" | grep 'd=1 .*OCTET STRING' > "$T/split"
    for kind in pub priv; do
        line=$(tail -n 2 "$T/split" | sed -n "$([ $kind = pub ] && echo 1p || echo 2p)")
        [[ $line =~ ^\ *([0-9]+):d=1\ *hl=([0-9]+)\ *l=\ *([0-9]+) ]] || fail "$line"
        tail -c "+$((BASH_REMATCH[1] + BASH_REMATCH[2] + 1))" "$T/split.der" |
            head -c "${BASH_REMATCH[3]}" > "$name.$kind"
    done
}
