#!/bin/sh
# Build the virtual environment that the make targets use, or bring it up to date.
#
#   [VENV=.venv] [PYTHON=python3.12] scripts/setup.sh [LOCK]
#
# Without PYTHON it takes the first that runs of 3.13, 3.12, 3.11 and 3.14, from PATH or from pyenv: since 3.12 workers
# cost less (docs/decisions/0024-immortal-objects.md), and 3.14 is the last for which everything has been built.
#
# LOCK names a file of requirements/ without its suffix (default: dev). Everything is installed from that file, hashes
# checked, then the project itself in editable form. A stamp in the environment records what it was built from; as long
# as that holds, this script does nothing. A run that was interrupted leaves a mark, and the next run starts over.
set -eu

cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
lock=${1:-dev}
pyenv=${PYENV_ROOT:-${HOME:-/root}/.pyenv}
stamp=$venv/.setup-$lock
unfinished=$venv/.setup-unfinished

say() { printf 'setup: %s\n' "$*" >&2; }

# Print a word on what a python lacks; nothing when it can build the environment.
python_problem() {
    command -v "$1" >/dev/null 2>&1 || { echo "not found"; return; }
    "$1" -I - 2>/dev/null <<'PYTHON' || echo "does not run"
import sys
version = ".".join(map(str, sys.version_info[:3]))
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    print("is Python " + version)
else:
    try:
        import ensurepip, venv
    except ImportError:
        print("is Python " + version + ", but without venv (Debian, Ubuntu: apt-get install python3-venv)")
PYTHON
}

# Print the pythons to try. A python3.13 on PATH that is pyenv's may not run although pyenv has one.
candidates() {
    if [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
        return
    fi
    for version in 3.13 3.12 3.11 3 3.14; do
        echo "python$version"
        [ "$version" = 3 ] || ls -d "$pyenv/versions/$version".*/bin/python 2>/dev/null || true
    done
}

# Print the first python that can build the environment.
find_python() {
    report=
    for name in $(candidates); do
        problem=$(python_problem "$name")
        if [ -z "$problem" ]; then
            echo "$name"
            return
        fi
        report="$report
  $name: $problem"
    done
    say "no Python that can be used; needed is one of 3.11 to 3.14, with venv. Tried:$report"
    say "install one (Debian, Ubuntu: apt-get install python3-venv) or name one: make setup PYTHON=/path/to/python3.12"
    return 1
}

# Print what an environment is built from.
state() {
    cksum "requirements/$lock.lock" pyproject.toml executor/version.py scripts/setup.sh hatch_build.py worker/native/*.c
    echo "project $(pwd)"
    echo "venv $venv"
    "$venv/bin/python" -V 2>&1
}

minor_version() { "$1" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null; }

# Whether the environment was finished, and is of the python that was asked for, if one was.
right_venv() {
    [ -f "$venv/pyvenv.cfg" ] && [ ! -e "$unfinished" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$(minor_version "$venv/bin/python")" = "$(minor_version "$PYTHON")" ]
}

up_to_date() { right_venv && state 2>/dev/null | cmp -s - "$stamp"; }

usable_venv() { right_venv && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }

make_venv() {
    python=$(find_python)
    if [ -d "$venv" ] && [ -n "$(ls -A "$venv")" ]; then
        if [ ! -f "$venv/pyvenv.cfg" ] && [ ! -e "$unfinished" ]; then
            say "$venv exists and is not a virtual environment: remove it, or choose another with VENV=..."
            return 1
        fi
        say "$venv is unfinished, broken or of another Python: building it anew"
    fi
    mkdir -p "$venv"
    : >"$unfinished"
    find "$venv" -mindepth 1 -maxdepth 1 ! -name "${unfinished##*/}" -exec rm -rf {} +
    "$python" -m venv "$venv"
}

install() {
    : >"$unfinished"
    say "installing requirements/$lock.lock into $venv ($("$venv/bin/python" -V)); this takes a minute"
    pip="$venv/bin/python -m pip --disable-pip-version-check --no-input"
    $pip install --quiet --require-hashes -r "requirements/$lock.lock"
    $pip install --quiet --no-deps --no-build-isolation -e .
    if [ ! -f worker/native/native.so ]; then
        say "worker/native/native.so was not built: without a C compiler (apt-get install gcc libc6-dev) workers cost more"
    fi
    state >"$stamp"
    rm -f "$unfinished"
}

if up_to_date; then exit 0; fi
if command -v flock >/dev/null 2>&1; then
    exec 9<scripts/setup.sh # two runs at once, say `make serve` and `make test`: the second waits
    flock 9
    if up_to_date; then exit 0; fi
fi
usable_venv || make_venv
install
