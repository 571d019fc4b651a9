#!/bin/bash
# samples/fleet: two hundred devices with keys in one token are provisioned, sixteen at once, and renewed,
# while both clouds fail in all their ways. Each ends with one certificate, and that works.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"
# shellcheck source=tests/tool/fleet.bash
. "$HWID_TESTS_DIR/tool/fleet.bash"
need python3

export FLEET_JOBS=16 FLEET_TRIES=15 # those who are first meet most of the faults
fleet_life 200
