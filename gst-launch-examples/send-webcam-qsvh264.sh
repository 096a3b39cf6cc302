#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a webcam: H264 by Intel Quick Sync (oneVPL).
#
# In the other terminal:  receive-to-screen.sh, receive-to-mp4.sh or receive-to-mkv.sh
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. Then the picture runs until
#         Ctrl-C in either terminal.
# Needs:  qsvh264enc (plugins-bad, qsv), v4l2src (plugins-good), an Intel driver, a camera
# Set:    DEVICE=/dev/video0 WIDTH=640 HEIGHT=480 FPS=30; MJPEG=1 for cameras that give large pictures only as JPEG;
#         SOURCE=test for a test picture in place of the camera
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare qsvh264enc
webcam

supported qsvh264enc rate-control=cbr bitrate=2000 gop-size=60 b-frames=0 ref-frames=1 low-latency=true

launch "${source[@]}" ! videoconvert ! video/x-raw,format=NV12 ! \
    qsvh264enc "${settings[@]}" ! \
    video/x-h264,profile=constrained-baseline ! rswebrtcsink
