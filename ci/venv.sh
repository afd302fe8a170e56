# Sourced by ci/test and ci/demo: a virtual environment with what they need in it.
#
#   use_venv          makes or reuses the environment and sets PY to its Python.
#                     GPUGRAD_VENV names another folder than .venv; else an active
#                     environment (VIRTUAL_ENV) is used; PYTHON names the Python to make it with.
#   install EXTRAS    installs gpugrad, editable, with these extras ("test,examples"), unless
#                     that was done before and pyproject.toml has not changed since.
#   install_wheel REQ installs one more requirement, under the same rule.
#
# Both return pip's status, so that a caller can go on without what could not be had.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NAME=$(basename "$0")
# A log is no terminal: no colours, no bars.
export NO_COLOR=1 TERM=dumb PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset FORCE_COLOR PY_COLORS
# Where this is set, as in many container images, each process of the tests compiles 300 files anew
# and rewrites their assertions: 12 s before the first test.
unset PYTHONDONTWRITEBYTECODE

say() { printf 'ci/%s: %s\n' "$NAME" "$*"; }
die() {
    say "$*" >&2
    exit 1
}

_good_python() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

_find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        _good_python "$PYTHON" ||
            die "PYTHON=$PYTHON is not a Python >= 3.11 with the modules venv and ensurepip"
        printf '%s' "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if _good_python "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
    die "no Python >= 3.11 with venv and ensurepip found; python3 is" \
        "$(python3 --version 2>&1 || true). Install one (on Debian and Ubuntu: python3 and" \
        "python3-venv), or name one with PYTHON=/path/to/python3"
}

use_venv() {
    local python
    VENV=${GPUGRAD_VENV:-${VIRTUAL_ENV:-$ROOT/.venv}}
    PY=$VENV/bin/python
    if ! "$PY" -c '' 2>/dev/null; then
        python=$(_find_python) || exit 1
        say "making $VENV with $("$python" --version)"
        # --clear: what is there has no Python that runs (a moved or half-made environment).
        "$python" -m venv --clear "$VENV"
    fi
    "$PY" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$VENV has $("$PY" --version); gpugrad needs Python >= 3.11. Remove that folder or" \
            "name another with GPUGRAD_VENV"
}

_install_once() { # NAME PIP-ARGUMENTS...
    local name=$1 key stamp=$VENV/.gpugrad-stamp
    shift
    # The stamp's first line says what was installed from where; then one line an installation.
    key="$ROOT $(cksum <"$ROOT/pyproject.toml")"
    if [ "$(head -n 1 "$stamp" 2>/dev/null || true)" != "$key" ]; then
        printf '%s\n' "$key" >"$stamp"
    fi
    if grep -qxF -- "$name" "$stamp"; then
        return 0
    fi
    say "installing $name into $VENV"
    "$PY" -m pip install --quiet --no-color --progress-bar off "$@" || return
    printf '%s\n' "$name" >>"$stamp"
}

install() { _install_once "gpugrad[$1]" --editable "$ROOT[$1]"; }

install_wheel() { _install_once "$1" "$1"; }

# The name of the CuPy that is installed, or nothing.
cupy_found() {
    "$PY" - <<'PYTHON'
from importlib.metadata import distributions

names = {(d.name or "").lower() for d in distributions()}
print(next((n for n in sorted(names) if n == "cupy" or n.startswith("cupy-cuda")), ""), end="")
PYTHON
}
