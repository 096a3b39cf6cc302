#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Publishes a webcam, or a test picture and ticks where there is none, to a WHIP server.
#
#   publish-to-whip.sh [URL [TOKEN]]
#
# In the other terminal:  record-browser.sh or relay.sh, whose URL is the default (http://127.0.0.1:8080/whip)
# Expect: what was negotiated, then it runs until Ctrl-C. When the connection is lost, it is made again. An
#         error, at the start, says what in URL or TOKEN is wrong.
# Needs:  x264enc (plugins-ugly) or, for VP8, vp8enc (plugins-good), opusenc (plugins-base)
# Set:    CODEC=VP8; SOURCE=test; AUDIO=1 to send the microphone; DEVICE, WIDTH, HEIGHT, FPS, MJPEG as for
#         send-webcam-x264.sh; CA=cert.pem for a server with a certificate that the system does not know
#
# What to give for some servers and services:
#   mediamtx            http://HOST:8889/NAME/whip, TOKEN where it checks JWTs; watch with record-from-whep.sh
#                       http://HOST:8889/NAME/whep, or at http://HOST:8889/NAME
#   LiveKit Ingress     the URL and the stream key of CreateIngress (input type WHIP), for one
#                       https://PROJECT.whip.livekit.cloud/w STREAM_KEY
#   Cloudflare Stream   the live input's webRTC URL, https://customer-CODE.cloudflarestream.com/SECRET/webRTC/publish,
#                       without TOKEN; watch with record-from-whep.sh at its webRTCPlayback URL
#   Janus               with simple-whip-server before it: http://HOST:7080/whip/endpoint/ID, TOKEN as the endpoint has it
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
TOKEN=${arguments[1]:-${TOKEN:-}}
webcam_or_test
live_encoder
go_to "${arguments[0]:-http://127.0.0.1:8080/whip}"
prepare "${encoder[0]}" opusenc

launch -e "${source[@]}" ! videoconvert ! "${encoder[@]}" ! rswebrtcsink name=s signaller=whip-client "${gone_to[@]}" \
    "${sound[@]}"
