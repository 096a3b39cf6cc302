#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a live test picture: H264 (constrained baseline) by openh264.
#
# In the other terminal:  receive-to-screen.sh, receive-to-mp4.sh or receive-to-mkv.sh
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. Then the picture runs until
#         Ctrl-C in either terminal.
# Needs:  openh264enc (plugins-bad)
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare openh264enc

launch videotestsrc is-live=true pattern=ball ! video/x-raw,width=1280,height=720,framerate=30/1 ! videoconvert ! \
    openh264enc usage-type=camera complexity=low rate-control=bitrate bitrate=2000000 gop-size=60 ! \
    rswebrtcsink
