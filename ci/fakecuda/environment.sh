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
        _install_needs
        "$PY" "$ROOT/ci/fakecuda/make.py" "$1"
    ) 9>"$VENV/.fakecuda-lock"
}

_install_needs() {
    local missing
    missing=$("$PY" "$ROOT/ci/fakecuda/make.py" --missing) || exit
    # gpugrad, with all that its tests need, only into an environment of the project's own.
    if [[ $missing == gpugrad* ]]; then
        missing=${missing#gpugrad}
        if [ -z "${VIRTUAL_ENV:-}" ]; then
            install test,examples || die "pip could not install gpugrad; see above"
        fi
    fi
    if [ -n "${missing// /}" ]; then
        say "installing ${missing# } into $VENV"
        # shellcheck disable=SC2086  # one word a requirement
        "$PY" -m pip install --quiet --no-color --progress-bar off $missing ||
            die "pip could not install them; see above"
    fi
}
