#!/bin/sh
# Run the tests of isolation in a virtual machine: a kernel of the distribution, and control groups of version 2 only.
#
#   [VM_...=...] scripts/test-vm.sh [PYTEST ARGUMENT...]
#
# The guest sees the files of this machine, read-only; what it writes stays in its memory, but for build/vm:
#
#   log.txt       all that it printed
#   summary.txt   its kernel, its control groups, what `executor doctor` says, and pytest's last line
#   junit.xml     the tests
#
# Without arguments, the tests named in CORE run. The exit status is pytest's; 1 if `executor doctor` found a layer
# missing; 125 if the guest ended before that, or did not end in time.
#
#   VM_KERNEL     the kernel's image: /boot/vmlinuz-*, the newest; its modules are in /lib/modules
#   VM_CPUS       2
#   VM_MEMORY     3G
#   VM_TIME       seconds after which the guest is stopped: 7200
#   VM_PATIENCE   by how much the times of the attacks are longer: 8
#   VM_KVM        1 to use the processor's virtualisation. Without it the guest is emulated: 15 times slower, but
#                 possible everywhere, in a virtual machine as well
#   VENV          the environment of the project: .venv
set -eu

cd "$(dirname "$0")/.."
tree=$(pwd -P)
out=build/vm
CORE="tests/executor/isolation tests/worker/lockdown tests/worker/test_slot.py tests/worker/test_zygote.py
    tests/worker/test_view.py tests/sandbox/test_contained.py tests/sandbox/test_endings.py
    tests/sandbox/test_limits_hold.py tests/sandbox/test_neighbours.py"

say() { printf 'test-vm: %s\n' "$*" >&2; }

# Print the newest kernel whose modules are there.
find_kernel() {
    for image in $(printf '%s\n' /boot/vmlinuz-* | sort -rV); do
        if [ -r "$image" ] && [ -d "/lib/modules/${image#/boot/vmlinuz-}" ]; then
            echo "$image"
            return
        fi
    done
}

# Print words as one line that a shell reads as the same words.
quote() {
    for word in "$@"; do printf " '%s'" "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")"; done
}

scripts/setup-vm.sh
mkdir -p $out
rm -f $out/log.txt $out/summary.txt $out/junit.xml $out/status
kernel=${VM_KERNEL:-$(find_kernel)}
# shellcheck disable=SC2086 # a list of names
if [ $# = 0 ]; then set -- $CORE; fi

python=$(cd "${VENV:-.venv}" && pwd -P)/bin/python
cat >$out/guest.sh <<GUEST
tree='$tree'
python='$python'
interpreter='$("$python" -c 'import sys; print(sys.base_prefix)')'
export SANDBOX_PATIENCE=${VM_PATIENCE:-8}
set --$(quote "$@")
. '$tree/scripts/test-vm-guest.sh'
GUEST

say "booting $kernel; see $out/log.txt"
began=$(date +%s)
PATH=$tree/$out/venv/bin:$PATH:/usr/sbin:/sbin
host="-fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"
if [ "${VM_KVM:-0}" = 1 ]; then kvm=; else kvm=--disable-kvm; fi
# 9p is slow, but needs nothing on this side. The guest mounts it once more, with a cache.
# `timeout` has a process group of its own, which it ends with all that it started; so we end `timeout`.
# shellcheck disable=SC2086 # nothing, or one option
timeout --kill-after=20 "${VM_TIME:-7200}" \
    vng --run "$kernel" --user root --force-9p --disable-microvm $kvm --name guest \
    --cpus "${VM_CPUS:-2}" --memory "${VM_MEMORY:-3G}" --append cgroup_no_v1=all --rwdir "$tree/$out" \
    --qemu-opts="$host -device virtio-9p-pci,fsdev=host,mount_tag=host" \
    --exec "sh '$tree/$out/guest.sh'" </dev/null >$out/log.txt 2>&1 &
guest=$!
trap 'kill $guest' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
tail -n +1 -f --pid=$guest $out/log.txt
ended=0
wait $guest || ended=$?
trap - EXIT

if [ -f $out/summary.txt ]; then
    echo
    cat $out/summary.txt
fi
say "$(($(date +%s) - began)) seconds"
if [ ! -f $out/status ]; then
    if [ $ended = 124 ]; then say "the guest did not end in time"; else say "the guest ended before its tests did"; fi
    exit 125
fi
exit "$(cat $out/status)"
