#!/usr/bin/env bash
# Compares with other packages, in a virtual environment of its own under target/. `plots` compares
# scores and plots with SHAP's. `compare` prints two tables: other ways to learn, and the times and
# errors of SHAP. `record` rewrites the recorded values. FEAMOE_DATA names the folder with
# adult.data and adult.test.
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-plots}" in
    plots) programs=(plots.py) ;;
    compare) programs=(ways.py compare.py) ;;
    record) programs=(record_values.py) ;;
    *) echo "found \`$1\`, expected plots (the default), compare or record" >&2; exit 2 ;;
esac

environment=target/peers
if [ ! -x $environment/bin/python ]; then
    "${PYTHON:-python3}" -m venv $environment
fi
$environment/bin/pip install --quiet --disable-pip-version-check --requirement tests/peers/requirements.txt
cargo build --quiet --release --locked -p feamoe

cd tests/peers
python() { ../../$environment/bin/python "$@"; }
python model.py
for program in "${programs[@]}"; do python "$program"; done
