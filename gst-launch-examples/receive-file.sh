#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Writes what comes on a data channel into a file.
#
#   receive-file.sh [OUTPUT]
#
# In the other terminal:  send-file.sh, or any peer that opens a data channel
# Expect: paste the offer here; one line of JSON (the answer) comes for the other side. Ends with the channel.
# Needs:  nothing but GStreamer's core elements
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
output=${arguments[0]:-received.bin}
prepare

launch -e rswebrtcsrc name=r r.data_0 ! filesink location="$output"
