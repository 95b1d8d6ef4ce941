#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# tapdisk is killed at random moments of a migration and opened again, KILLS times
# a strategy. Its guest goes on, misses nothing that it was told is written, and
# the migration ends as if nothing had been.
. "$(dirname "$0")/kills.sh"
needs jq

for strategy in ${STRATEGIES:-lr slr aio mirror dbt}; do
	begin "$strategy" 16
	ok "$strategy: is killed $KILLS times" kill_often "$KILLS"
	completes "$strategy"
done
done_testing
