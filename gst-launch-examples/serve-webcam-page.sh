#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Turns a webcam, or a test picture and ticks where there is none, into a web page. It is encoded once for all who watch.
#
#   serve-webcam-page.sh [LOCATION]
#   TOKEN=swordfish serve-webcam-page.sh https://0.0.0.0:8443/whep     (for other machines, with TLS and a token)
#
# In the other terminal:  nothing, open the page in a browser; or record-from-whep.sh
# Expect: where it listens, by default http://127.0.0.1:8081/whep with the page at http://127.0.0.1:8081/. Then a line
#         for each viewer that comes or goes, until Ctrl-C. Without TOKEN anybody who can reach the port may watch.
# Needs:  x264enc (plugins-ugly) or, for VP8, vp8enc (plugins-good), opusenc (plugins-base); openssl to make a certificate
# Set:    TOKEN=…; CERT=cert.pem KEY=key.pem for https://, otherwise one is made (browsers warn of it); CODEC=VP8;
#         SOURCE=test; AUDIO=1 to send the microphone; DEVICE, WIDTH, HEIGHT, FPS, MJPEG as for send-webcam-x264.sh
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
webcam_or_test
live_encoder
open_to "${arguments[0]:-http://127.0.0.1:8081/whep}"
prepare "${encoder[0]}" opusenc

launch -e "${source[@]}" ! videoconvert ! "${encoder[@]}" ! rswebrtcsink name=s signaller=whep-server "${opened[@]}" \
    "${sound[@]}"
