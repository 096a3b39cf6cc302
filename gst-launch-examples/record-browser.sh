#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Records what a browser publishes (camera or screen, and microphone), or OBS, to a file, by default received.mkv in this
# folder. Nothing is decoded.
#
#   record-browser.sh [LOCATION [OUTPUT.mkv|.webm|.mp4]]
#   TOKEN=swordfish record-browser.sh https://0.0.0.0:8443/whip out.webm     (from other machines, with TLS and a token)
#
# In the other terminal:  nothing, open the page in a browser; or publish-to-whip.sh
# Expect: where it listens, by default http://127.0.0.1:8080/whip with the page at http://127.0.0.1:8080/ (in OBS: service
#         WHIP, server http://127.0.0.1:8080/whip, bearer token TOKEN). The file is finished when the publisher stops,
#         when it is lost, or at Ctrl-C. Without TOKEN anybody who can reach the port may publish.
# Needs:  matroskamux, webmmux, mp4mux (plugins-good), opusparse (plugins-bad); openssl to make a certificate
# Set:    AUDIO=no when no sound is sent (a muxer waits for each stream that it was told of); TOKEN=…;
#         CERT=cert.pem KEY=key.pem for https://, otherwise one is made (browsers warn of it). Browsers open camera
#         and microphone on this machine, or with https://, only.
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
output=${arguments[1]:-received.mkv}
record_to "$output"
open_to "${arguments[0]:-http://127.0.0.1:8080/whip}"
prepare "$muxer" opusparse

launch -e rswebrtcsrc name=r signaller=whip-server "${opened[@]}" "${codecs[@]}" \
    "${recorder_video[@]}" ! "$muxer" name=m ! filesink location="$output" \
    "${recorder_audio[@]}"
