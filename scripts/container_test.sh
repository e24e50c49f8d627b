#!/usr/bin/env bash
# Builds the Dockerfile and runs the matrix in the image, without a Docker engine: buildah with
# chroot isolation, on a base made by debootstrap. Needs root, buildah and debootstrap.
#
#   scripts/container_test.sh [FOLDER]     keeps the base, the image and the results in FOLDER
#
# This machine's pip configuration, certificates, local wheels and Horovod's wheel are lent to the
# build: a wheel is taken only where its folder's name says that it would be built alike.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(realpath -m "${1:-.build/container}")
mkdir -p "$work/results" "$work/wheels"

for tool in buildah debootstrap; do
  command -v "$tool" > /dev/null || { echo "container-test needs $tool: apt-get install $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "container-test needs root for chroot isolation" >&2; exit 2; }

export BUILDAH_ISOLATION=chroot CONTAINERS_STORAGE_CONF=$work/storage.conf
printf '[storage]\ndriver = "%s"\ngraphroot = "%s"\nrunroot = "%s"\n' \
  "${CONTAINER_STORAGE:-overlay}" "$work/storage" "$work/run" > "$CONTAINERS_STORAGE_CONF"

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
wheels=${XDG_CACHE_HOME:-$HOME/.cache}/suite-horovod
[ -d "$wheels" ] && cp -ru "$wheels/." "$work/wheels"
lent=(--volume "$work/pip.conf:/etc/pip.conf:ro" --volume "$work/wheels:/lent-wheels")
[ -e "$authorities" ] && lent+=(--volume "$authorities:/lent-authorities.crt:ro")
while read -r folder; do
  # An index names the files beside it.
  [ "$(basename "$folder")" = simple ] && folder=$(dirname "$folder")
  [ -f "$folder" ] && folder=$(dirname "$folder")
  [ -d "$folder" ] && lent+=(--volume "$folder:$folder:ro")
done < <(grep -oE "(file://)?/[A-Za-z0-9_./-]+" "$work/pip.conf" | sed 's|^file://||' | sort -u)

# The committed tree and what is edited in it, without what git ignores.
rm -rf "$work/source" && mkdir "$work/source"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$work/source"
build() {
  local began=$SECONDS
  buildah bud --layers --format docker --build-arg BASE="$base" --build-arg HOROVOD_WHEELS=/lent-wheels \
    "${lent[@]}" -t suite "$work/source" > "$work/build.log" 2>&1 || { tail -n 60 "$work/build.log" >&2; exit 1; }
  echo "container-test: built in $((SECONDS - began)) s, $1"
}
build "the first time or from kept layers"
echo "# An edit of the source." >> "$work/source/suite/__init__.py"
build "after an edit of the source"
if grep -q "PyTorch (half a gigabyte)" "$work/build.log"; then
  echo "an edit of the source installs the packages anew" >&2; exit 1
fi

container=$(buildah from suite)
trap 'buildah rm "$container" > /dev/null' EXIT
root=$(buildah mount "$container")
echo "container-test: image of $(du -sm --one-file-system "$root" | cut -f1) MiB, of which" \
  "$(du -sm "$root/opt/suite/.venv" | cut -f1) MiB are the frameworks and packages"

# Whoever calls owns the results: a number that the image has no user for. The volume lies beside
# the image's own /results, which chroot isolation does not let be replaced; and a host name that
# resolves, as an engine would see to: without one Horovod's gloo crashes.
caller=4321
chown "$caller:$caller" "$work/results"
in_image() {
  local user=$1; shift
  buildah run --isolation chroot --hostname localhost --user "$user" --volume "$work/results:/host" \
    "$container" -- "$@"
}
[ "$(in_image suite id -un)" = suite ]
in_image suite sh -c '! touch /opt/suite/x 2> /dev/null'
[ "$(buildah inspect --format '{{.Docker.Config.Volumes}}' suite)" = 'map[/results:{}]' ]
health=$(buildah inspect --format '{{index .Docker.Config.Healthcheck.Test 1}}' suite)
in_image suite sh -c "$health" > "$work/health.log" || { cat "$work/health.log" >&2; exit 1; }
in_image "$caller:$caller" python -m suite run --preset smoke --out /host
newest=$(ls -td "$work"/results/*/ | head -n 1)
test -s "$newest/report.html"
others=$(find "$newest" ! -user "$caller" | head -n 3)
[ -z "$others" ] || { echo "not the caller's: $others" >&2; exit 1; }
python3 - "$newest/results.csv" <<'PY'
import csv
import sys

rows = list(csv.DictReader(open(sys.argv[1])))
bad = [row["case_id"] for row in rows if (row["status"], row["parity"]) != ("ok", "ok")]
sys.exit(f"not ok in the container: {bad}" if bad or len(rows) != 16 else 0)
PY
echo "container-test: healthy by doctor; 16 cells at parity in the image, as user $caller, whose" \
  "results are in $newest"
