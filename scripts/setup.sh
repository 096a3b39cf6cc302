#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Installs what this machine lacks to build, run and test the plugin. Says what it installs and why, asks nothing,
# and does nothing where nothing is missing (then it needs no network and no root).
#
#   scripts/setup.sh            to build the plugin and to run the examples
#   scripts/setup.sh --tests    also what tests/run.sh needs, with a Python environment in .venv-tests and packages of
#                               npm's in .node-tests
#   scripts/setup.sh --benches  also what benches/run.sh needs, which is little
#   scripts/setup.sh --check    only say what is missing; exit status 1 if anything is (may be joined with the others)
#
# Knows Debian and its relatives (apt). Elsewhere it names what is needed and checks GStreamer and Rust. The browsers of
# the tests are Debian's packages; elsewhere they must be there by other means.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv-tests
requirements=$root/tests/requirements.txt
node_tests=$root/.node-tests
node_packages="
puppeteer-core@24.43.1|drives the browsers
whip-whep@1.2.0|a WHIP and a WHEP client, for the tests of our servers
@eyevinn/whip-web-client@1.1.7|a WHIP client
@eyevinn/webrtc-player@0.13.0|a WHEP client
werift@0.24.4|a WebRTC peer that picks layers of simulcast
janus-whep-server@1.1.0|a WHEP server in front of Janus, for the tests of our clients
"
gstreamer_needed=1.22

tests=no
benches=no
check_only=no
for argument in "$@"; do
    case $argument in
        --tests) tests=yes ;;
        --benches) benches=yes ;;
        --check) check_only=yes ;;
        -h | --help)
            sed -n '3,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *)
            echo "setup: unknown argument '$argument' (known: --tests, --benches, --check)" >&2
            exit 2
            ;;
    esac
done

say() {
    echo "setup: $*"
}

fail() {
    echo "setup: $*" >&2
    exit 1
}

command_exists() {
    command -v "$1" >/dev/null 2>&1
}

python_can_make_venvs() {
    command_exists python3 && python3 -c 'import ensurepip, venv' 2>/dev/null
}

# Debian 12 has Node.js 18; puppeteer-core wants no less.
node_is_new_enough() {
    command_exists node && node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)'
}

on_debian() {
    grep -qs '^ID=debian$' /etc/os-release
}

# package | what tells that it is not needed ("-": only the package itself) | why
build_packages="
build-essential|command_exists cc|C compiler and linker: rustc links with it, and the ring crate compiles C and assembly
pkg-config|command_exists pkg-config|finds GStreamer's libraries for the build
libgstreamer1.0-dev|-|GStreamer's headers and libraries to build against
libgstreamer-plugins-base1.0-dev|-|the same for its RTP, video and app libraries
"
run_packages="
gstreamer1.0-tools|command_exists gst-launch-1.0|gst-launch-1.0 and gst-inspect-1.0, which every example runs
gstreamer1.0-plugins-base|-|Opus encoder, audio and video conversion, test sources
gstreamer1.0-plugins-good|-|RTP payloaders and jitter buffer, mp4/mkv/webm files, VP8, webcams
gstreamer1.0-plugins-bad|-|H264 and Opus parsers, openh264, hardware encoders
gstreamer1.0-plugins-ugly|-|x264, the software H264 encoder of the examples
gstreamer1.0-libav|-|decoders for H264 and AAC
gstreamer1.0-x|-|windows, for receive-to-screen.sh
ffmpeg|command_exists ffprobe|ffprobe, which looks into films and counts their frames
"
webrtcbin_packages="
gstreamer1.0-nice|-|ICE for webrtcbin, a WebRTC peer of the tests and benchmarks
python3-gi|-|Python bindings, with which tests and benchmarks drive webrtcbin
gir1.2-gstreamer-1.0|-|bindings for GStreamer's core
gir1.2-gst-plugins-base-1.0|-|bindings for session descriptions
gir1.2-gst-plugins-bad-1.0|-|bindings for webrtcbin
gir1.2-nice-0.1|-|bindings for ICE: tells webrtcbin to stay on this machine
"
test_packages="
meson|command_exists meson|the tests build and install with Meson too
ninja-build|command_exists ninja|runs what Meson sets up
python3-venv|python_can_make_venvs|Python environment with aiortc, a WebRTC peer of the tests
nodejs|node_is_new_enough|runs what drives the browsers
janus|command_exists janus|a WebRTC server, for the tests of our WHIP and WHEP clients
iproute2|command_exists ip|namespaces with networks of their own, for the test of a network that goes away
coturn|command_exists turnserver|a TURN server, for the tests with relays
npm|command_exists npm|fetches puppeteer-core, which drives the browsers, and WHIP and WHEP programs of others
"
browser_packages="
chromium|command_exists chromium|a WebRTC peer of the tests
firefox-esr|command_exists firefox-esr|a WebRTC peer of the tests
"

wanted=$build_packages$run_packages
if [ "$benches" = yes ] || [ "$tests" = yes ]; then
    wanted=$wanted$webrtcbin_packages
fi
if [ "$tests" = yes ]; then
    wanted=$wanted$test_packages
    if on_debian; then
        wanted=$wanted$browser_packages
    fi
fi

install_missing_packages() {
    local package check reason
    local -a names=() missing=() as_root=()
    declare -A installed=() checks=() reasons=()
    while IFS='|' read -r package check reason; do
        [ -n "$package" ] || continue
        names+=("$package")
        checks[$package]=$check
        reasons[$package]=$reason
    done <<<"$wanted"

    # One call for all of them; it fails for those that dpkg has never heard of, and lists the rest.
    while read -r status package; do
        if [ "$status" = installed ]; then
            installed[$package]=yes
        fi
    done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${names[@]}" 2>/dev/null || true)

    for package in "${names[@]}"; do
        [ -z "${installed[$package]:-}" ] || continue
        if [ "${checks[$package]}" != - ] && ${checks[$package]}; then
            continue
        fi
        missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    say "missing packages:"
    for package in "${missing[@]}"; do
        printf '  %-34s %s\n' "$package" "${reasons[$package]}"
    done
    if [ "$check_only" = yes ]; then
        incomplete=yes
        return 0
    fi
    if [ "$(id -u)" != 0 ]; then
        command_exists sudo || fail "not root and no sudo: as root, run  apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing them with apt-get"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 update
    # Debian's packages would start servers for everybody; the tests start their own.
    for package in janus coturn; do
        if [[ " ${missing[*]} " == *" $package "* ]] && [ -d /run/systemd/system ]; then
            "${as_root[@]}" systemctl mask "$package.service"
        fi
    done
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "${missing[@]}"
}

name_what_is_needed() {
    local package reason
    say "no dpkg here: these (Debian's names) must be there by other means:"
    while IFS='|' read -r package _ reason; do
        [ -z "$package" ] || printf '  %-34s %s\n' "$package" "$reason"
    done <<<"$wanted"
}

check_gstreamer() {
    local module version
    if ! command_exists pkg-config; then
        problem "no pkg-config, so GStreamer cannot be found"
        return
    fi
    for module in gstreamer-1.0 gstreamer-base-1.0 gstreamer-rtp-1.0 gstreamer-video-1.0; do
        if ! version=$(pkg-config --modversion "$module" 2>/dev/null); then
            problem "pkg-config does not find $module; are its development files installed?"
        elif ! pkg-config --atleast-version="$gstreamer_needed" "$module"; then
            problem "$module is $version, and $gstreamer_needed is needed: Debian 12, Ubuntu 24.04 or newer have it"
            return
        fi
    done
}

check_rust() {
    local needed version
    if ! command_exists cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    needed=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    if ! command_exists cargo || ! command_exists rustc; then
        problem "no cargo: install Rust $needed or newer, see https://rustup.rs"
        return
    fi
    version=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n%s\n' "$needed" "${version%%-*}" | sort -V | head -n 1)" != "$needed" ]; then
        problem "Rust is $version, and $needed is needed: rustup update stable"
    fi
    if [ "$tests" = yes ]; then
        cargo fmt --version >/dev/null 2>&1 || problem "no rustfmt: rustup component add rustfmt"
        cargo clippy --version >/dev/null 2>&1 || problem "no clippy: rustup component add clippy"
    fi
}

# Is every line of the requirements met in the environment? (Exact versions where a line has one.)
venv_is_complete() {
    [ -x "$venv/bin/python" ] && "$venv/bin/python" - "$requirements" 2>/dev/null <<'PYTHON'
import importlib.metadata, re, sys

for line in open(sys.argv[1], encoding="utf-8"):
    name, version = re.match(r"\s*([\w.-]*)\s*(?:==\s*([\w.]+))?", line).groups()
    if name and importlib.metadata.version(name) != (version or importlib.metadata.version(name)):
        sys.exit(1)
PYTHON
}

make_venv() {
    ! venv_is_complete || return 0
    say "missing: ${venv#"$root"/} with $(tr '\n' ' ' <"$requirements")(for the tests with aiortc)"
    if [ "$check_only" = yes ]; then
        incomplete=yes
        return 0
    fi
    say "making it with python3 -m venv and pip"
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python3 -m venv --clear "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    venv_is_complete || fail "pip ran, and $requirements is not met all the same"
}

# Those packages of npm's, as name@version, that are not there in just this version.
missing_node_packages() {
    local package reason
    while IFS='|' read -r package reason; do
        if [ -n "$package" ] && ! grep -qs "\"version\": \"${package##*@}\"" "$node_tests/node_modules/${package%@*}/package.json"; then
            echo "$package"
        fi
    done <<<"$node_packages"
}

make_node_tests() {
    local package reason
    local -a missing=() all=()
    mapfile -t missing < <(missing_node_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "missing in ${node_tests#"$root"/}:"
    while IFS='|' read -r package reason; do
        [ -n "$package" ] || continue
        all+=("$package")
        if printf '%s\n' "${missing[@]}" | grep -qxF -- "$package"; then
            printf '  %-34s %s\n' "$package" "$reason"
        fi
    done <<<"$node_packages"
    if [ "$check_only" = yes ]; then
        incomplete=yes
        return 0
    fi
    say "fetching them with npm"
    mkdir -p "$node_tests"
    # All of them: npm removes what it is not told of.
    npm install --prefix "$node_tests" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error "${all[@]}"
    mapfile -t missing < <(missing_node_packages)
    [ ${#missing[@]} -eq 0 ] || fail "npm ran, and ${missing[*]} is not there all the same"
}

check_browsers() {
    command_exists chromium || say "no chromium: the tests with it fail, or leave it out with RSWEBRTC_WITHOUT=chromium"
    command_exists firefox-esr || say "no firefox-esr: the tests with it fail, or leave it out with RSWEBRTC_WITHOUT=firefox"
}

incomplete=no
problem() {
    echo "setup: $*" >&2
    incomplete=yes
}

if command_exists dpkg-query && command_exists apt-get; then
    install_missing_packages
else
    name_what_is_needed
fi
check_gstreamer
check_rust
if [ "$tests" = yes ]; then
    make_venv
    make_node_tests
    check_browsers
fi
[ "$incomplete" = no ] || fail "not complete, see above"
say "complete"
