#!/bin/bash
# Of package-test.sh, as root in a chroot in which the packages were just installed: what a user
# does on the first day.
set -euo pipefail
cd "$(mktemp -d)"
hwid --help > /dev/null

# As hwid-programs(7) begins, with a token in the place of the one that the example names.
cp /usr/share/doc/hwid/examples/openssl.cnf /etc/hwid/openssl.cnf
(umask 077 && echo 1111 > /etc/hwid/dev.pin && echo 00000000 > so-pin)
hwid enable --from /etc/hwid/openssl.cnf > /dev/null
hwid init token pkcs11: --label softhsm2-token --so-pin-source "file:$PWD/so-pin" \
    --pin-source file:/etc/hwid/dev.pin > init.out
hwid generate hwid://device > generate.out
hwid ref hwid://device --out /etc/hwid/device.ref.pem > ref.out
hwid csr hwid://device --subject /CN=device-7 --usage client --out named.csr > csr.out
openssl req -verify -noout -in named.csr
openssl req -new -subj /CN=device-7 -key /etc/hwid/device.ref.pem -out referred.csr
openssl req -verify -noout -in referred.csr
rm /etc/hwid/*
hwid disable > /dev/null

# As on a desk.
hwid init softhsm --dir "$PWD/dev" > init.out
hwid enable --from "$PWD/dev/hwid.cnf"
openssl list -providers | grep -q 'hwid' || { echo "hwid is not enabled"; exit 1; }
hwid generate hwid://device > generate.out
openssl req -new -subj /CN=packaged -key hwid://device -out device.csr
openssl req -verify -noout -in device.csr
hwid doctor --key hwid://device
hwid-publish --help > /dev/null
test -s /usr/share/man/man7/hwid-provider.7.gz
/usr/share/doc/hwid/examples/samples/fleet/fleet.sh --help > /dev/null

# The units are there, nobody has enabled them, and they have their user and directories.
for unit in hwid-renew.timer hwid-telemetry.service; do
    [ "$(systemctl is-enabled $unit)" = disabled ] || { echo "$unit is not disabled"; exit 1; }
done
[[ " $(id -nG hwid) " == *" tss "* ]] || { echo "hwid is not in the group tss: $(id hwid)"; exit 1; }
[ "$(stat -c %U:%a /var/lib/hwid)" = hwid:755 ]
[ "$(stat -c %U:%a /etc/hwid)" = root:755 ]
systemctl enable hwid-renew.timer
[ "$(systemctl is-enabled hwid-renew.timer)" = enabled ]

# Programs are built with the library, by CMake and by pkg-config, and the samples are.
quietly() { "$@" > build.log 2>&1 || { tail -n 30 build.log && exit 1; }; }
printf 'endpoint = print://here\nclient-id = consumer\n' > consumer.conf
quietly cmake -S /consumer -B consumer
quietly cmake --build consumer
# shellcheck disable=SC2046  # options are words
c++ -std=c++20 $(pkg-config --cflags hwid-transport) /consumer/consumer.cpp -o by-pkg-config \
    $(pkg-config --libs hwid-transport)
for program in consumer/consumer ./by-pkg-config; do
    [ "$($program consumer.conf)" = "a/topic a payload" ] || { echo "$program failed"; exit 1; }
done
quietly cmake -S /usr/share/doc/hwid/examples/samples -B samples
quietly cmake --build samples --target hwid-publish openssl-sign
samples/hwid-publish --help > /dev/null
echo "Size of what is installed, in KiB:"
dpkg-query -W -f '  ${Package} ${Installed-Size}\n' hwid hwid-provider 'libhwid-transport*'
echo "Sizes of the binaries, stripped, in bytes:"
stat -c '  %n %s' "$(openssl version -m | sed 's/.*"\(.*\)"/\1/')/hwid.so" /usr/bin/hwid \
    "$(find /usr/lib -type f -name 'libhwid-transport.so.*')"
