#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The same where the journal is written anew all the time: many of the kills fall into
# the next file, its renaming, or the renaming of the live changes.
. "$(dirname "$0")/kills.sh"
needs jq

for strategy in ${STRATEGIES:-lr slr aio mirror dbt}; do
	begin "$strategy" 8 '.log_bytes = 4096'
	ok "$strategy, with checkpoints: is killed $KILLS times" kill_often "$KILLS"
	above "$(tap migrate inspect --json "$journal" | jq .epoch)" "$((KILLS / 2))" "$strategy: it was opened as often"
	completes "$strategy"
done
done_testing
