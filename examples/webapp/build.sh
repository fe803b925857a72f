#!/usr/bin/env bash
# build.sh DIR - builds the images webapp-base, webapp-server, webapp:1 and webapp:2 of what fetch.sh
# made in DIR. SILO names the program.
set -euo pipefail
dir=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
silo=${SILO:-silo}

"$silo" build -t webapp-base -f "$here/base.Dockerfile" "$dir"
"$silo" build -t webapp-server -f "$here/server.Dockerfile" "$dir"
"$silo" build -t webapp:1 "$here"

# The same with one page changed.
next=$(mktemp -d)
trap 'rm -rf "$next"' EXIT
cp -r "$here/." "$next"
cp "$here/site-v2/"* "$next/site/"
"$silo" build -t webapp:2 "$next"
"$silo" image tree
