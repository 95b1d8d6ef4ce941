#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# boot.sh SCENARIO - boots Xen in software emulation and runs a scenario in its dom0
#
# What the scenario says is passed on: its comments to stderr, its TAP to stdout. The
# machine has one processor (a second one only makes it slower), no network, and a disk
# that forgets. What Xen and dom0's kernel say is in build/xen/SCENARIO.console.

set -u
images=$(realpath "${BUILD:-build}/xen")
scenario=${1##*/}
console=$images/$scenario.console

finished=
while read -r line; do
	case $line in
	'# end') finished=1 ;;
	'#'*) printf '%s\n' "$line" >&2 ;;
	*) printf '%s\n' "$line" ;;
	esac
done < <(
	# Other models of processors crash a PV dom0, or need KVM.
	exec timeout --foreground "${XEN_PATIENCE:-900}" qemu-system-x86_64 \
		-accel tcg -cpu qemu64 -smp 1 -m 1536 -display none -nodefaults -no-reboot \
		-kernel "$images/xen" \
		-append "com1=115200,8n1 console=com1 dom0_mem=900M,max:900M loglvl=warning" \
		-initrd "$images/vmlinux console=hvc0 quiet scenario=$scenario,$images/dom0.cpio" \
		-drive "file=$images/disk,format=raw,if=virtio,snapshot=on,cache=unsafe" \
		-serial "file:$console" -serial stdio </dev/null
)

[ -n "$finished" ] && exit
echo "# $scenario: the machine ended, or was stopped, before the scenario did; its console's end:" >&2
tail -n 30 "$console" | tr -d '\r' | sed 's/^/#   /' >&2
exit 1
