#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# A call with aiortc, the WebRTC library for Python, as the other end (see aiortc-peer.py), joined by its copy-and-paste
# signalling through two pipes.
#
#   talk-to-aiortc.sh send    [INPUT [OUTPUT.mp4]]    rswebrtcsink sends the film, aiortc records it
#   talk-to-aiortc.sh receive [INPUT [OUTPUT.mkv]]    aiortc plays the film, rswebrtcsrc records it
#
# Without an input it makes a small sample. aiortc decodes what it receives and encodes what it sends, so pictures
# are not the same bit by bit, and the first few can be missing.
#
# In the other terminal: nothing. To have the two ends in two terminals, start aiortc-peer.py in one and stdio-send.sh
#         or stdio-receive.sh in the other, and copy and paste.
# Expect: the negotiated configuration, then the film in real time, then how many frames were recorded.
# Needs:  what scripts/setup.sh --tests installs (aiortc, in .venv-tests)
# Set:    ROLE=offer or answer (ours; by default rswebrtcsink offers and rswebrtcsrc answers); CODEC=H264 or VP8 for what
#         aiortc sends
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
direction=${arguments[0]:-send}
role=${ROLE:-auto}
case $direction-$role in
    send-auto | send-offer | receive-offer) theirs=answer ;;
    send-answer | receive-auto | receive-answer) theirs=offer ;;
    send-* | receive-*) fail "ROLE=$role: it is offer or answer" ;;
    *) fail "'$direction': say send or receive; see --help" ;;
esac
if [ "$theirs" = offer ]; then our_role=answer; else our_role=offer; fi
input=${arguments[1]:-$target/examples/sample.mp4}
if [ "$direction" = send ]; then
    output=${arguments[2]:-$target/examples/aiortc.mp4}
else
    output=${arguments[2]:-$target/examples/from-aiortc.mkv}
fi
python=$root/.venv-tests/bin/python

if [ "$print" = no ]; then
    [ -x "$python" ] || fail "no aiortc: run scripts/setup.sh --tests"
    prepare h264parse opusparse qtdemux matroskademux opusenc matroskamux
    [ -n "${arguments[1]:-}" ] || make_sample "$input"
    mkdir -p "$(dirname "$output")"
fi
if [ "$print" = yes ] && [ -z "${arguments[1]:-}" ]; then
    container=mp4 video=h264 audio=opus reorder=0
else
    look_into "$input"
fi

if [ "$direction" = send ]; then
    read_film
    ours=(gst-launch-1.0 -q filesrc location="$input" ! "$demuxer" name=d
        "${video_branch[@]}" ! rswebrtcsink name=s role="$our_role" ice-addresses=127.0.0.1
        "${audio_branch[@]}")
    peer=(--record-to "$output")
else
    codec=${CODEC:-H264}
    video=${codec,,}
    write_film "$output"
    ours=(gst-launch-1.0 -q -e rswebrtcsrc name=r role="$our_role" video-codecs="$codec" ice-addresses=127.0.0.1
        "${recorder_video[@]}" ! "$muxer" name=m ! filesink location="$output"
        "${recorder_audio[@]}")
    peer=(--play-from "$input" --codec "$codec")
fi
if [ "$print" = yes ]; then
    show "${ours[@]}"
    exit 0
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'note "interrupted"' INT
mkfifo "$folder/to-aiortc" "$folder/from-aiortc"
rm -f "$output"
# Opening a named pipe waits for its other end, so the two programs open theirs in the same order.
"${ours[@]}" >"$folder/to-aiortc" <"$folder/from-aiortc" &
ours_pid=$!
"$python" "$examples/aiortc-peer.py" "$theirs" --host 127.0.0.1 "${peer[@]}" <"$folder/to-aiortc" >"$folder/from-aiortc" &
peer_pid=$!
failed=no
for pid in "$ours_pid" "$peer_pid"; do
    exit_status "$pid"
    [ "$status" = 0 ] || failed=yes
done
[ "$failed" = no ] || fail "one of the two ends failed"
[ -s "$output" ] || fail "nothing was recorded"
echo "recorded:     $output, $(ffprobe -v error -show_entries format=duration -of csv=p=0 "$output") s"
echo "video frames: $(packets "$input" v) in the film, $(packets "$output" v) recorded"
[ "$(packets "$output" v)" -gt 0 ] || fail "no picture was recorded"
