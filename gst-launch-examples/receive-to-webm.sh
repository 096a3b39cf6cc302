#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Records VP8, as it comes, without decoding, to a file, by default received.webm in this folder.
#
#   receive-to-webm.sh [OUTPUT.webm]
#
# In the other terminal:  send-test-vp8.sh, or stdio-send.sh with a VP8 film
# Expect: paste the offer here; one line of JSON comes back (the answer), paste it there. The file is finished when
#         the sender ends, when the connection is lost, or at Ctrl-C (-e makes that an end of stream).
# Needs:  webmmux (plugins-good), opusparse (plugins-bad)
# Set:    AUDIO=1 to take the sound too, when the sender sends some
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare webmmux
output=${arguments[0]:-received.webm}

no_audio=(audio-codecs='""')
audio=()
if [ -n "${AUDIO:-}" ]; then
    no_audio=()
    audio=(r.audio_0 ! queue ! opusparse ! m.)
fi

launch -e rswebrtcsrc name=r video-codecs=VP8 "${no_audio[@]}" \
    r.video_0 ! queue ! webmmux name=m ! filesink location="$output" \
    "${audio[@]}"
