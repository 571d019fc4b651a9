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
# FLEET_JOBS (8) devices are under way at once; each is tried FLEET_TRIES (6) times.
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

make_key() { # CONF: unless it is there. hwid list says no (1) where it is not. A token makes one at a time
    local uri code=0 lock
    uri=$(sed -n 's/^key *= *//p' "$1")
    exec {lock}> "$DIRECTORY/keys.lock"
    flock "$lock"
    hwid list "$uri" > /dev/null || code=$?
    if [ $code = 1 ]; then
        code=0
        hwid generate "$uri" --type ec:P-256 || code=$?
    fi
    exec {lock}>&-
    return $code
}
once() { # CONF OPTION...
    case $WORK in
        provision) make_key "$1" && hwid provision aws --if-needed --config "$@" ;;
        renew) hwid renew --config "$@" ;;
    esac
}
device() { # NUMBER OPTION...: until it succeeds, or nothing but its owner can help (2: usage)
    local conf=$DIRECTORY/device-$1.conf log=$DIRECTORY/device-$1.log try code seen option options
    sed "s/@/$1/g" "$TEMPLATE" > "$conf"
    touch "$log"
    shift
    for ((try = 1; try <= TRIES; try++)); do
        code=0
        seen=$(wc -c < "$log")
        once "$conf" "$@" >> "$log" 2>&1 < /dev/null || code=$?
        if [ $code = 0 ] || [ $code = 2 ]; then return $code; fi
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
progress "$WORK: 0 of $DEVICES devices"
for ((number = 1; number <= DEVICES; number++)); do
    if [ ${#number_of[@]} -ge "$JOBS" ]; then wait_for_one; fi
    device $number "$@" &
    number_of[$!]=$number
done
while [ ${#number_of[@]} -gt 0 ]; do wait_for_one; done
progress ''

echo "$WORK: $((done - ${#failed[@]})) of $DEVICES devices"
for number in "${failed[@]}"; do
    echo "device $number: $(tail -n 1 "$DIRECTORY/device-$number.log")" >&2
done
[ ${#failed[@]} = 0 ]
