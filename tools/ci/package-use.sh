#!/bin/bash
# Of package-test.sh, as root in a chroot in which the packages were just installed: what a user
# does on the first day.
set -euo pipefail
cd "$(mktemp -d)"
hwid --help > /dev/null
hwid init softhsm --dir "$PWD/dev" > init.out
hwid enable --from "$PWD/dev/hwid.cnf"
openssl list -providers | grep -q 'hwid' || { echo "hwid is not enabled"; exit 1; }
hwid generate hwid://device > generate.out
openssl req -new -subj /CN=packaged -key hwid://device -out device.csr
openssl req -verify -noout -in device.csr
hwid doctor --key hwid://device
hwid-publish --help > /dev/null
test -s /usr/share/man/man7/hwid-provider.7.gz
echo "Size of what is installed, in KiB:"
dpkg-query -W -f '  ${Package} ${Installed-Size}\n' hwid hwid-provider libhwid-transport0 libhwid-transport-dev
echo "Sizes of the binaries, stripped, in bytes:"
stat -c '  %n %s' "$(openssl version -m | sed 's/.*"\(.*\)"/\1/')/hwid.so" /usr/bin/hwid \
    "$(find /usr/lib -name 'libhwid-transport.so.0.*')"
