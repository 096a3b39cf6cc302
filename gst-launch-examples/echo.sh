#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends back what comes, picture and sound, as it is: nothing is decoded.
#
#   echo.sh
#
# In the other terminal:  ROLE=answer two-way-call.sh, or a browser or aiortc with copy and paste
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here.
# Needs:  nothing else
# Set:    ROLE=offer (default) or answer
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
prepare

launch -e rswebrtcsrc name=r call=echo \
    r.video_0 ! queue ! s.video_0 \
    r.audio_0 ! queue ! s.audio_0 \
    rswebrtcsink name=s call=echo role="${ROLE:-offer}"
