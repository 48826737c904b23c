#!/usr/bin/env bash
# Puts the Pulumi release that requirements-stack.txt pins into BIN (default: .pulumi-bin). PULUMI_SHA256, where set, is the
# archive's checksum; PULUMI_DOWNLOADS is a mirror of https://get.pulumi.com/releases/sdk.
source "$(dirname "$0")/common.sh"
version=$(sed -n 's/^pulumi==//p' requirements-stack.txt)
bin=${BIN:-.pulumi-bin}
if [ "$("$bin/pulumi" version 2>/dev/null || true)" = "v$version" ]; then
    echo "pulumi $version is already installed"
    exit
fi
archive=$(mktemp)
trap 'rm -f "$archive"' EXIT
curl --fail --silent --show-error --location --retry 3 \
    --output "$archive" "${PULUMI_DOWNLOADS:-https://get.pulumi.com/releases/sdk}/pulumi-v$version-linux-x64.tar.gz"
if [ -n "${PULUMI_SHA256:-}" ]; then
    echo "$PULUMI_SHA256  $archive" | sha256sum --check --quiet
fi
mkdir -p "$bin"
tar --extract --gzip --file "$archive" --directory "$bin" --strip-components 1
echo "pulumi $version installed"
