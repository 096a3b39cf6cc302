#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Shows the video that comes, in a window, and plays the sound if there is one.
#
# In the other terminal:  send-test-*.sh, send-webcam-*.sh or stdio-send.sh
# Expect: paste the offer here; one line of JSON comes back (the answer), paste it there. Then the picture runs until
#         the sender ends or Ctrl-C.
# Needs:  a graphical desktop; avdec_h264 (libav) for H264, vp8dec (plugins-good) for VP8
# Set:    AUDIO=1 to take the sound too, when the sender sends some; LATENCY=200 (ms, the jitter buffer)
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare decodebin autovideosink

no_audio=(audio-codecs='""')
audio=()
if [ -n "${AUDIO:-}" ]; then
    no_audio=()
    audio=(r.audio_0 ! queue ! opusdec plc=true use-inband-fec=true ! audioconvert ! audioresample ! autoaudiosink)
fi

launch rswebrtcsrc name=r latency="${LATENCY:-200}" "${no_audio[@]}" \
    r.video_0 ! queue ! decodebin ! videoconvert ! autovideosink \
    "${audio[@]}"
