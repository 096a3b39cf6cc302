#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Records what comes, by copy and paste, with every setting as it is by default: H264 and Opus to received.mp4.
#
#   stdio-receive.sh [OUTPUT.mp4]
#
# In the other terminal, on this machine or another:  stdio-send.sh
# Expect: paste the offer here; one line of JSON comes back (the answer), paste it there. When the film is over the
#         file is finished and this ends.
# Needs:  h264parse, opusparse (plugins-bad), mp4mux (plugins-good)
# Set:    AUDIO=no when the sender sends no sound (mp4mux waits for every stream that it was told of)
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare h264parse opusparse mp4mux
output=${arguments[0]:-received.mp4}

audio=(r.audio_0 ! queue ! opusparse ! m.)
no_audio=()
if [ "${AUDIO:-yes}" = no ]; then
    audio=()
    no_audio=(audio-codecs='""')
fi

launch -e rswebrtcsrc name=r "${no_audio[@]}" \
    r.video_0 ! queue ! h264parse ! mp4mux name=m ! filesink location="$output" \
    "${audio[@]}"
