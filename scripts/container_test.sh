#!/usr/bin/env bash
# Builds the Dockerfile and runs the matrix in the image, without a Docker engine: buildah with
# chroot isolation, on a base made by debootstrap. Needs root, buildah and debootstrap.
#
#   scripts/container_test.sh [FOLDER [PART…]]
#
# The base, the images and the results are kept in FOLDER. Each part goes on with what those before
# it have left; without any, the first three follow each other:
#   base   the base that everything is built from
#   build  the image, twice: the second time after an edit of the source
#   run    health, users and the smoke preset in the image
#   hosts  examples/clusters/mpi.Dockerfile, the image of two containers that are two hosts
#
# This machine's pip configuration, certificates, local wheels and Horovod's wheel are lent to the
# build: a wheel is taken only where its folder's name says that it would be built alike.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(realpath -m "${1:-.build/container}")
parts=("${@:2}")
[ ${#parts[@]} -gt 0 ] || parts=(base build run)
mkdir -p "$work/results" "$work/wheels"

for tool in buildah debootstrap; do
  command -v "$tool" > /dev/null || { echo "container-test needs $tool: apt-get install $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "container-test needs root for chroot isolation" >&2; exit 2; }

export BUILDAH_ISOLATION=chroot CONTAINERS_STORAGE_CONF=$work/storage.conf
printf '[storage]\ndriver = "%s"\ngraphroot = "%s"\nrunroot = "%s"\n' \
  "${CONTAINER_STORAGE:-overlay}" "$work/storage" "$work/run" > "$CONTAINERS_STORAGE_CONF"
base=localhost/bookworm-minbase
authorities=/etc/ssl/certs/ca-certificates.crt

say() { echo "container-test: $*"; }

# An image of nothing but the distribution's own packages.
base() {
  local began=$SECONDS container
  ! buildah inspect --type image "$base" > /dev/null 2>&1 || return 0
  [ -e "$work/base/etc/debian_version" ] || debootstrap --variant=minbase bookworm "$work/base"
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/base" / > /dev/null
  buildah commit --quiet --rm "$container" "$base" > /dev/null
  say "$base made in $((SECONDS - began)) s"
}

# What the build borrows from this machine, as options of `buildah bud`.
lend() {
  # One configuration of pip for the build, from what is in force here; certificates are lent under
  # a name of their own, because the image installs some itself.
  local folder wheels=${XDG_CACHE_HOME:-$HOME/.cache}/suite-horovod
  {
    echo "[global]"
    python3 -m pip config list | grep -v cert= | sed -E "s/^(global|:env:)\.([a-z-]+)='(.*)'$/\2 = \3/" | sort -u
    [ ! -e "$authorities" ] || echo "cert = /lent-authorities.crt"
  } > "$work/pip.conf"
  chmod 644 "$work/pip.conf"
  [ ! -d "$wheels" ] || cp -ru "$wheels/." "$work/wheels"
  lent=(--volume "$work/pip.conf:/etc/pip.conf:ro" --volume "$work/wheels:/lent-wheels")
  [ ! -e "$authorities" ] || lent+=(--volume "$authorities:/lent-authorities.crt:ro")
  while read -r folder; do
    # An index names the files beside it.
    [ "$(basename "$folder")" != simple ] || folder=$(dirname "$folder")
    [ ! -f "$folder" ] || folder=$(dirname "$folder")
    [ ! -d "$folder" ] || lent+=(--volume "$folder:$folder:ro")
  done < <(grep -oE "(file://)?/[A-Za-z0-9_./-]+" "$work/pip.conf" | sed 's|^file://||' | sort -u)
}

# The committed tree and what is edited in it, without what git ignores.
take_source() {
  rm -rf "$work/source" && mkdir "$work/source"
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$work/source"
}

# built TAG LOG WORDS OPTION…: an image from the source, and how long that took.
built() {
  local tag=$1 log=$work/$2 words=$3 began=$SECONDS
  buildah bud --layers --format docker "${@:4}" -t "$tag" "$work/source" > "$log" 2>&1 \
    || { tail -n 60 "$log" >&2; exit 1; }
  say "$tag built in $((SECONDS - began)) s, $words"
}

build() {
  local options=(--build-arg BASE="$base" --build-arg HOROVOD_WHEELS=/lent-wheels)
  lend
  take_source
  built suite build.log "the first time or from kept layers" "${options[@]}" "${lent[@]}"
  echo "# An edit of the source." >> "$work/source/suite/__init__.py"
  built suite build.log "after an edit of the source" "${options[@]}" "${lent[@]}"
  if grep -q "PyTorch (half a gigabyte)" "$work/build.log"; then
    echo "an edit of the source installs the packages anew" >&2; exit 1
  fi
}

# use IMAGE: a container of it, in which `in_image` runs commands; it is removed in the end.
used=()
use() {
  container=$(buildah from "$1")
  used+=("$container")
}
trap '[ ${#used[@]} = 0 ] || buildah rm "${used[@]}" > /dev/null' EXIT

in_image() {
  local user=$1; shift
  buildah run --isolation chroot --hostname localhost --user "$user" --volume "$work/results:/host" \
    "$container" -- "$@"
}

run() {
  local began=$SECONDS root caller=4321 health newest others
  use suite
  root=$(buildah mount "$container")
  say "image of $(du -sm --one-file-system "$root" | cut -f1) MiB, of which" \
    "$(du -sm "$root/opt/suite/.venv" | cut -f1) MiB are the frameworks and packages"

  # Whoever calls owns the results: a number that the image has no user for. The volume lies beside
  # the image's own /results, which chroot isolation does not let be replaced; and a host name that
  # resolves, as an engine would see to: without one Horovod's gloo crashes.
  chown "$caller:$caller" "$work/results"
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
  say "healthy by doctor; 16 cells at parity in the image, as user $caller, in" \
    "$((SECONDS - began)) s; results are in $newest"
}

hosts() {
  [ -d "$work/source" ] || take_source
  built split-suite-mpi mpi.log "Open MPI and an SSH server on the image" \
    --build-arg IMAGE=localhost/suite -f "$work/source/examples/clusters/mpi.Dockerfile"
}

for part in "${parts[@]}"; do
  case $part in
    base|build|run|hosts) "$part" ;;
    *) echo "$part is no part of the container test: base, build, run, hosts" >&2; exit 2 ;;
  esac
done
