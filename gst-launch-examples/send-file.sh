#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends any file through a data channel, without media.
#
#   send-file.sh FILE
#
# In the other terminal, on this machine or another:  receive-file.sh
# Expect: one line of JSON (the offer). Paste it there, paste the answer back here. Both end when the whole file has arrived.
# Needs:  nothing but GStreamer's core elements
set -euo pipefail
. "$(dirname "$0")/env.sh"
read_arguments "$@"
input=${arguments[0]:-}
[ -n "$input" ] || [ "$print" = yes ] || fail "name the file to send"
prepare

# A block is a message: 64 KiB is what every peer takes.
launch filesrc location="${input:-FILE}" blocksize=65536 ! s.data_0 \
    rswebrtcsink name=s data_0::label="$(basename "${input:-FILE}")"
