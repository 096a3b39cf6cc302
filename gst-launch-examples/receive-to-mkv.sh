#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Records H264 or VP8, as it comes, without decoding, to a Matroska file, by default received.mkv in this folder.
#
#   receive-to-mkv.sh [OUTPUT.mkv]
#
# In the other terminal:  send-test-*.sh, send-webcam-*.sh or stdio-send.sh
# Expect: paste the offer here; one line of JSON comes back (the answer), paste it there. The file is finished when
#         the sender ends, when the connection is lost, or at Ctrl-C (-e makes that an end of stream). A Matroska
#         file also plays up to where it was written when this machine loses power.
# Needs:  matroskamux (plugins-good), opusparse (plugins-bad)
# Set:    AUDIO=1 to take the sound too, when the sender sends some
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare matroskamux
output=${arguments[0]:-received.mkv}

no_audio=(audio-codecs='""')
audio=()
if [ -n "${AUDIO:-}" ]; then
    no_audio=()
    audio=(r.audio_0 ! queue ! opusparse ! m.)
fi

launch -e rswebrtcsrc name=r "${no_audio[@]}" \
    r.video_0 ! queue ! matroskamux name=m ! filesink location="$output" \
    "${audio[@]}"
