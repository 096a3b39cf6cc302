#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# A call of both directions on one connection, by copy and paste: sends a film and records what the other side sends.
# Without a film it makes a small sample.
#
#   two-way-call.sh [INPUT.mp4|.mkv|.webm [OUTPUT.mkv]]
#
# In the other terminal, on this machine or another:  ROLE=answer two-way-call.sh INPUT OTHER.mkv
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. Both films play at once; when both
#         have ended, both recordings are complete and both ends stop.
# Needs:  ffprobe; h264parse, opusparse (plugins-bad), qtdemux, matroskademux, matroskamux (plugins-good); sound that is
#         not Opus is transcoded (libav, opusenc)
# Set:    ROLE=offer (default) or answer
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
input=${arguments[0]:-$target/examples/sample.mp4}
output=${arguments[1]:-$target/examples/two-way.mkv}
role=${ROLE:-offer}
prepare h264parse opusparse qtdemux matroskademux opusenc matroskamux

if [ ${#arguments[@]} = 0 ] && [ "$print" = yes ]; then
    container=mp4 video=h264 audio=opus reorder=0
else
    [ ${#arguments[@]} != 0 ] || make_sample "$input"
    look_into "$input"
fi
read_film
write_film "$output"

launch -e filesrc location="$input" ! "$demuxer" name=d \
    "${video_branch[@]}" ! rswebrtcsink name=s call=both role="$role" \
    "${audio_branch[@]}" \
    rswebrtcsrc name=r call=both video-codecs="${video^^}" \
    "${recorder_video[@]}" ! "$muxer" name=m ! filesink location="$output" \
    "${recorder_audio[@]}"
