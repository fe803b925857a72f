#!/usr/bin/env bash
# build.sh DIR - makes the images webapp-base, webapp-server, webapp:1 and webapp:2 of what fetch.sh
# made in DIR. SILO names the program.
set -euo pipefail
dir=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
silo=${SILO:-silo}

# source_layer IMAGE SITE...: the files of each SITE on top of the server.
source_layer() {
    "$silo" create --name webapp-source webapp-server >/dev/null
    for site in "${@:2}"; do
        "$silo" cp "$site/." webapp-source:/var/www/html/
    done
    "$silo" commit webapp-source "$1"
    "$silo" rm webapp-source >/dev/null
}

"$silo" import "$dir/base.tar" webapp-base

"$silo" run --name webapp-install -v "$dir/debs:/debs:ro" webapp-base \
    sh -c 'DEBIAN_FRONTEND=noninteractive dpkg -i -R /debs' >/dev/null
"$silo" commit --change 'CMD ["nginx", "-g", "daemon off;"]' --change 'WORKDIR /' \
    webapp-install webapp-server
"$silo" rm webapp-install >/dev/null

source_layer webapp:1 "$here/site"
source_layer webapp:2 "$here/site" "$here/site-v2"
"$silo" image tree
