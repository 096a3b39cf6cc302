#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a film by copy and paste, with every setting as it is by default. Without a film it makes a small sample.
#
#   stdio-send.sh [INPUT.mp4|.mkv|.webm]
#
# In the other terminal, on this machine or another:  stdio-receive.sh, receive-to-*.sh
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. The film plays in real time from
#         its first frame, then both ends say what they sent and received and stop.
# Needs:  ffprobe; h264parse, opusparse (plugins-bad), qtdemux, matroskademux (plugins-good); sound that is not Opus is
#         transcoded (libav, opusenc)
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
input=${arguments[0]:-$target/examples/sample.mp4}
prepare h264parse opusparse qtdemux matroskademux opusenc

if [ ${#arguments[@]} = 0 ] && [ "$print" = yes ]; then
    container=mp4 video=h264 audio=opus reorder=0
else
    [ ${#arguments[@]} != 0 ] || make_sample "$input"
    look_into "$input"
fi
read_film

launch filesrc location="$input" ! "$demuxer" name=d \
    "${video_branch[@]}" ! rswebrtcsink name=s \
    "${audio_branch[@]}"
