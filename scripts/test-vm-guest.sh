# The part of scripts/test-vm.sh that runs inside of the guest, as root. It gets `tree`, `python`, `interpreter` and
# pytest's arguments.
# shellcheck shell=sh disable=SC2154 # they are set by who reads this file
set -eu

# Only what pytest makes, and its exit status, count: anything before that must not look like a result.
fail() {
    echo "test-vm-guest: $*" >&2
    exit 125
}

out=$tree/build/vm
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export SANDBOX_MUST_WORK=1

# virtme-ng's root has no cache, and asks the host for every page again: thirty times slower.
mkdir -p /run/host /run/written/upper /run/written/work /run/out
mount --bind "$out" /run/out
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose,access=any host /run/host
mount -t tmpfs -o mode=1777 tmp /tmp
for folder in /usr "$interpreter" "${python%/bin/python}"; do
    mkdir -p "$folder"
    mount --bind "/run/host$folder" "$folder"
done
mkdir -p "$tree"
mount -t overlay -o "lowerdir=/run/host$tree,upperdir=/run/written/upper,workdir=/run/written/work" tree "$tree"
cd "$tree"

[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || fail "/sys/fs/cgroup is not of version 2"
if grep -q ' cgroup ' /proc/mounts; then fail "control groups of version 1 are mounted, too"; fi
for controller in cpu io memory pids; do
    grep -qw "$controller" /sys/fs/cgroup/cgroup.controllers || fail "the controller $controller is missing"
done

{
    echo "kernel           $(uname -r) ($(uname -v))"
    echo "control groups   $(grep cgroup /proc/mounts)"
    echo "controllers      $(cat /sys/fs/cgroup/cgroup.controllers)"
    echo "Landlock ABI     $("$python" -c 'from worker.lockdown.landlock import abi_version; print(abi_version())')"
    echo "Python           $("$python" -V)"
    echo
} | tee /run/out/summary.txt

doctor=0
COLUMNS=160 "$python" -m executor doctor >/tmp/doctor.txt 2>&1 || doctor=1
tee -a /run/out/summary.txt </tmp/doctor.txt

# A pipe has the status of its last command.
{
    "$python" -m pytest -m "not stress" -o timeout=3600 --junitxml=/run/out/junit.xml "$@" 2>&1 || echo $? >/tmp/failed
} | tee /tmp/pytest.txt
{
    echo
    grep -E '^(FAILED|ERROR|SKIPPED) ' /tmp/pytest.txt || true
    tail -n 1 /tmp/pytest.txt
} >>/run/out/summary.txt

status=$(cat /tmp/failed 2>/dev/null || echo 0)
if [ "$status" = 0 ]; then status=$doctor; fi
echo "$status" >/run/out/status
