#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# CPU, latency, set-up, fan-out and load of our elements beside webrtcbin and plain UDP, with set-up of the machine; without
# arguments all of it, some 30 minutes, with tables and plots in docs/performance.md. `run.sh -h` shows the options.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# = 0 ]; then
    set -- --write
fi
case " $* " in
    *" -h "* | *" --help "* | *" --list "* | *" --report "*) ;;
    *) "$root/scripts/setup.sh" --benches ;;
esac
exec python3 -B "$root/benches/speed/speed.py" "$@"
