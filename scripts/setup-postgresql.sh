#!/bin/sh
# Have PostgreSQL's server programs for the tests of the store; they start servers of their own, on unix sockets.
#
# Does nothing when they are there. Installs Debian's package as root, without a server that runs all the time. Where
# that cannot be, says what to install and ends well: those tests are then skipped, or fail with SANDBOX_MUST_WORK=1.
set -eu

say() { printf 'setup: %s\n' "$*" >&2; }

found() { command -v postgres >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }

install() {
    conf=/etc/postgresql-common/createcluster.conf
    if [ ! -e "$conf" ]; then
        mkdir -p "${conf%/*}"
        echo "create_main_cluster = false" >"$conf"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends postgresql
}

if found; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing the package postgresql, for the tests of the store"
    { install || { apt-get -q update && install; }; } >/dev/null 2>&1 || true
fi
if ! found; then
    say "PostgreSQL's server is missing, so the store is not tested with it. Debian, Ubuntu: apt-get install postgresql;"
    say "Fedora: dnf install postgresql-server; elsewhere: have postgres and initdb on the PATH"
fi
