#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a webcam: H264 by the encoder of a board (Raspberry Pi up to 4, and others with V4L2 M2M).
#
# In the other terminal:  receive-to-screen.sh, receive-to-mp4.sh or receive-to-mkv.sh
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. Then the picture runs until
#         Ctrl-C in either terminal.
# Needs:  v4l2h264enc and v4l2src (plugins-good), a board that has the encoder, a camera
# Set:    DEVICE=/dev/video0 WIDTH=640 HEIGHT=480 FPS=30; MJPEG=1 for cameras that give large pictures only as JPEG;
#         SOURCE=test for a test picture in place of the camera
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare v4l2h264enc
webcam

# The level in the caps is not for show: the encoder of the Raspberry Pi does not start without one.
launch "${source[@]}" ! videoconvert ! video/x-raw,format=I420 ! \
    v4l2h264enc extra-controls="controls,repeat_sequence_header=1,video_bitrate=2000000,h264_i_frame_period=60" ! \
    "video/x-h264,profile=constrained-baseline,level=(string)4" ! rswebrtcsink
