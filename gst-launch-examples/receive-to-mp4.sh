#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Records H264, as it comes, without decoding, to a file, by default received.mp4 in this folder.
#
#   receive-to-mp4.sh [OUTPUT.mp4]
#
# In the other terminal:  send-test-x264.sh, send-test-openh264.sh, send-webcam-*.sh or stdio-send.sh
# Expect: paste the offer here; one line of JSON comes back (the answer), paste it there. The file is finished when
#         the sender ends, when the connection is lost, or at Ctrl-C (-e makes that an end of stream).
# Needs:  h264parse, opusparse (plugins-bad), mp4mux (plugins-good)
# Set:    AUDIO=1 to take the sound too, when the sender sends some
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare h264parse mp4mux
output=${arguments[0]:-received.mp4}

no_audio=(audio-codecs='""')
audio=()
if [ -n "${AUDIO:-}" ]; then
    no_audio=()
    audio=(r.audio_0 ! queue ! opusparse ! m.)
fi

launch -e rswebrtcsrc name=r video-codecs=H264 "${no_audio[@]}" \
    r.video_0 ! queue ! h264parse ! mp4mux name=m ! filesink location="$output" \
    "${audio[@]}"
