#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Calls over bad networks, ours and others', on the same seeded links; without arguments all of them, some 25 minutes, with
# tables and plots in docs/network.md. `network.sh -h` shows the options.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# = 0 ]; then
    set -- --write
fi
exec python3 -B "$root/benches/network/network.py" "$@"
