#!/usr/bin/env bash
# Builds the documentation's site in the environment of this clone.
set -euo pipefail

usage() {
  cat <<'HELP'
usage: bash tools/docs.sh [--help]

Builds the site from docs/ and the docstrings into docs/_build/html, anew every time,
and prints where its first page is. Any warning of Sphinx is an error: the exit status
is then 1, and the site that was there before stays as it was.

  --help  this text
HELP
}

for argument in "$@"; do
  case $argument in
    -h | --help) usage; exit 0 ;;
    *) printf 'docs.sh: unknown argument %q (--help lists what there is)\n' "$argument" >&2; exit 2 ;;
  esac
done

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
bash "$clone/tools/setup.sh" --quiet
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
export PYTHONWARNINGS=${PYTHONWARNINGS:-ignore}  # of imported libraries, not Sphinx's
export MPLBACKEND=${MPLBACKEND:-Agg}

build=$clone/docs/_build
mkdir -p "$build"
new=$(mktemp -d "$build/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
status=0
"$clone/.venv/bin/python" -m sphinx --builder html --fail-on-warning --keep-going --quiet \
  --doctree-dir "$new/doctrees" "$clone/docs" "$new/html" || status=$?
if [[ $status != 0 ]]; then
  printf 'docs.sh: the site was not built; Sphinx says above why\n' >&2
  exit 1
fi
rm -rf "$build/html"
mv "$new/html" "$build/html"
printf 'the site: %s\n' "$build/html/index.html"
