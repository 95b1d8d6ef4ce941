#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# images.sh fetch|make DIR - what boot.sh boots: hypervisor, kernel, dom0 and guest
#
# All is Debian's, but for our own programs, which are what `make install` installs.
# fetch gets hypervisor and kernel into DIR/debs, once. They are unpacked, never installed:
# this machine's own boot loader must not come to know of them. make does the rest.

set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/../.."
out=$2
BUILD=${BUILD:-build}
xen=/usr/lib/xen-4.17/bin

fetch() {
	local kernel deb
	[ ! -d "$out/debs" ] || return 0
	rm -rf "$out/debs.new" && mkdir -p "$out/debs.new" && cd "$out/debs.new"
	kernel=$(apt-cache depends linux-image-amd64 | awk '/Depends:/ {print $2; exit}')
	apt-get download -q "${kernel:?}" xen-hypervisor-4.17-amd64
	for deb in *.deb; do
		dpkg -x "$deb" . && rm "$deb"
	done
	depmod -b . "$(ls lib/modules)"
	mv "$out/debs.new" "$out/debs"
}

# --- parts of a file system -----------------------------------------------------

libraries() { # PROGRAM: that it loads; a script has none
	ldd "$1" 2>/dev/null | grep -oE '/[^ )]+' || true
}

add() { # ROOT PROGRAM...: with the libraries that it loads
	local root=$1 file
	shift
	for file; do
		[ -e "$root$file" ] || install -D "$file" "$root$file"
		libraries "$file" | while read -r file; do
			[ -e "$root$file" ] || install -D "$file" "$root$file"
		done
	done
}

add_installed() { # ROOT: what `make install` put there gets its libraries
	find "$1/usr" -type f -perm -u+x | while read -r file; do
		libraries "$file" | while read -r file; do
			[ -e "$1$file" ] || install -D "$file" "$1$file"
		done
	done
}

modules() { # ROOT NAME...: and /modules/load, which says in which order
	local root=$1 name file
	shift
	mkdir -p "$root/modules"
	for name; do
		modprobe -d "$out/debs" -S "$version" --show-depends "$name"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r file; do
		cp "$file" "$root/modules/"
		echo "${file##*/}"
	done >"$root/modules/load"
}

xenstore=(/usr/bin/xenstore-{chmod,exists,list,ls,read,rm,watch,write})

# The kernel inside a bzImage: an emulated processor takes seconds to unpack it.
unpacked() { # BZIMAGE; its header is described in Linux's Documentation/x86/boot.rst
	local setup_sects payload_offset payload_length
	read -r setup_sects < <(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
	read -r payload_offset payload_length < <(od -An -tu4 -j $((0x248)) -N 8 "$1")
	((payload_length -= 4)) # its last word is no part of the xz stream
	head -c $(((setup_sects + 1) * 512 + payload_offset + payload_length)) "$1" |
		tail -c "$payload_length" | xz -dc
}

pack() { # ROOT: as a kernel takes it
	(cd "$1" && find . | cpio -o -H newc --quiet -R 0:0)
}

guest() {
	local root=$out/guest
	rm -rf "$root" && mkdir -p "$root"/{bin,dev,mnt,proc,sys,tmp}
	cp /bin/busybox "$root/bin/"
	add "$root" "${xenstore[@]}"
	cp "$BUILD/tests/xen/load" "$root/bin/"
	modules "$root" xen-blkfront ext4
	install tests/xen/guest-init "$root/init"
}

dom0() {
	local root=$out/dom0
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,boot,var/{tmp,log/xen,lib/{xen,xenstored}}}
	ln -s /run "$root/var/run"
	make -s install DESTDIR="$(realpath "$root")" PREFIX=/usr SYSCONFDIR=/etc >/dev/null
	add_installed "$root"
	cp /bin/busybox "$root/bin/"
	# shellcheck disable=SC2086 # a list
	add "$root" /bin/bash /sbin/losetup /usr/bin/{jq,flock,stat} /sbin/{mke2fs,e2fsck} \
		/usr/sbin/nbd-client \
		/lib/x86_64-linux-gnu/libgcc_s.so.1 "${xenstore[@]}" \
		$xen/{xl,xenstored,xenconsoled,xenconsole,xen-init-dom0,libxl-save-helper,lsevtchn}
	ln -s mke2fs "$root/sbin/mkfs.ext4"
	modules "$root" xen-gntdev xen-evtchn xen-gntalloc xenfs xen-privcmd xen-blkback nbd loop \
		virtio_pci virtio_blk ext4
	mkdir -p "$root/tests/xen" "$root/etc/xen"
	cp tests/*.sh "$root/tests/"
	cp tests/xen/* "$root/tests/xen/"
	cp xl-scripts/example-*.cfg "$root/etc/xen/"
	cp "$out/vmlinux" "$root/boot/"
	pack "$out/guest" | gzip -1 >"$root/boot/guest.gz"
	install tests/xen/dom0-init "$root/init"
}

mkdir -p "$out"
out=$(realpath "$out")
case $1 in
fetch) fetch ;;
make)
	version=$(ls "$out/debs/lib/modules")
	unpacked "$out"/debs/boot/vmlinuz-* >"$out/vmlinux"
	gunzip -c "$out/debs/boot/xen-4.17-amd64.gz" >"$out/xen"
	guest
	dom0
	pack "$out/dom0" >"$out/dom0.cpio"
	truncate -s 1G "$out/disk.new" && mkfs.ext4 -q -F "$out/disk.new" && mv "$out/disk.new" "$out/disk"
	;;
esac
