#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The whole test suite. A line for each step with its time, the end of its output where it fails, and at last
# `N passed, N failed`; exit status 1 if a step failed. Whole outputs are in target/test-logs.
#
#   tests/run.sh             everything
#   tests/run.sh STEP...     only these
#   tests/run.sh --list      the names of the steps
#
# Two builds serve all steps: the dev profile (clippy, cargo test: with debug assertions and overflow checks) and the
# release profile (what users run: examples, interop tests, Meson).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
export CARGO_TERM_COLOR=never LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
export RSWEBRTC_PLUGIN_DIR=$CARGO_TARGET_DIR/release
if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
fi
logs=$CARGO_TARGET_DIR/test-logs
mkdir -p "$logs"

# name | limit in seconds | needs this step | command
steps="
setup|900||scripts/setup.sh --tests
scripts|60||check_scripts
check-layers|60||scripts/check-layers.py --self-test && scripts/check-layers.py
check-overflow|60||scripts/check-overflow.py --self-test && scripts/check-overflow.py
check-docs-self-test|60||scripts/check-docs.py --self-test
rustfmt|60||cargo fmt --all --check -- --color never
clippy|900||cargo clippy --locked --workspace --all-targets -- -D warnings
clippy-all-features|600||cargo clippy --locked --all-targets --all-features -- -D warnings
clippy-no-features|600||cargo clippy --locked --all-targets --no-default-features -- -D warnings
clippy-fuzz|600||cargo clippy --manifest-path fuzz/Cargo.toml -- -D warnings
rustdoc|600||RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --no-deps --document-private-items
cargo-test-build|900||cargo test --locked --workspace --no-run
cargo-test|900|cargo-test-build|fill_registry && G_DEBUG=fatal_warnings cargo test --locked --workspace --no-fail-fast
build|900||cargo build --locked --release && cargo build --locked --release -p impaired-link
check-docs|60|build|scripts/check-docs.py '$RSWEBRTC_PLUGIN_DIR/libgstwebrtcrs.so'
examples|600|build|tests/examples.py
interop|1800|build|tests/interop/run.sh --again 3
meson|900|build|build_with_meson
"

# Shell and Python files that cannot even be read, and what shellcheck finds where it is installed.
check_scripts() {
    local -a shell python
    mapfile -t shell < <(find scripts tests benches gst-launch-examples .ci fuzz/run.sh -path '*/__pycache__' -prune -o -type f \( -name '*.sh' -o -path .ci/run \) -print)
    mapfile -t python < <(find scripts tests benches examples gst-launch-examples -type f -name '*.py')
    for script in "${shell[@]}"; do
        bash -n "$script" || return 1
    done
    python3 -c 'import ast, sys
for name in sys.argv[1:]:
    text = open(name, encoding="utf-8").read()
    ast.parse(text, name)
    assert "SPDX-License-Identifier: MPL-2.0" in text[:200], f"{name}: no SPDX line"' "${python[@]}" || return 1
    grep -L 'SPDX-License-Identifier: MPL-2.0' "${shell[@]}" | sed 's/$/: no SPDX line/' | { ! grep .; } || return 1
    if command -v shellcheck >/dev/null; then
        shellcheck -x --source-path=SCRIPTDIR "${shell[@]}"
    fi
}

# The registry is written by helper programs, in which warnings of other plugins are not our failures.
fill_registry() {
    export GST_REGISTRY=$CARGO_TARGET_DIR/tests-registry.bin
    gst-inspect-1.0 >/dev/null 2>&1
}

build_with_meson() {
    local folder
    folder=$(mktemp -d)
    # shellcheck disable=SC2064 # this folder, now
    trap "rm -rf '$folder'" EXIT
    meson setup "$folder/build" "$root" --prefix /usr &&
        meson compile -C "$folder/build" &&
        meson test -C "$folder/build" --no-suite rust --print-errorlogs &&
        DESTDIR=$folder/installed meson install -C "$folder/build" &&
        check_installed "$folder/installed"
}

# What Meson installed is found by GStreamer and by pkg-config.
check_installed() {
    local library pc reader told
    library=$(find "$1" -name libgstwebrtcrs.so)
    pc=$(find "$1" -name gstwebrtcrs.pc)
    reader=$(find "$1" -name rswebrtc-sdp -perm -u+x)
    [ -n "$library" ] && [ -n "$pc" ] && [ -n "$reader" ] || { echo "not installed: $1"; return 1; }
    "$reader" explain "$root/tests/fixtures/sdp/seed-chrome-offer.sdp" >/dev/null || return 1
    # Not piped into `grep -q`: that closes the pipe at its match, and what still writes there fails by SIGPIPE.
    told=$(GST_REGISTRY=$1/registry.bin GST_PLUGIN_PATH=$(dirname "$library") gst-inspect-1.0 rswebrtcsink) &&
        grep "Filename *$library" <<<"$told" &&
        PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --print-errors --exists gstwebrtcrs
}

# Runs inside `timeout`: this script again, with the step's command.
if [ "${1:-}" = --step ]; then
    while IFS='|' read -r name _ _ command; do
        if [ "$name" = "$2" ]; then
            eval "$command"
            exit
        fi
    done <<<"$steps"
    exit 2
fi

# A step is a process group of its own, which Ctrl-C at the terminal does not reach.
child=''
trap '[ -z "$child" ] || kill -TERM "$child" 2>/dev/null; exit 130' INT TERM

passed=0 failed=0
declare -A result=()
run_step() {
    local name=$1 limit=$2 needs=$3 log=$logs/$1.log began=$EPOCHREALTIME status=0 took
    if [ -n "$needs" ] && [ "${result[$needs]:-ok}" = failed ]; then
        echo "step '$needs' failed, and this one needs it" >"$log"
        status=1
    else
        timeout --kill-after=10 "$limit" "$root/tests/run.sh" --step "$name" >"$log" 2>&1 </dev/null &
        child=$!
        wait "$child" || status=$?
    fi
    took=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')
    if [ "$status" = 0 ]; then
        result[$name]=ok
        passed=$((passed + 1))
        printf 'ok   %-22s %s\n' "$name" "$took"
        grep '^unsteady: ' "$log" | sed 's/^/     /' || true
    else
        result[$name]=failed
        failed=$((failed + 1))
        [ "$status" != 124 ] || took="$took, over its limit"
        printf 'FAIL %-22s %s\n' "$name" "$took"
        # What failed first: whoever reads this may see only its beginning.
        grep -E '^(FAIL |failed: |error(\[|:)|test .* FAILED|.* panicked at )' "$log" | cut -c 1-300 | head -n 20 | sed 's/^/     /' || true
        tail -n 40 "$log" | sed 's/^/     /'
    fi
}

known=" $(cut -d '|' -f 1 <<<"$steps" | tr '\n' ' ')"
if [ "${1:-}" = --list ]; then
    tr -s ' ' '\n' <<<"$known" | sed '/^$/d'
    exit 0
fi
for name in "$@"; do
    [[ $known == *" $name "* ]] || { echo "no step '$name'; tests/run.sh --list shows them" >&2; exit 2; }
done
wanted=" $* "
while IFS='|' read -r name limit needs _ <&3; do
    if [ -n "$name" ] && { [ $# = 0 ] || [[ $wanted == *" $name "* ]]; }; then
        run_step "$name" "$limit" "$needs"
    fi
done 3<<<"$steps"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
