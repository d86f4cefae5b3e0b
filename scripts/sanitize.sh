#!/usr/bin/env bash
# The kernels' own checks, then every op, the receiver and the drafters through the Python module, under AddressSanitizer
# and UndefinedBehaviorSanitizer. Needs the environment of `make test`; takes about ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
kinds=-DLEGATO_SANITIZE=address,undefined
package=$PWD/build/sanitize/package/legato

echo "legato: building the checks"
cmake -S native/tests -B build/sanitize/checks $kinds >/dev/null
cmake --build build/sanitize/checks --parallel --target checks >/dev/null
for kernels in linear attention sample; do "build/sanitize/checks/${kernels}_test"; done

echo "legato: building the module"
"$python" -m pip install --quiet --disable-pip-version-check 'nanobind>=2.4'
cmake -S . -B build/sanitize/module $kinds -DPython_EXECUTABLE="$python" -DLEGATO_PACKAGE="$package" >/dev/null
cmake --build build/sanitize/module --parallel >/dev/null
find src/legato -maxdepth 1 -mindepth 1 ! -name '_native*.so' -exec cp -r {} "$package" \;

# -S: the installed package redirects imports to its own module, and only `site` starts that.
libraries=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0 PYTHONDONTWRITEBYTECODE=1
PYTHONPATH=$(dirname "$package"):$libraries exec "$python" -S -m pytest -p no:cacheprovider tests/op \
  tests/bench/test_bench_receiver.py tests/native/test_native_drafters.py tests/native/test_native_book.py
