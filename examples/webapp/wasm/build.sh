#!/usr/bin/env bash
# build.sh SERVER - makes the images webapp-wasm-server, webapp-wasm:1 and webapp-wasm:2 of the component SERVER.
# SILO names the program.
set -euo pipefail
server=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
silo=${SILO:-silo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# source_layer IMAGE SITE...: the files of each SITE on top of the server.
source_layer() {
    "$silo" create --name webapp-source webapp-wasm-server >/dev/null
    for site in "${@:2}"; do
        "$silo" cp "$site/." webapp-source:/var/www/html/
    done
    "$silo" commit webapp-source "$1"
    "$silo" rm webapp-source >/dev/null
}

mkdir -p "$work/tree/var/www/html"
cp "$server" "$work/tree/server.wasm"
tar -C "$work/tree" -cf "$work/server.tar" server.wasm var
"$silo" import --platform wasi/wasm --change 'ENTRYPOINT ["/server.wasm"]' "$work/server.tar" webapp-wasm-server

source_layer webapp-wasm:1 "$here/../site"
source_layer webapp-wasm:2 "$here/../site" "$here/../site-v2"
"$silo" image tree
