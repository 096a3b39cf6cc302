#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a webcam: H264 by an NVIDIA card's encoder (NVENC).
#
# In the other terminal:  receive-to-screen.sh, receive-to-mp4.sh or receive-to-mkv.sh
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. Then the picture runs until
#         Ctrl-C in either terminal.
# Needs:  nvh264enc (plugins-bad, nvcodec), v4l2src (plugins-good), an NVIDIA driver, a camera
# Set:    DEVICE=/dev/video0 WIDTH=640 HEIGHT=480 FPS=30; MJPEG=1 for cameras that give large pictures only as JPEG;
#         SOURCE=test for a test picture in place of the camera
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare nvh264enc
webcam

# The names differ between GStreamer 1.22 and later ones; those that are known here are used.
supported nvh264enc preset=low-latency-hq bitrate=2000 gop-size=60 \
    rc-mode=cbr bframes=0 zerolatency=true \
    rate-control=cbr b-frames=0 zero-reorder-delay=true repeat-sequence-header=true

launch "${source[@]}" ! videoconvert ! video/x-raw,format=NV12 ! \
    nvh264enc "${settings[@]}" ! \
    video/x-h264,profile=constrained-baseline ! rswebrtcsink
