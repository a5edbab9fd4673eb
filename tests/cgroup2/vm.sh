#!/bin/bash
# vm.sh GUEST_SCRIPT FILE... - boots Debian's kernel in qemu with cgroup v2 and PSI, and runs one script in it.
#
# The guest is one initramfs: busybox, the script as /test.sh, the FILEs in /t, and the shared libraries that
# these need at the paths they have here. No disk and no share with the host: nothing done inside can
# reach it, and only the console comes out. Lines that start with "| " there are the script's words; the
# last has to be "| end STATUS", or the machine did not get that far, which counts as failure.
#
#   $CASES       arguments of the script
#   $VM_SECONDS  limit for the whole run (900)     $VM_MIB  memory (768)      $VM_LOG  console (build/cgroup2/console)
#   $VM_KERNEL   a linux-image .deb to take the kernel from, instead of fetching what apt names; kept beside it.
#                Where an image comes in parts: 'linux-binary.deb linux-modules.deb'
#
# Emulated throughout (TCG): what runs here is 10-15 times slower than outside.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
cache=build/cgroup2${VM_KERNEL:+/$(basename "${VM_KERNEL%% *}" .deb)}
log=${VM_LOG:-$cache/console}
mkdir -p "$cache"

die() { echo "cgroup2 vm: $*" >&2; exit 1; }

check_tools() {
    local tool missing=''
    for tool in qemu-system-x86_64 busybox xz dpkg-deb apt-get; do
        type -P "$tool" >/dev/null || missing+=" $tool"
    done
    [ -z "$missing" ] || die "missing:$missing; tests/setup/install.sh cgroup2"
}

# A 32-bit little-endian number at a byte offset of a file.
number_at() { od -An -tu4 -j "$2" -N 4 "$1" | tr -d ' '; }

# Debian's image unpacks itself, which takes a minute when emulated; qemu also starts the ELF file inside it.
# Where that lies is in the boot header: setup sectors, payload offset, payload length.
unpack_kernel() {
    local image=$1 setup payload size unpack=xz
    setup=$(od -An -tu1 -j $((0x1f1)) -N 1 "$image")
    payload=$(((setup + 1) * 512 + $(number_at "$image" $((0x248)))))
    size=$(number_at "$image" $((0x24c)))
    # zstd from Linux 6.12 on.
    [ "$(number_at "$image" "$payload")" != $((0xfd2fb528)) ] || unpack=zstd
    # The last four bytes of the payload are its unpacked length.
    dd if="$image" iflag=skip_bytes,count_bytes skip=$payload count=$((size - 4)) bs=1M status=none |
        $unpack -dc >"$cache/vmlinux.new" ||
        die "cannot unpack $image"
    mv "$cache/vmlinux.new" "$cache/vmlinux"
}

fetch_kernel() {
    local deb=${VM_KERNEL:-} name dir part
    dir=$(mktemp -d "$cache/deb.XXXXXX")
    if [ -z "$deb" ]; then
        name=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
        [ -n "$name" ] || die 'apt knows no linux-image-amd64: run apt-get update'
        (cd "$dir" && apt-get -qq -o APT::Sandbox::User=root download "$name") || die "cannot download $name"
        deb=$(echo "$dir"/*.deb)
    fi
    for part in $deb; do dpkg-deb -x "$part" "$dir/root"; done
    mkdir -p "$cache/modules"
    find "$dir/root" \( -name 'zsmalloc.ko*' -o -name 'lz4*_compress.ko*' -o -name 'zram.ko*' \) -exec cp {} "$cache/modules/" \;
    find "$cache/modules" -name '*.xz' -exec xz -d {} +
    unpack_kernel "$(find "$dir/root" -name 'vmlinuz*' -type f)"
    rm -rf "$dir"
}

# Copies a program's or library's own libraries, under the paths the loader will look for.
add_libraries() {
    local path
    ldd "$1" | grep -o '/[^ ]*' | while read -r path; do
        [ -e "$root$path" ] || install -D "$(realpath "$path")" "$root$path"
    done
}

build_root() {
    local file
    mkdir -p "$root"/{bin,proc,sys,dev,tmp,t,modules}
    cp "$(type -P busybox)" "$root/bin/busybox"
    cp "$cache"/modules/*.ko "$root/modules/"
    cp "$here/init" "$root/init"
    cp "$1" "$root/test.sh"
    echo "${CASES:-}" >"$root/cases"
    chmod +x "$root/init"
    shift
    for file; do
        cp "$file" "$root/t/"
        add_libraries "$file"
    done
}

boot() {
    local status=0
    # -cpu max: the library may be built for more than qemu's default. la57 off: it slows emulation.
    timeout -k 5 "${VM_SECONDS:-900}" qemu-system-x86_64 -machine q35 -accel tcg -cpu max,la57=off -smp 2 \
        -m "${VM_MIB:-768}" -nodefaults -display none -no-reboot -serial "file:$log" \
        -kernel "$cache/vmlinux" -initrd "$work/initrd" \
        -append 'console=ttyS0 loglevel=1 oops=panic panic=-1 psi=1 mitigations=off nokaslr rdinit=/init' \
        </dev/null >"$work/qemu" 2>&1 || status=$?
    [ "$status" -ne 124 ] || echo "cgroup2 vm: cut off after ${VM_SECONDS:-900} s" >&2
    cat "$work/qemu" >&2
}

check_tools
[ -s "$cache/vmlinux" ] && [ -d "$cache/modules" ] || fetch_kernel
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
build_root "$@"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"
boot
tr -d '\r' <"$log" | sed -n 's/^| //p' | grep -v '^end ' || true
end=$(tr -d '\r' <"$log" | sed -n 's/^| end //p')
[ -n "$end" ] || { tail -n 20 "$log" >&2; die "no end of the script on the console ($log)"; }
exit "$end"
