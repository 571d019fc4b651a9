#!/bin/bash
# hwid-programs(7) and tests/interop are of one mind: each block of a program is used by a row; row.sh
# lets none pass that uses none. What the manual allows Debian's services again, they do forbid.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
cd "$HWID_TESTS_DIR/interop"

python3 recipes.py --list | sort > "$T/shown"
# What a row uses: recipe SECTION NUMBER, SECTION in quotation marks where it has spaces.
sed -nE "s/.*\<(daemon_)?recipe ('[^']+'|[A-Za-z]+) ([0-9]+) .*/\2 \3/p" ./*.bash | tr -d "'" | sort -u > "$T/used"
[ "$(wc -l < "$T/shown")" -ge 40 ] || fail "few blocks: $(cat "$T/shown")"
diff "$T/shown" "$T/used" > "$T/out" || fail "shown (<) and used (>) differ: $(cat "$T/out")"
expect_failure python3 recipes.py nginx 2

# The drop-ins are for units that do shut devices out, and for a haproxy.cfg that does have a chroot.
while read -r unit; do
    file=/usr/lib/systemd/system/$unit
    if [ ! -e "$file" ]; then file=/lib/systemd/system/$unit; fi
    if [ ! -e "$file" ]; then continue; fi # of a program that is not installed
    case $unit in
        haproxy.service) grep -qs '^[[:space:]]*chroot /var/lib/haproxy' /etc/haproxy/haproxy.cfg || fail "no chroot" ;;
        *) grep -Eq '^(PrivateDevices=(true|yes)|DeviceAllow=)' "$file" || fail "$unit shuts out no devices" ;;
    esac
done < <(grep -o '/etc/systemd/system/[^/]*\.service' "$HWID_TESTS_DIR/../doc/hwid-programs.7.md" | sed 's|.*/||')

# What is in them systemd understands.
need systemd-analyze
mkdir "$T/units"
python3 - "$HWID_TESTS_DIR/../doc/hwid-programs.7.md" "$T/units" << 'PY'
import pathlib, re, sys
text, units = open(sys.argv[1], encoding="utf-8").read(), pathlib.Path(sys.argv[2])
for number, block in enumerate(re.findall(r"^```ini\n(.*?)^```$", text, re.M | re.S)):
    (units / f"dropin-{number}.service").write_text(block + "ExecStart=/bin/true\n", encoding="utf-8")
PY
env -u LD_PRELOAD systemd-analyze verify --man=no "$T"/units/dropin-*.service > "$T/out" 2>&1 || fail "$(cat "$T/out")"
# Of other units on this machine it may have more to say.
if grep -F /units/dropin- "$T/out"; then fail "systemd does not understand a drop-in"; fi
