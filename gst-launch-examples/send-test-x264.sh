#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a live test picture and a tone: H264 by x264, and Opus.
#
# In the other terminal:  receive-to-screen.sh, receive-to-mp4.sh or receive-to-mkv.sh, each with AUDIO=1 before it
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. Then the picture runs until
#         Ctrl-C in either terminal.
# Needs:  x264enc (plugins-ugly), opusenc (plugins-base)
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare x264enc opusenc

launch videotestsrc is-live=true pattern=ball ! video/x-raw,width=1280,height=720,framerate=30/1 ! videoconvert ! \
    x264enc tune=zerolatency speed-preset=veryfast bitrate=2000 key-int-max=60 bframes=0 ! \
    video/x-h264,profile=constrained-baseline ! rswebrtcsink name=s \
    audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! opusenc ! s.
