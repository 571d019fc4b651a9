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

# Each service that shuts devices out has a drop-in, of the installed packages that the table names, and
# of those of one source with them (redis-server beside redis-tools).
need dpkg-query
manual=$HWID_TESTS_DIR/../doc/hwid-programs.7.md
shuts_out='^(PrivateDevices=(true|yes|on|1)|DevicePolicy=(closed|strict)|DeviceAllow=)'
sed -nE 's/^\|.*\| ([a-z0-9.+-]+) [0-9][^|]*\|$/\1/p' "$HWID_TESTS_DIR/../doc/interop.md" | sort -u > "$T/packages"
[ "$(wc -l < "$T/packages")" -ge 20 ] || fail "few packages in the table: $(xargs < "$T/packages")"
while read -r file; do
    if ! grep -Eqs "$shuts_out" "$file" || grep -qx 'Type=oneshot' "$file"; then continue; fi # oneshot: no server
    grep -qF "/etc/systemd/system/${file##*/}.d/hwid.conf" "$manual" ||
        fail "hwid-programs(7) has no drop-in for ${file##*/}, which shuts devices out"
done < <(dpkg-query -W -f '${Package} ${source:Package}\n' |
    awk 'NR == FNR { named[$1]; next }
        { source[$1] = $2; if ($1 in named) wanted[$2] }
        END { for (package in source) if (source[package] in wanted) print package }' "$T/packages" - |
    xargs dpkg-query -L 2> /dev/null | grep -E '/systemd/system/[^/]+\.service$')

# The drop-ins are for units that do shut devices out, and for a haproxy.cfg that does have a chroot.
debian=$(sed -n 's/^VERSION_ID="*\([0-9]*\).*/\1/p' /etc/os-release) # none in what is not released
while read -r unit; do
    file=/usr/lib/systemd/system/$unit
    if [ ! -e "$file" ]; then file=/lib/systemd/system/$unit; fi
    if [ ! -e "$file" ]; then continue; fi # of a program that is not installed
    case $unit in
        haproxy.service) grep -qs '^[[:space:]]*chroot /var/lib/haproxy' /etc/haproxy/haproxy.cfg || fail "no chroot" ;;
        lighttpd.service) [ "${debian:-99}" -lt 13 ] || grep -Eq "$shuts_out" "$file" || fail "$unit shuts out no devices" ;;
        *) grep -Eq "$shuts_out" "$file" || fail "$unit shuts out no devices" ;;
    esac
done < <(grep -o '/etc/systemd/system/[^/]*\.service' "$manual" | sed 's|.*/||')

# What is in them systemd understands.
need systemd-analyze
mkdir "$T/units"
python3 - "$manual" "$T/units" << 'PY'
import pathlib, re, sys
text, units = open(sys.argv[1], encoding="utf-8").read(), pathlib.Path(sys.argv[2])
for number, block in enumerate(re.findall(r"^```ini\n(.*?)^```$", text, re.M | re.S)):
    (units / f"dropin-{number}.service").write_text(block + "ExecStart=/bin/true\n", encoding="utf-8")
PY
env -u LD_PRELOAD systemd-analyze verify --man=no "$T"/units/dropin-*.service > "$T/out" 2>&1 || fail "$(cat "$T/out")"
# Of other units on this machine it may have more to say.
if grep -F /units/dropin- "$T/out"; then fail "systemd does not understand a drop-in"; fi
