#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Fuzzes every target, or those named, one after another.
#
#   fuzz/run.sh [SECONDS [TARGET...]]     60 seconds each, if nothing else is said
#
# Needs cargo-fuzz (`cargo install cargo-fuzz --locked`); a stable compiler will do. Seeds are `fuzz/corpus/TARGET`
# and the fixtures of the tests; what is found to be new goes to the target directory, what breaks a rule to
# `fuzz/artifacts/TARGET`: a small one of each kind belongs into `fuzz/regressions`, which `cargo test` then tries.
# FUZZ_SANITIZER=address builds with AddressSanitizer, for the C and assembly of ring; everything is built anew.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
seconds=${1:-60}
[ $# -lt 1 ] || shift
build=${CARGO_TARGET_DIR:-$root/target}/fuzz
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$build
sanitizer=${FUZZ_SANITIZER:-none}
mapfile -t targets < <([ $# -gt 0 ] && printf '%s\n' "$@" || cargo fuzz list)

# The descriptions of the fixtures: as SDP, as the JSON that carries them, and offers with their answers behind them.
seeds=$build/seeds
rm -rf "$seeds"
mkdir -p "$seeds/sdp" "$seeds/message" "$seeds/compare"
python3 - "$seeds" <<'PYTHON'
import base64, json, pathlib, sys
seeds = pathlib.Path(sys.argv[1])
for path in pathlib.Path("tests/fixtures/sdp").rglob("*"):
    kind = "answer" if "answer" in path.name else "offer"
    if path.suffix == ".json":
        found = json.loads(path.read_text(encoding="utf-8"))
        kind, sdp = found.get("type"), found.get("sdp")
    elif path.suffix == ".sdp":
        sdp = path.read_bytes().decode()
    else:
        continue
    if isinstance(sdp, str):
        text = json.dumps({"sdp": sdp, "type": kind})
        (seeds / "sdp" / path.stem).write_bytes(sdp.encode())
        (seeds / "message" / path.stem).write_text(text + "\n", encoding="utf-8")
        (seeds / "message" / f"{path.stem}-64").write_bytes(base64.b64encode(text.encode()))
for offer in (seeds / "sdp").glob("*-offer"):
    answer = offer.with_name(offer.name.removesuffix("offer") + "answer")
    if answer.exists():
        (seeds / "compare" / offer.name).write_bytes(offer.read_bytes() + answer.read_bytes())
PYTHON

cargo fuzz build --sanitizer "$sanitizer" --target-dir "$build"
for target in "${targets[@]}"; do
    mkdir -p "$build/corpus/$target" "fuzz/artifacts/$target"
    own=$seeds/$target
    [ -d "$own" ] || own=$seeds/sdp
    echo "== $target"
    cargo fuzz run --sanitizer "$sanitizer" --target-dir "$build" "$target" \
        "$build/corpus/$target" "fuzz/corpus/$target" "$own" -- \
        -dict=fuzz/sdp.dict -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=16384 -print_final_stats=1
done
