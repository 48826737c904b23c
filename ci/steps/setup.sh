#!/usr/bin/env bash
# Installs what the other steps need: the program's packages, the Pulumi release that they ask for, the policies' packages.
# PULUMI_SHA256, where set, is the checksum of Pulumi's archive; PULUMI_DOWNLOADS a mirror of https://get.pulumi.com/releases/sdk.
source "$(dirname "$0")/common.sh"

environment() { # FOLDER REQUIREMENTS
    [ -x "$1/bin/pip" ] || python3 -m venv "$1"
    "$1/bin/pip" install --quiet --requirement "$2"
}

install_pulumi() {
    local version installed machine archive
    version=$(.venv/bin/python -c 'from importlib.metadata import version; print(version("pulumi"))')
    installed=$(pulumi version 2>/dev/null || true)
    if [ "${installed#v}" = "$version" ]; then
        echo "pulumi $version is already installed"
        return
    fi
    case $(uname -m) in x86_64) machine=x64 ;; *) machine=arm64 ;; esac
    archive=$WORK/pulumi.tar.gz
    curl --fail --silent --show-error --location --retry 3 --output "$archive" \
        "${PULUMI_DOWNLOADS:-https://get.pulumi.com/releases/sdk}/pulumi-v$version-linux-$machine.tar.gz"
    if [ -n "${PULUMI_SHA256:-}" ]; then echo "$PULUMI_SHA256  $archive" | sha256sum --check --quiet; fi
    tar --extract --gzip --file "$archive" --directory "$WORK/cache/bin" --strip-components 1
    rm "$archive"
    echo "pulumi $version installed"
}

rm -rf "$PARTS" # of the last run in this folder
environment .venv "$REQUIREMENTS"
install_pulumi
if [ -n "$POLICY_PACK" ]; then environment "$POLICY_PACK/.venv" "$POLICY_PACK/requirements.txt"; fi
