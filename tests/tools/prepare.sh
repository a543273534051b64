#!/usr/bin/env bash
# Other people's programs that the tests hold ours against. Whatever is there already is left alone.
#
#   prepare.sh DIRECTORY [build] [disk] [python] [azcopy]
#
#   build    a C compiler and linker, and cargo's formatter and linter
#   disk     mke2fs, debugfs, e2fsck, resize2fs and qemu-img, from the system's packages
#   python   DIRECTORY/venv with the Python storage SDK
#   azcopy   DIRECTORY/azcopy/azcopy, from npm, and the library it is linked with
#
# System packages are installed only by root and only by apt. What is missing otherwise is named, with its package, and
# ends the script with 1.
set -euo pipefail
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
directory=${1:?usage: prepare.sh DIRECTORY [build] [disk] [python] [azcopy]}
shift
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)

# Several tests may ask at once.
exec 9>"$directory/.lock"
flock 9

say() { printf 'prepare: %s\n' "$*" >&2; }

give_up() {
  say "$*"
  exit 1
}

# package NAME WHAT: WHAT is missing, and Debian has it in NAME.
package() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    give_up "$2 is missing: install the package $1, and run the tests again"
  fi
  say "installing $1 for $2"
  if [ ! -e "$directory/.updated" ]; then
    apt-get update -qq >&2 || give_up "apt-get update failed, so $2 cannot be installed (package $1)"
    touch "$directory/.updated"
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >&2 9>&- ||
    give_up "$2 is missing, and apt-get could not install the package $1"
}

build() {
  command -v cc >/dev/null || package build-essential "a C compiler"
  if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    rustup component add rustfmt clippy >&2 || give_up "cargo fmt or cargo clippy is missing, and rustup could not add it"
  fi
}

disk() {
  for tool in mke2fs debugfs e2fsck resize2fs; do
    command -v "$tool" >/dev/null || package e2fsprogs "$tool"
  done
  command -v qemu-img >/dev/null || package qemu-utils qemu-img
}

python() {
  local venv=$directory/venv wanted=$here/requirements.txt
  if [ -x "$venv/bin/python" ] && cmp -s "$wanted" "$venv/requirements.txt"; then return; fi
  command -v python3 >/dev/null || package python3 python3
  # A Python without ensurepip makes a venv without pip, and says so only when asked for one.
  python3 -c 'import venv, ensurepip' 2>/dev/null || package python3-venv "Python's venv module"
  say "making $venv"
  rm -rf "$venv"
  python3 -m venv "$venv" 9>&- || give_up "python3 -m venv $venv failed"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" >&2 9>&- ||
    give_up "pip could not install $(tr '\n' ' ' <"$wanted")into $venv: is there a package index within reach?"
  cp "$wanted" "$venv/requirements.txt"
}

azcopy() {
  local home=$directory/azcopy version=10.32.2 arch
  if ! { [ -x "$home/azcopy" ] && [ "$(cat "$home/version" 2>/dev/null)" = "$version" ]; }; then
    command -v npm >/dev/null || package npm npm
    case $(uname -m) in
      x86_64) arch=amd64 ;;
      aarch64) arch=arm64 ;;
      *) give_up "there is no azcopy for $(uname -m) on npm: name one in PAGEFERRY_AZCOPY" ;;
    esac
    say "fetching azcopy $version from npm"
    mkdir -p "$home"
    npm install --silent --no-save --no-audit --no-fund --prefix "$home" "@azure-tools/azcopy-linux@$version" >&2 9>&- ||
      give_up "npm could not install @azure-tools/azcopy-linux@$version: is there a registry within reach?"
    local found=$home/node_modules/@azure-tools/azcopy-linux/dist/bin/azcopy_linux_$arch
    [ -f "$found" ] || give_up "the npm package of azcopy $version holds no program for $arch"
    chmod +x "$found"
    ln -sfn "$found" "$home/azcopy"
    printf '%s' "$version" >"$home/version"
  fi
  # It is linked with a keyring library that servers do not have.
  "$home/azcopy" --version >/dev/null 2>&1 || package libsecret-1-0 "azcopy's libsecret-1.so.0"
  "$home/azcopy" --version >/dev/null || give_up "$home/azcopy does not run"
}

for part in "$@"; do
  case $part in
    build | disk | python | azcopy) "$part" ;;
    *) give_up "nobody knows how to prepare $part" ;;
  esac
done
