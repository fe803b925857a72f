#!/usr/bin/env bash
# fetch.sh DIR - makes what build.sh needs in DIR: a Debian root file system, and nginx's packages.
# Needs mmdebstrap, apt and the network; run it as root on Debian.
set -euo pipefail
dir=$(realpath -m "$1")
mkdir -p "$dir/debs/partial"
mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    bookworm "$dir/base.tar"
# The packages that the root file system lacks, whatever this machine has.
tar -xOf "$dir/base.tar" ./var/lib/dpkg/status >"$dir/status"
apt-get -qq -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/debs" \
    -o APT::Sandbox::User=root --no-install-recommends --download-only -y install nginx-light >/dev/null
rm -rf "$dir/debs/partial" "$dir/debs/lock" "$dir/status" "$dir"/lock*
