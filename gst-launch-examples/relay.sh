#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Relays what one publishes to all who watch, as it is encoded: a small SFU in one line.
#
#   relay.sh [WHERE-TO-PUBLISH [WHERE-TO-WATCH]]
#
# In the other terminal:  publish-to-whip.sh, or the page at http://127.0.0.1:8080/ in a browser, or OBS; then, in a third,
#         record-from-whep.sh, or the page at http://127.0.0.1:8081/
# Expect: where it listens, by default http://127.0.0.1:8080/whip to publish and http://127.0.0.1:8081/whep to watch. It
#         ends with its publisher, or at Ctrl-C. Without TOKEN anybody who can reach the ports may publish and watch.
# Needs:  nothing but the plugin; openssl to make a certificate for https://
# Set:    TOKEN=… to publish, WATCH_TOKEN=… to watch; CERT=cert.pem KEY=key.pem for https://, otherwise one is made.
#         Where one machine no longer suffices, publish-to-whip.sh names servers that make clusters.
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
open_to "${arguments[0]:-http://127.0.0.1:8080/whip}"
publish=("${opened[@]}")
TOKEN=${WATCH_TOKEN:-}
open_to "${arguments[1]:-http://127.0.0.1:8081/whep}"
prepare

# The colon links all pads.
launch -e rswebrtcsrc signaller=whip-server "${publish[@]}" : rswebrtcsink signaller=whep-server "${opened[@]}"
