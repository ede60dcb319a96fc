#!/bin/sh
# Install what scripts/test-vm.sh needs, or say what to install: Debian's packages, and virtme-ng in build/vm/venv.
#
# Packages are installed with apt-get when this runs as root, and named otherwise. virtme-ng comes from
# requirements/vm.lock, hashes checked. Whatever is there already is left alone.
set -eu

cd "$(dirname "$0")/.."
venv=build/vm/venv
lock=requirements/vm.lock

say() { printf 'setup-vm: %s\n' "$*" >&2; }

# Whether there is a kernel with its modules that this user may read.
have_kernel() {
    for image in /boot/vmlinuz-*; do
        if [ -r "$image" ] && [ -d "/lib/modules/${image#/boot/vmlinuz-}" ]; then return 0; fi
    done
    return 1
}

find_missing() {
    missing=
    command -v qemu-system-x86_64 >/dev/null 2>&1 || missing="$missing qemu-system-x86"
    command -v modprobe >/dev/null 2>&1 || missing="$missing kmod"
    command -v busybox >/dev/null 2>&1 || missing="$missing busybox-static"
    [ -n "${VM_KERNEL:-}" ] || have_kernel || missing="$missing linux-image-amd64"
}

if [ "$(uname -m)" != x86_64 ]; then
    say "only for x86-64; this machine is $(uname -m)"
    exit 1
fi
PATH=$PATH:/usr/sbin:/sbin
find_missing
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing$missing"
    # shellcheck disable=SC2086 # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends $missing
    find_missing
fi
if [ -n "$missing" ]; then
    say "install what is missing (Debian's names): apt-get install --no-install-recommends$missing"
    say "a kernel that is installed already, but not for everybody to read, can be named: VM_KERNEL=/path/to/vmlinuz"
    exit 1
fi

if ! cmp -s "$lock" "$venv/.setup-vm"; then
    say "installing $lock into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --require-hashes -r "$lock"
    cp "$lock" "$venv/.setup-vm"
fi
