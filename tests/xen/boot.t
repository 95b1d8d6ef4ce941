#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016 # what is for the guest is expanded there
#
# A guest comes up, does what it is told, and is gone after xl destroy.
. "$(dirname "$0")/lib.sh"

ok 'a guest without a disk comes up' create_guest g
is "$(guest 'echo $((6 * 7))')" 42 'it does what it is told'
ok 'and says how that ended' eval "guest 'exit 3'; [ \$? = 3 ]"
ok 'it is destroyed' xl destroy g
refuses 'and gone' 'does not exist' xl domid g
done_testing
