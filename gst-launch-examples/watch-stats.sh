#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# A live view of a call in the terminal: round trip, bitrate against what the network carries, queue, loss, repairs,
# freezes. It answers "why does it look bad".
#
#   watch-stats.sh                                      a call between the two elements on this machine
#   watch-stats.sh -- gst-launch-1.0 … rswebrtcsink …   any pipeline with either element, at either end
#   gst-launch-1.0 -m … | watch-stats.sh -
#
# In the other terminal:  nothing for the first; the other end of the call for the others.
# Expect: bars and sparklines that change each second, until the pipeline ends or Ctrl-C; what gst-launch-1.0 says comes
#         behind. Where the output is no terminal: lines of text. The exit status is that of the pipeline.
# Needs:  python3; for the first, x264enc and opusenc.
# Set:    LENGTH=seconds to end the first by itself.
set -euo pipefail
here=$(dirname "$0")
. "$here/env.sh"
if [ $# -gt 0 ] && [ "$1" != --print ] && [ "$1" != --help ] && [ "$1" != -h ]; then
    [ "$1" = - ] || prepare
    exec python3 "$here/watch-stats.py" "$@"
fi
read_arguments "$@"
prepare x264enc opusenc

frames=-1 sounds=-1
if [ -n "${LENGTH:-}" ]; then
    frames=$((LENGTH * 30)) sounds=$((LENGTH * 50))
fi
if [ "$print" = yes ]; then
    meeting=/tmp/rswebrtc-watch
else
    command -v python3 >/dev/null || fail "no python3: run scripts/setup.sh"
    meeting=$(mktemp -d)
    trap 'rm -rf "$meeting"' EXIT
fi
meet=(signaller=file location="$meeting" ice-addresses=127.0.0.1)
call=(
    videotestsrc is-live=true num-buffers="$frames" pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 !
    x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 bitrate=1500 ! rswebrtcsink name=sink "${meet[@]}"
    audiotestsrc is-live=true num-buffers="$sounds" samplesperbuffer=960 wave=ticks ! audio/x-raw,rate=48000 ! opusenc ! sink.
    rswebrtcsrc name=src "${meet[@]}" src.video_0 ! queue ! fakesink sync=true src.audio_0 ! queue ! fakesink sync=true
)
if [ "$print" = yes ]; then
    show gst-launch-1.0 -m -e "${call[@]}"
else
    status=0
    python3 "$here/watch-stats.py" gst-launch-1.0 -m -e "${call[@]}" || status=$?
    exit "$status"
fi
