#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Records the stream of a WHEP server, as it comes, without decoding, to a file, by default received.mkv in this folder.
#
#   record-from-whep.sh [URL [OUTPUT.mkv|.webm|.mp4]]
#
# In the other terminal:  serve-webcam-page.sh or relay.sh, whose URL is the default (http://127.0.0.1:8081/whep)
# Expect: what was negotiated; the file is finished when the server says that the stream is over, or at Ctrl-C. When the
#         connection is lost and comes back, the recording goes on in the same file.
# Needs:  matroskamux, webmmux, mp4mux (plugins-good), opusparse (plugins-bad)
# Set:    AUDIO=no when the server sends no sound (a muxer waits for each stream that it was told of); TOKEN=…;
#         CA=cert.pem for a server with a certificate that the system does not know
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
output=${arguments[1]:-received.mkv}
record_to "$output"
go_to "${arguments[0]:-http://127.0.0.1:8081/whep}"
prepare "$muxer" opusparse

launch -e rswebrtcsrc name=r signaller=whep-client "${gone_to[@]}" "${codecs[@]}" \
    "${recorder_video[@]}" ! "$muxer" name=m ! filesink location="$output" \
    "${recorder_audio[@]}"
