# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

# Debian packages in a folder, without root and with nothing changed on the system; source it.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

find_mirror() {
  [[ -z ${DEBIAN_MIRROR:-} ]] || { echo "$DEBIAN_MIRROR" && return; }
  apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | grep -m 1 '/debian/*$' ||
    die 'apt uses no Debian mirror here: name one, DEBIAN_MIRROR=http://SERVER/debian'
}

# Unpack packages and all that they depend on: unpack_debian TARGET ARCHITECTURE "SUITE..." PACKAGE...
# apt keeps lists and packages of its own beside TARGET; proxies are those of the system.
unpack_debian() {
  local target=$1 architecture=$2 suites=$3 apt suite mirror deb options
  shift 3
  apt=$(dirname "$target")/apt
  mirror=$(find_mirror)
  mkdir -p "$apt"/{lists,archives}/partial
  : > "$apt/status"
  for suite in $suites; do
    echo "deb [signed-by=$keyring] $mirror $suite main"
  done > "$apt/sources.list"
  options=(
    -qq -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
    -o APT::Install-Recommends=false -o APT::Sandbox::User= -o Acquire::Languages=none
    -o Acquire::Retries=3 -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=-
    -o "Dir::State=$apt" -o "Dir::State::Status=$apt/status" -o "Dir::Cache=$apt"
  )
  apt-get "${options[@]}" update
  apt-get "${options[@]}" autoclean  # what an earlier release needed
  apt-get "${options[@]}" install --download-only -y "$@"
  for deb in "$apt"/archives/*.deb; do
    dpkg-deb -x "$deb" "$target"
  done
}
