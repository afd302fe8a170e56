# Sourced by build and run.
#
#   fakecuda_folder NAME   prints the folder to build into; NAME may be empty
#   fakecuda_build FOLDER  installs what the build needs, and builds what is out of date

source "$(dirname "${BASH_SOURCE[0]}")/../venv.sh"
NAME=fakecuda/$NAME

cannot() {
    say "the stand-in for CUDA can't be built here: $*" >&2
    exit 3
}

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || cannot "it needs x86-64 Linux, not $(uname -sm)"
command -v g++ >/dev/null || cannot "there is no g++"
[ "$(g++ -dumpversion | cut -d. -f1)" -ge 11 ] ||
    cannot "it needs g++ 11 or newer, not $(g++ -dumpversion)"

use_venv

fakecuda_folder() {
    local folder=${1:-${FAKECUDA:-}}
    if [ -z "$folder" ]; then
        folder=$VENV/fakecuda
        # An environment that several checkouts share has a folder for each of them.
        if [ "$(realpath "$VENV")" != "$(realpath "$ROOT")/.venv" ]; then
            folder+=-$(basename "$ROOT")
        fi
    fi
    mkdir -p "$folder"
    realpath "$folder"
}

# One process at a time: others wait, and then find all of it built.
fakecuda_build() {
    (
        flock 9
        _install_gpugrad
        make=("$PY" "$ROOT/ci/fakecuda/make.py")
        status=0
        "${make[@]}" "$1" || status=$?
        if [ "$status" -eq 4 ]; then # something is to be installed
            _install_needs "$("${make[@]}" --missing)"
            status=0
            "${make[@]}" "$1" || status=$?
        fi
        exit "$status"
    ) 9>"$VENV/.fakecuda-lock"
}

# With all that its tests need, and only into an environment of the project's own.
_install_gpugrad() {
    if [ -z "${VIRTUAL_ENV:-}" ] &&
        ! compgen -G "$VENV/lib/python3*/site-packages/gpugrad-*.dist-info" >/dev/null; then
        install test,examples || die "pip could not install gpugrad; see above"
    fi
}

_install_needs() { # "REQUIREMENT ..."
    say "installing $1 into $VENV"
    # shellcheck disable=SC2086  # one word a requirement
    "$PY" -m pip install --quiet --no-color --progress-bar off $1 ||
        die "pip could not install them; see above"
}
