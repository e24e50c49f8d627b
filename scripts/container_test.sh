#!/usr/bin/env bash
# Builds the Dockerfile and runs the matrix in the image, without a Docker engine: buildah with
# chroot isolation, on a base made by debootstrap. Needs root, buildah and debootstrap.
#
#   scripts/container_test.sh [FOLDER]     keeps the base and the results in FOLDER
#
# This machine's pip configuration, certificates and local wheels are lent to the build.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(realpath -m "${1:-.build/container}")
mkdir -p "$work/results"
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
export CONTAINERS_STORAGE_CONF=$work/storage.conf
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' \
  "$work/storage" "$work/run" > "$CONTAINERS_STORAGE_CONF"

for tool in buildah debootstrap; do
  command -v "$tool" > /dev/null || { echo "container-test needs $tool: apt-get install $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "container-test needs root for chroot isolation" >&2; exit 2; }

base=localhost/bookworm-minbase
if ! buildah inspect --type image "$base" > /dev/null 2>&1; then
  [ -e "$work/base/etc/debian_version" ] || debootstrap --variant=minbase bookworm "$work/base"
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/base" /
  buildah commit --quiet --rm "$container" "$base"
fi

# One configuration of pip for the build, from what is in force here; certificates are lent under
# a name of their own, because the image installs some itself.
authorities=/etc/ssl/certs/ca-certificates.crt
{
  echo "[global]"
  python3 -m pip config list | grep -v cert= | sed -E "s/^(global|:env:)\.([a-z-]+)='(.*)'$/\2 = \3/" | sort -u
  [ -e "$authorities" ] && echo "cert = /lent-authorities.crt"
} > "$work/pip.conf"
chmod 644 "$work/pip.conf"
lent=(--volume "$work/pip.conf:/etc/pip.conf:ro")
[ -e "$authorities" ] && lent+=(--volume "$authorities:/lent-authorities.crt:ro")
while read -r folder; do
  # An index names the files beside it.
  [ "$(basename "$folder")" = simple ] && folder=$(dirname "$folder")
  [ -d "$folder" ] && lent+=(--volume "$folder:$folder:ro")
done < <(grep -oE "(file://)?/[A-Za-z0-9_./-]+" "$work/pip.conf" | sed 's|^file://||' | sort -u)

buildah bud --isolation chroot --build-arg BASE="$base" "${lent[@]}" -t suite .

container=$(buildah from suite)
trap 'buildah rm "$container" > /dev/null' EXIT
chown 1000:1000 "$work/results"
# A volume beside the image's own /results, which chroot isolation does not let be replaced; and a
# host name that resolves, as an engine would see to: without one Horovod's gloo crashes.
flags=(--isolation chroot --hostname localhost --volume "$work/results:/host")
in_image() { buildah run "${flags[@]}" "$container" -- "$@"; }
[ "$(in_image id -un)" = suite ]
[ "$(buildah inspect --format '{{.OCIv1.Config.Volumes}}' suite)" = 'map[/results:{}]' ]
in_image python -m suite run --preset smoke --out /host
newest=$(ls -td "$work"/results/*/ | head -n 1)
test -s "$newest/report.html"
python3 - "$newest/results.csv" <<'PY'
import csv
import sys

rows = list(csv.DictReader(open(sys.argv[1])))
bad = [row["case_id"] for row in rows if (row["status"], row["parity"]) != ("ok", "ok")]
sys.exit(f"not ok in the container: {bad}" if bad or len(rows) != 16 else 0)
PY
echo "container-test: 16 cells ok in the image, as user suite, results in $newest"
