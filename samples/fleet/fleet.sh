#!/bin/bash
# Many devices on one machine, each with a key of its own in hardware: makes their keys, provisions
# them and renews their certificates, some of them at once.
#
#   fleet.sh provision|renew TEMPLATE DEVICES DIRECTORY [OPTION OF HWID...]
#
# TEMPLATE is a device.conf in which @ stands for the number of the device; `key` is the URI of its
# private key (type=private), and `state-dir` a directory of its own. DIRECTORY gets device-N.conf and device-N.log. `provision`
# makes the keys that are missing, and then does `hwid provision aws` for the devices that have no
# certificate in use; `renew` does `hwid renew`, which leaves those alone that are not due, and does not
# try again for a while what failed: give it --now where it is to.
# FLEET_JOBS (8) devices are under way at once; each is tried FLEET_TRIES (6) times. A PIN that a token refuses
# is sent once: all stops then, since a further try may lock the token.
# Exit code: 0 all is well; 1 some devices are not: they are named, and a second run goes on with them.
set -euo pipefail
usage() { sed -n '/^# Many/,/^# Exit/s/^# \{0,1\}//p' "$0"; }

case ${1:-} in
    provision | renew) ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
esac
[ $# -ge 4 ] || { usage >&2 && exit 2; }
WORK=$1 TEMPLATE=$2 DEVICES=$3 DIRECTORY=$4
shift 4
JOBS=${FLEET_JOBS:-8} TRIES=${FLEET_TRIES:-6}

# Where the token and its PIN are, for what is done with a key by itself.
KEY_OPTIONS=()
for ((at = 1; at <= $#; at++)); do
    case ${!at} in
        --pin-source | --openssl-conf) next=$((at + 1)) && KEY_OPTIONS+=("${!at}" "${!next-}") ;;
        --pin-source=* | --openssl-conf=*) KEY_OPTIONS+=("${!at}") ;;
    esac
done

# By these names hwid says that the PIN is wrong, locked, expired or missing: its exit code 1 is any no.
PIN_REFUSED='CKR_PIN_|CKF_USER_PIN_|TPM_RC_AUTH_FAIL|TPM_RC_BAD_AUTH|TPM_RC_LOCKOUT|PIN (wrong|locked|expired|missing)'
REFUSED=$DIRECTORY/pin-refused # there as soon as one was, in this run
TAKEN=$DIRECTORY/pin-taken     # or had been taken

is_refused() { # of what hwid said: for the PIN. A renewal that waits tells what its last try met
    grep -E "$PIN_REFUSED" <<< "$1" > /dev/null && ! grep -E ': waiting$|"outcome": ?"waiting"' <<< "$1" > /dev/null
}
with_key() { # COMMAND...: of hwid, for a key; that the PIN was refused is noted
    local said code=0
    said=$(hwid "$@" "${KEY_OPTIONS[@]}" 2>&1 > /dev/null) || code=$?
    if [ $code != 0 ] && is_refused "$said"; then touch "$REFUSED"; fi
    # What else is wrong with a key that is to be renewed is for the renewal to say, if it is due.
    if [ -n "$said" ] && { [ "$WORK" = provision ] || [ -e "$REFUSED" ]; }; then echo "$said" >&2; fi
    return $code
}
is_stopped() {
    [ -e "$REFUSED" ] || return 1
    echo 'not tried: the PIN was refused for another device' >&2
}
# CONF: one device after the other, so that a PIN that is wrong is sent once; a token makes one key at a time.
look_at_key() {
    local uri code=0 lock
    uri=$(sed -n 's/^key *= *//p' "$1")
    exec {lock}> "$DIRECTORY/keys.lock"
    flock "$lock"
    if is_stopped; then
        code=1
    elif [ "$WORK" = provision ]; then
        # hwid list says no (1) where there is no such key.
        with_key list "$uri" || code=$?
        if [ $code = 1 ] && [ ! -e "$REFUSED" ]; then
            code=0
            with_key generate "$uri" --type ec:P-256 || code=$?
        fi
    elif [ ! -e "$TAKEN" ]; then
        with_key list "$uri" || code=$?
        if [ $code -le 1 ] && [ ! -e "$REFUSED" ]; then touch "$TAKEN"; fi
        if [ ! -e "$REFUSED" ]; then code=0; fi
    fi
    exec {lock}>&-
    return $code
}
once() { # CONF OPTION...
    look_at_key "$1" || return
    case $WORK in
        provision) hwid provision aws --if-needed --config "$@" ;;
        renew) hwid renew --config "$@" ;;
    esac
}
device() { # NUMBER OPTION...: until it succeeds, or nothing but its owner can help (2: usage, or a PIN)
    local conf=$DIRECTORY/device-$1.conf log=$DIRECTORY/device-$1.log try code seen option options
    sed "s/@/$1/g" "$TEMPLATE" > "$conf"
    touch "$log"
    shift
    for ((try = 1; try <= TRIES; try++)); do
        code=0
        seen=$(wc -c < "$log")
        once "$conf" "$@" >> "$log" 2>&1 < /dev/null || code=$?
        if [ $code != 0 ] && is_refused "$(tail -c "+$((seen + 1))" "$log")"; then touch "$REFUSED"; fi
        if [ $code = 0 ] || [ $code = 2 ] || [ -e "$REFUSED" ]; then return $code; fi
        # It is renewed, and a hook failed: --now would have another certificate made.
        if tail -c "+$((seen + 1))" "$log" | grep 'new certificate in use' > /dev/null; then
            options=()
            for option in "$@"; do if [ "$option" != --now ]; then options+=("$option"); fi; done
            set -- "${options[@]}"
        fi
        # Longer each time, up to half a minute, and not all at the same time.
        if [ $try -lt "$TRIES" ]; then sleep $((RANDOM % (1 << (try < 5 ? try : 5)) + 1)); fi
    done
    return $code
}
progress() { # TEXT: in one line of a terminal
    if [ -t 2 ]; then printf '\r\033[K%s' "$1" >&2; fi
}

mkdir -p "$DIRECTORY"
rm -f "$REFUSED" "$TAKEN"
declare -A number_of=() # of each process that is under way
done=0 failed=()
wait_for_one() {
    local pid code=0
    wait -n -p pid || code=$?
    done=$((done + 1))
    if [ $code != 0 ]; then failed+=("${number_of[$pid]}"); fi
    unset "number_of[$pid]"
    progress "$WORK: $done of $DEVICES devices, ${#failed[@]} failed"
}
# To look at a key of a TPM takes no auth value: there the first device that succeeds shows that it is right.
FIRST_ALONE=yes
if grep -q '^key *= *pkcs11:' "$TEMPLATE"; then FIRST_ALONE=no; fi
progress "$WORK: 0 of $DEVICES devices"
for ((number = 1; number <= DEVICES; number++)); do
    if [ ${#number_of[@]} -ge "$JOBS" ]; then wait_for_one; fi
    if [ "$FIRST_ALONE" = yes ] && [ $((done - ${#failed[@]})) = 0 ] && [ ${#number_of[@]} -gt 0 ]; then
        wait_for_one
    fi
    if [ -e "$REFUSED" ]; then break; fi
    device $number "$@" &
    number_of[$!]=$number
done
while [ ${#number_of[@]} -gt 0 ]; do wait_for_one; done
progress ''

rm -f "$TAKEN"
echo "$WORK: $((done - ${#failed[@]})) of $DEVICES devices"
for number in "${failed[@]}"; do
    echo "device $number: $(tail -n 1 "$DIRECTORY/device-$number.log")" >&2
done
if [ -e "$REFUSED" ]; then
    rm -f "$REFUSED"
    echo "$WORK: stopped: the PIN is wrong, locked or missing, and a further try may lock the token;" \
        "correct it, and run this again" >&2
fi
[ ${#failed[@]} = 0 ]
