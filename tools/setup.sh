#!/bin/sh
# Set up the virtual environment: sh tools/setup.sh PYTHON VENV base|dev|docs|zoo|lock
# Needs nothing but python3: where Debian has split venv off into a package of its own, that
# package is installed first.
set -eu
python=$1 venv=$2 what=$3

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

command -v "$python" >/dev/null || fail "there is no $python; install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; Steelyard needs Python 3.11 or newer"

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    command -v apt-get >/dev/null ||
        fail "$python has no ensurepip; install the package that brings python3-venv"
    echo "python3-venv is missing; installing it"
    sudo=''
    [ "$(id -u)" = 0 ] || sudo=sudo
    log=$(mktemp)
    { $sudo apt-get update &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
            python3-venv ca-certificates; } >"$log" 2>&1 ||
        { cat "$log" >&2 && fail "python3-venv could not be installed"; }
    rm -f "$log"
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() {
    "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"
}

case $what in
base)
    # Groups (PEP 735) need a pip that is newer than the one Debian ships.
    pip install --upgrade --constraint constraints.txt pip
    pip install --constraint constraints.txt --editable .
    ;;
dev) pip install --constraint constraints.txt --editable '.[hub]' --group dev ;;
docs) pip install --constraint constraints.txt --group docs ;;
zoo) pip install --constraint constraints.txt --group zoo ;;
lock)
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    "$python" -m venv "$fresh"
    "$fresh/bin/python" -m pip --quiet install --upgrade pip
    "$fresh/bin/python" -m pip --quiet install --editable '.[hub]' --group dev --group docs --group zoo
    {
        echo '# Versions that are known to work together; written by: make lock'
        "$fresh/bin/python" -m pip --disable-pip-version-check freeze --all --exclude setuptools --exclude-editable |
            sed 's/+cpu$//'
    } >constraints.txt
    ;;
*) fail "unknown: $what" ;;
esac
touch "$venv/.$what"
