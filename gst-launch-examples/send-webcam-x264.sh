#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a webcam: H264 by x264, in software.
#
# In the other terminal:  receive-to-screen.sh, receive-to-mp4.sh or receive-to-mkv.sh
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. Then the picture runs until
#         Ctrl-C in either terminal.
# Needs:  x264enc (plugins-ugly), v4l2src (plugins-good), a camera
# Set:    DEVICE=/dev/video0 WIDTH=640 HEIGHT=480 FPS=30; MJPEG=1 for cameras that give large pictures only as JPEG;
#         SOURCE=test for a test picture in place of the camera
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare x264enc
webcam

launch "${source[@]}" ! videoconvert ! \
    x264enc tune=zerolatency speed-preset=veryfast bitrate=2000 key-int-max=60 bframes=0 ! \
    video/x-h264,profile=constrained-baseline ! rswebrtcsink
