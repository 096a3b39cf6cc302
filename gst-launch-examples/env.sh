# shellcheck shell=bash
# SPDX-License-Identifier: MPL-2.0
# What the examples share; they read it with `. env.sh`. It finds the plugin, builds it where it is missing or older
# than its sources, and sets GST_PLUGIN_PATH for this process.
#
#   RSWEBRTC_PLUGIN_DIR   folder with a built libgstwebrtcrs.so to use instead (no build)
#   CARGO_TARGET_DIR      as for Cargo
#
# Every example takes --print (only show the pipelines) and --help.

examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$examples")
target=${CARGO_TARGET_DIR:-$root/target}
plugin_dir=${RSWEBRTC_PLUGIN_DIR:-$target/release}
print=no
arguments=()

# Reads --print and --help; the rest is in `arguments`.
read_arguments() {
    local argument
    for argument in "$@"; do
        case $argument in
            --print) print=yes ;;
            -h | --help)
                awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
                exit 0
                ;;
            *) arguments+=("$argument") ;;
        esac
    done
}

note() {
    echo "$*" >&2
}

fail() {
    note "$(basename "$0"): $*"
    exit 1
}

plugin_is_current() {
    local library=$plugin_dir/libgstwebrtcrs.so
    [ -e "$library" ] || return 1
    [ -z "${RSWEBRTC_PLUGIN_DIR:-}" ] || return 0
    [ -z "$(find "$root/src" "$root/build.rs" "$root/Cargo.toml" "$root/Cargo.lock" -newer "$library" -print -quit)" ]
}

build_plugin() {
    if ! plugin_is_current; then
        [ -z "${RSWEBRTC_PLUGIN_DIR:-}" ] || fail "no libgstwebrtcrs.so in RSWEBRTC_PLUGIN_DIR=$RSWEBRTC_PLUGIN_DIR"
        if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
            PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
        fi
        command -v cargo >/dev/null || fail "no cargo to build the plugin with: run scripts/setup.sh, it says what is missing"
        note "building the plugin (some minutes the first time)"
        cargo build --release --locked --manifest-path "$root/Cargo.toml" --target-dir "$target" >&2 ||
            fail "the build failed; has scripts/setup.sh been run?"
    fi
    export GST_PLUGIN_PATH=$plugin_dir${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
}

# prepare ELEMENT...: the plugin is built and these elements are there.
prepare() {
    [ "$print" = no ] || return 0
    command -v gst-launch-1.0 >/dev/null || fail "no gst-launch-1.0: run scripts/setup.sh"
    build_plugin
    local element
    for element in rswebrtcsink rswebrtcsrc "$@"; do
        # Not --exists, which takes no plugin whose version is below GStreamer's.
        gst-inspect-1.0 "$element" >/dev/null 2>&1 ||
            fail "no element '$element' here: run scripts/setup.sh; a hardware encoder also needs its hardware and driver"
    done
}

# launch ARGUMENT...: gst-launch-1.0 in place of this script, or its command line with --print.
# -q because standard output carries signalling, and nothing else, with signaller=stdio.
launch() {
    if [ "$print" = yes ]; then
        show gst-launch-1.0 -q "$@"
    else
        exec gst-launch-1.0 -q "$@"
    fi
}

show() {
    local words
    printf -v words '%q ' "$@"
    # A `!` and such need no backslash for a person to read the line, nor for a shell in a script.
    words=${words//\\!/!}
    words=${words//\\,/,}
    echo "${words% }"
}

# supported ELEMENT NAME=VALUE...: fills `settings` with those that this version of the element knows.
supported() {
    local element=$1 known setting
    shift
    settings=()
    known=$(gst-inspect-1.0 "$element" 2>/dev/null) || known=
    for setting in "$@"; do
        if [ -z "$known" ] || grep -q "^  ${setting%%=*} *:" <<<"$known"; then
            settings+=("$setting")
        fi
    done
}

# Fills `source` with a webcam, as raw video. DEVICE, WIDTH, HEIGHT, FPS change it; MJPEG=1 for cameras that give high
# resolutions only as JPEG; SOURCE=test is a test picture in its place.
# shellcheck disable=SC2034 # the scripts use it
webcam() {
    local size="width=${WIDTH:-640},height=${HEIGHT:-480},framerate=${FPS:-30}/1"
    if [ "${SOURCE:-}" = test ]; then
        source=(videotestsrc is-live=true pattern=ball ! "video/x-raw,$size")
    elif [ -n "${MJPEG:-}" ]; then
        source=(v4l2src device="${DEVICE:-/dev/video0}" ! "image/jpeg,$size" ! jpegdec)
    else
        source=(v4l2src device="${DEVICE:-/dev/video0}" ! "video/x-raw,$size")
    fi
}

# Fills `source` like webcam, with the test picture where there is no camera, and `sound` with a branch for rswebrtcsink
# name=s: ticks with the test picture, the microphone with AUDIO=1, nothing otherwise.
# shellcheck disable=SC2034 # the scripts use them
webcam_or_test() {
    if [ -z "${SOURCE:-}" ] && [ ! -e "${DEVICE:-/dev/video0}" ]; then
        note "no camera at ${DEVICE:-/dev/video0}: a test picture in its place"
        SOURCE=test
    fi
    webcam
    local microphone=()
    if [ -n "${AUDIO:-}" ]; then
        microphone=(autoaudiosrc)
    elif [ "${SOURCE:-}" = test ]; then
        microphone=(audiotestsrc is-live=true wave=ticks)
    fi
    sound=()
    if [ ${#microphone[@]} -gt 0 ]; then
        sound=("${microphone[@]}" ! queue ! audioconvert ! audioresample ! opusenc ! s.)
    fi
}

# Fills `encoder`, in software, with little delay: H264, or VP8 with CODEC=VP8.
# shellcheck disable=SC2034
live_encoder() {
    case ${CODEC:-H264} in
        H264)
            encoder=(x264enc tune=zerolatency speed-preset=veryfast bitrate=2000 key-int-max=60 bframes=0 !
                video/x-h264,profile=constrained-baseline)
            ;;
        VP8) encoder=(vp8enc deadline=1 cpu-used=8 end-usage=cbr target-bitrate=2000000 keyframe-max-dist=60) ;;
        *) fail "CODEC is $CODEC; it can be H264 or VP8" ;;
    esac
}

# record_to OUTPUT: fills `codecs`, `recorder_video`, `recorder_audio` and `muxer`, for rswebrtcsrc name=r, by the ending
# of the file's name. AUDIO=no leaves the sound out. Browsers change the size of their picture while they send: H264 is
# recorded as avc3, which keeps its parameter sets in the stream.
# shellcheck disable=SC2034
record_to() {
    recorder_video=(r.video_0 ! queue)
    case $1 in
        *.mp4)
            codecs=(video-codecs=H264)
            recorder_video+=(! video/x-h264,stream-format=avc3)
            muxer=mp4mux
            ;;
        *.webm)
            codecs=(video-codecs=VP8)
            muxer=webmmux
            ;;
        *.mkv)
            codecs=(video-codecs=VP8,H264)
            recorder_video+=(! 'video/x-vp8;video/x-h264,stream-format=avc3')
            muxer=matroskamux
            ;;
        *) fail "cannot tell the container of '$1': name it something.mkv, .webm or .mp4" ;;
    esac
    if [ "${AUDIO:-}" = no ]; then
        codecs+=(audio-codecs='""')
        recorder_audio=()
    else
        codecs+=(audio-codecs=OPUS)
        recorder_audio=(r.audio_0 ! queue ! opusparse ! m.)
    fi
}

# open_to LOCATION: fills `opened` with the settings of a server there: TOKEN is what opens it, CERT and KEY are for
# https://; without these two it makes a certificate of its own, once, which is then what clients have to trust (CA).
# shellcheck disable=SC2034
open_to() {
    opened=(location="$1")
    [ -z "${TOKEN:-}" ] || opened+=(auth-token="$TOKEN")
    case $1 in
        https://*)
            if [ -z "${CERT:-}" ]; then
                CERT=$target/examples/cert.pem KEY=$target/examples/key.pem
                [ "$print" = yes ] || make_certificate "$CERT" "$KEY"
            fi
            opened+=(tls-cert="$CERT" tls-key="${KEY:-}")
            ;;
    esac
}

# make_certificate CERT KEY: one for this machine's names and addresses, unless it is there.
make_certificate() {
    [ ! -s "$1" ] || return 0
    command -v openssl >/dev/null || fail "no openssl to make a certificate with: set CERT and KEY, or use http://"
    local names address
    names="DNS:localhost,DNS:$(uname -n),IP:127.0.0.1,IP:::1"
    for address in $(hostname -I 2>/dev/null || true); do
        names+=",IP:$address"
    done
    note "making a certificate: $1"
    mkdir -p "$(dirname "$1")"
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 -keyout "$2" -out "$1.part" -subj "/CN=rswebrtc examples" \
        -addext basicConstraints=critical,CA:FALSE -addext "subjectAltName=$names" 2>/dev/null ||
        fail "openssl made no certificate"
    mv "$1.part" "$1"
}

# go_to URL: fills `gone_to` with the settings of a client of that server: TOKEN opens it, CA is its certificate where the
# system does not know it.
# shellcheck disable=SC2034
go_to() {
    gone_to=(location="$1")
    [ -z "${TOKEN:-}" ] || gone_to+=(auth-token="$TOKEN")
    [ -z "${CA:-}" ] || gone_to+=(tls-ca="$CA")
}

# look_into FILM: fills `container` (ffprobe's word), `video`, `audio` (codecs, empty where there is none), `reorder`
# (pictures that come out of order: B-frames) and `duration` (seconds).
# shellcheck disable=SC2034 # the scripts use them
look_into() {
    local film=$1 key value
    command -v ffprobe >/dev/null || fail "no ffprobe: run scripts/setup.sh"
    [ -r "$film" ] || fail "cannot read '$film'"
    container='' video='' audio='' reorder=0 duration=0
    while IFS='=' read -r key value; do
        case $key in
            format_name) container=$value ;;
            duration) duration=$value ;;
        esac
    done < <(ffprobe -v error -show_entries format=format_name,duration -of default=noprint_wrappers=1 "$film")
    while IFS='=' read -r key value; do
        case $key in
            codec_name) video=$value ;;
            has_b_frames) reorder=$value ;;
        esac
    done < <(ffprobe -v error -select_streams V:0 -show_entries stream=codec_name,has_b_frames -of default=noprint_wrappers=1 "$film")
    audio=$(ffprobe -v error -select_streams a:0 -show_entries stream=codec_name -of csv=p=0 "$film" | head -n 1)
    [ -n "$container" ] || fail "'$film' is no film that ffprobe can read"
}

# Fills `demuxer`, `video_branch` and `audio_branch`: what goes between a film (see look_into) and rswebrtcsink name=s.
# The queues hold some seconds, since films may have sound and picture stored that far apart.
# shellcheck disable=SC2034
read_film() {
    local queue=(queue max-size-buffers=0 max-size-bytes=0 max-size-time=5000000000)
    case $container in
        *mp4*) demuxer=qtdemux ;;
        *matroska*) demuxer=matroskademux ;;
        *) fail "cannot read $container files: change the container, for one with  ffmpeg -i IN -c copy OUT.mkv" ;;
    esac
    case $video in
        h264)
            video_branch=(d.video_0 ! "${queue[@]}" ! h264parse)
            [ "$reorder" = 0 ] ||
                note "warning: the film has B-frames, which browsers cannot show; without them: ffmpeg -i IN -c:v libx264 -bf 0 OUT.mp4"
            ;;
        vp8) video_branch=(d.video_0 ! "${queue[@]}") ;;
        '') fail "the film has no video" ;;
        *) fail "the film's video is $video, and H264 or VP8 is needed: ffmpeg -i IN -c:v libx264 -bf 0 OUT.mp4" ;;
    esac
    case $audio in
        '') audio_branch=() ;;
        opus) audio_branch=(d.audio_0 ! "${queue[@]}" ! opusparse ! s.) ;;
        aac) audio_branch=(d.audio_0 ! "${queue[@]}" ! aacparse ! avdec_aac ! audioconvert ! audioresample ! opusenc ! s.) ;;
        *) audio_branch=(d.audio_0 ! "${queue[@]}" ! decodebin ! audioconvert ! audioresample ! opusenc ! s.) ;;
    esac
}

# write_film OUTPUT: fills `recorder_video`, `recorder_audio` and `muxer` by the ending of the file's name.
# shellcheck disable=SC2034
write_film() {
    recorder_video=(r.video_0 ! queue)
    case $1 in
        *.mp4 | *.m4v | *.mov)
            [ "$video" = h264 ] || fail "mp4 cannot hold $video here: name the output something.webm or something.mkv"
            recorder_video+=(! h264parse)
            muxer=mp4mux
            ;;
        *.webm)
            [ "$video" = vp8 ] || fail "webm cannot hold $video: name the output something.mp4 or something.mkv"
            muxer=webmmux
            ;;
        *.mkv)
            if [ "$video" = h264 ]; then recorder_video+=(! h264parse); fi
            muxer=matroskamux
            ;;
        *) fail "cannot tell the container of '$1': name it something.mp4, .webm or .mkv" ;;
    esac
    recorder_audio=()
    if [ -n "$audio" ]; then
        recorder_audio=(r.audio_0 ! queue ! opusparse ! m.)
    fi
}

# make_sample FILM: some seconds of moving picture (H264 without B-frames) and ticks (Opus), made once.
make_sample() {
    [ ! -s "$1" ] || return 0
    note "making a sample film: $1"
    mkdir -p "$(dirname "$1")"
    gst-launch-1.0 -q \
        videotestsrc num-buffers=240 pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 ! \
        x264enc bframes=0 key-int-max=60 bitrate=1000 ! video/x-h264,profile=constrained-baseline ! h264parse ! m. \
        audiotestsrc num-buffers=400 samplesperbuffer=960 wave=ticks ! audio/x-raw,rate=48000 ! opusenc ! opusparse ! m. \
        mp4mux name=m ! filesink location="$1.part"
    mv "$1.part" "$1"
}

# exit_status PID: waits for a child; its exit status is in `status`. A signal to us interrupts `wait`, so it is asked again.
# shellcheck disable=SC2034
exit_status() {
    local result=0
    wait "$1" || result=$?
    while [ "$result" -gt 128 ] && kill -0 "$1" 2>/dev/null; do
        result=0
        wait "$1" || result=$?
    done
    status=$result
}

# packets FILM v|a: how many frames a stream of a film has.
packets() {
    local count
    count=$(ffprobe -v error -select_streams "$2:0" -count_packets -show_entries stream=nb_read_packets -of csv=p=0 "$1" 2>/dev/null | head -n 1) || true
    echo "${count:-0}" | tr -dc 0-9
}
