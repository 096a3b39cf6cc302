#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a live test picture and a tone: VP8 and Opus.
#
# In the other terminal:  receive-to-screen.sh, receive-to-webm.sh or receive-to-mkv.sh, each with AUDIO=1 before it
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. Then the picture runs until
#         Ctrl-C in either terminal.
# Needs:  vp8enc (plugins-good), opusenc (plugins-base)
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare vp8enc opusenc

launch videotestsrc is-live=true pattern=ball ! video/x-raw,width=1280,height=720,framerate=30/1 ! videoconvert ! \
    vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=2000000 keyframe-max-dist=60 error-resilient=default ! \
    rswebrtcsink name=s \
    audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! opusenc ! s.
