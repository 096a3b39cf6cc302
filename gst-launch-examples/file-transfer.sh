#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# The main job, whole: sends a film with rswebrtcsink, receives it with rswebrtcsrc in another process, and records it.
#
#   file-transfer.sh [--verify] [INPUT.mp4|.mkv|.webm] [OUTPUT.mp4|.mkv|.webm]
#
# Without an input it makes a small sample; without an output it writes received.mp4 (or the input's ending) in this
# folder, for the sample in target/examples. --verify also decodes both and compares every picture.
#
# In the other terminal: nothing. This runs both ends, joined by signaller=file and a folder of their own.
# Expect: on a fresh machine, installation (scripts/setup.sh) and build; then the film in real time, what was
#         negotiated, and how many frames were sent and have arrived. Exit status 1 if a frame is missing.
# Needs:  what scripts/setup.sh installs
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
verify=no
if [ "${arguments[0]:-}" = --verify ]; then
    verify=yes
    arguments=("${arguments[@]:1}")
fi
[ ${#arguments[@]} -le 2 ] || fail "more than two names; see --help"

if [ "$print" = no ]; then
    "$root/scripts/setup.sh" >&2
fi
prepare h264parse opusparse qtdemux matroskademux opusenc mp4mux webmmux matroskamux

if [ ${#arguments[@]} = 0 ]; then
    input=$target/examples/sample.mp4
    output=$target/examples/received.mp4
    if [ "$print" = yes ]; then
        container=mp4 video=h264 audio=opus reorder=0
    else
        make_sample "$input"
        look_into "$input"
    fi
else
    input=${arguments[0]}
    look_into "$input"
    extension=${input##*.}
    output=${arguments[1]:-received.${extension,,}}
fi
[ ! "$input" -ef "$output" ] || fail "'$output' is the input; name another output"
read_film
write_film "$output"

if [ "$print" = yes ]; then
    folder=DIR
else
    folder=$(mktemp -d)
fi
sender=(gst-launch-1.0 -q filesrc location="$input" ! "$demuxer" name=d
    "${video_branch[@]}" ! rswebrtcsink name=s signaller=file location="$folder" ice-addresses=127.0.0.1
    "${audio_branch[@]}")
receiver=(gst-launch-1.0 -q -e rswebrtcsrc name=r signaller=file location="$folder" ice-addresses=127.0.0.1
    "${recorder_video[@]}" ! "$muxer" name=m ! filesink location="$output"
    "${recorder_audio[@]}")
if [ "$print" = yes ]; then
    show "${sender[@]}"
    show "${receiver[@]}"
    exit 0
fi

sender_pid='' receiver_pid=''
clean_up() {
    local pid
    for pid in $sender_pid $receiver_pid; do
        kill -INT "$pid" 2>/dev/null || true
    done
    for pid in $sender_pid $receiver_pid; do
        end_within 5 "$pid" || kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap clean_up EXIT
# Ctrl-C reaches both programs as well: they end by themselves, the recording is finished, and we report.
trap 'note "interrupted: finishing the recording"' INT

# end_within SECONDS PID: whether the process ends in time.
end_within() {
    local tenths=$(($1 * 10))
    while kill -0 "$2" 2>/dev/null; do
        [ $((tenths--)) -gt 0 ] || return 1
        sleep 0.1 || true
    done
}

note "sending $input ($video${audio:+, $audio}; $duration s, in real time) to $output"
rm -f "$output"
"${receiver[@]}" </dev/null >/dev/null &
receiver_pid=$!
"${sender[@]}" </dev/null >/dev/null 2>"$folder/sender.log" &
sender_pid=$!

deadline=$((SECONDS + ${duration%.*} + 60))
while kill -0 "$sender_pid" 2>/dev/null && kill -0 "$receiver_pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do
    sleep 0.1 || true
done

# finish WHO PID SECONDS: waits for one that should end by now, and helps it where it does not.
finish() {
    if ! end_within "$3" "$2"; then
        note "the $1 does not end by itself; stopping it"
        kill -INT "$2" 2>/dev/null || true
        end_within 10 "$2" || kill -KILL "$2" 2>/dev/null || true
    fi
    exit_status "$2"
}

# One has ended, and the other follows: at once after a bye, after some 6 s if the first died. If it failed before
# there was an answer, there is nothing to wait for.
grace=15
if ! kill -0 "$receiver_pid" 2>/dev/null; then
    finish receiver "$receiver_pid" 0
    receiver_status=$status
    [ "$status" = 0 ] || [ -e "$folder/answer.json" ] || grace=1
    finish sender "$sender_pid" "$grace"
    sender_status=$status
else
    finish sender "$sender_pid" 0
    sender_status=$status
    [ "$status" = 0 ] || [ -e "$folder/answer.json" ] || grace=1
    finish receiver "$receiver_pid" "$grace"
    receiver_status=$status
fi
sender_pid='' receiver_pid=''
if [ "$sender_status" != 0 ] || grep -qi -e warning -e error "$folder/sender.log"; then
    note "the sender said:"
    cat "$folder/sender.log" >&2
fi
[ "$sender_status" = 0 ] || fail "the sender failed (exit status $sender_status)"
[ "$receiver_status" = 0 ] || fail "the receiver failed (exit status $receiver_status)"
[ -s "$output" ] || fail "nothing was recorded"

sent=$(packets "$input" v)
arrived=$(packets "$output" v)
length=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$output")
echo "recorded:     $output, $length s, $(stat -c %s "$output") bytes"
echo "video frames: $sent sent, $arrived arrived"
if [ -n "$audio" ]; then
    echo "audio frames: $(packets "$input" a) in $audio sent, $(packets "$output" a) in opus arrived"
fi
[ "$arrived" -ge "$sent" ] || fail "$((sent - arrived)) video frames are missing"
[ -z "$audio" ] || [ "$(packets "$output" a)" -gt 0 ] || fail "the sound is missing"

pictures() {
    ffmpeg -v error -i "$1" -map 0:V:0 -fps_mode passthrough -f framemd5 - | awk -F, '!/^#/ { print $NF }'
}
if [ "$verify" = yes ]; then
    cmp -s <(pictures "$input") <(pictures "$output") || fail "the pictures of the recording are not those of the film"
    echo "pictures:     all the same when decoded"
fi
