#!/bin/bash
# hwid doctor: every two of these faults at once, one of each part of the way: the earlier one is the
# cause, and nothing is told but it and the other.
# shellcheck disable=SC2016  # sed has dollars
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
# shellcheck source=tests/tool/doctor_server.bash
. "$HWID_TESTS_DIR/tool/doctor_server.bash"
PIN=7315

token_credentials
start_authority
GOOD=$T/good.cnf
cp "$OPENSSL_CONF" "$GOOD"
export OPENSSL_CONF=$T/now.cnf
start_mosquitto server "${WITH_CERTIFICATE[@]}"

dated ended '40 days ago' '10 days ago' "$T/rsa.csr"
printf '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*",
    "Action": ["iot:Connect", "iot:Subscribe", "iot:Publish"]}]}' > "$T/deaf-policy.json"

# One of each part, in the order of the way. A TPM's key is named by its handle, in `objects`.
if in_tpm; then
    OF_DEVICE=(tcti-wrong key-not-there)
else
    OF_DEVICE=(module-not-there token-label-wrong pin-wrong key-label-wrong)
fi
FAULTS=(conf-key-misspelt "${OF_DEVICE[@]}" certificate-expired ca-unusable policy-without-receive no-tcp)
seed() { # ID: into the files that are good
    case $1 in
        conf-key-misspelt) sed -i 's/^pin-source/pin-sorce/' "$T/now.cnf" ;;
        module-not-there) sed -i "s|^module = $HWID_SOFTHSM_MODULE|module = /nowhere/x.so|" "$T/now.cnf" ;;
        token-label-wrong) sed -i 's/^token = line/token = lime/' "$T/now.cnf" ;;
        tcti-wrong) sed -i 's/^tcti = .*/tcti = swtmp/' "$T/now.cnf" ;;
        key-not-there) sed -i 's/0x81000002/0x810000f2/' "$T/now.cnf" ;;
        pin-wrong) echo 9999 > "$T/pin" ;;
        key-label-wrong) sed -i 's/object=rsa/object=rsx/' "$T/now.cnf" ;;
        certificate-expired) sed -i "s|$T/rsa.pem|$T/ended.pem|" "$T/device.conf" ;;
        ca-unusable) sed -i "s|$T/ca.pem|/nowhere.pem|" "$T/device.conf" ;;
        policy-without-receive) POLICY=(--policy "$T/deaf-policy.json") ;;
        no-tcp) sed -i 's|localhost:.*|127.0.0.1:1|' "$T/device.conf" ;;
    esac
}
# Certificate, CA and policy are files: nothing before them can break them. The network is asked by
# who has all that it needs.
is_told_after() { # FIRST SECOND
    case $2 in
        certificate-expired | ca-unusable | policy-without-receive) true ;;
        no-tcp) [ "$1" = policy-without-receive ] ;;
        *) false ;;
    esac
}
good() {
    cp "$GOOD" "$T/now.cnf"
    echo "$PIN" > "$T/pin"
    POLICY=()
    device
}

good
well --config "$T/device.conf"
# Each can be made alone, and is then told alone.
for one in "${FAULTS[@]}"; do
    good
    seed "$one"
    blames "$one" '' --config "$T/device.conf" "${POLICY[@]}"
    alone
done
for ((first = 0; first < ${#FAULTS[@]}; ++first)); do
    for ((second = first + 1; second < ${#FAULTS[@]}; ++second)); do
        good
        seed "${FAULTS[second]}"
        seed "${FAULTS[first]}"
        blames "${FAULTS[first]}" '' --config "$T/device.conf" "${POLICY[@]}"
        read_answer
        expected=''
        if is_told_after "${FAULTS[first]}" "${FAULTS[second]}"; then expected=${FAULTS[second]}; fi
        [ "$OTHERS" = "$expected" ] ||
            fail "${FAULTS[first]} and ${FAULTS[second]}: not '$expected' but '$OTHERS'"
    done
done
