#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# What a data channel moves, our elements beside webrtc-rs's own driver; without arguments all of it, some 10 minutes, with the
# table in docs/performance.md. `data.sh -h` shows the options.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# = 0 ]; then
    set -- --write
fi
exec python3 -B "$root/benches/data/data.py" "$@"
