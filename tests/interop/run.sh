#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Process and interop tests: gst-launch-1.0 with the built plugin, and with aiortc, webrtcbin, Chromium and
# Firefox. `run.sh -h` shows the options.
# RSWEBRTC_LONG=1 also runs the long ones. Two run at a time; `--lanes 1` runs one after the other.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$root/.venv-tests/bin/python
if [ ! -x "$python" ]; then
    echo "no $python: run 'scripts/setup.sh --tests' first" >&2
    exit 1
fi
exec "$python" -B "$here/runner.py" "$@"
