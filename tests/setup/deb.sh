#!/bin/sh
# deb.sh VERSION DIR - a Debian package of this tree, in DIR; its lint, where lintian is installed.
#
# The templates are export/debian/. They are put together with a copy of the sources, since the build of a
# package wants a folder `debian` at the top, and writes into the tree. DEBFULLNAME and DEBEMAIL name the
# maintainer.
set -eu
version=$1
mkdir -p "$2"
dir=$(realpath "$2")
tree=$dir/tidepool-$version
maintainer="${DEBFULLNAME:-tidepool} <${DEBEMAIL:-tidepool@tidepool.invalid}>"

rm -rf "$dir"/tidepool*
mkdir "$tree"
cp -r shim pool pressure mfile export Makefile README.md LICENSE CHANGES "$tree"
mv "$tree/export/debian" "$tree/debian"
chmod +x "$tree/debian/rules"
mkdir -p "$tree/debian/source"
echo '3.0 (native)' >"$tree/debian/source/format"
sed -i "s|@MAINTAINER@|$maintainer|" "$tree/debian/control"
# Dated by the sources, so that two builds are the same.
date=$(date -R -d "@$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGES)")
printf 'tidepool (%s) unstable; urgency=medium\n\n  * See /usr/share/doc/tidepool/CHANGES.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$date" >"$tree/debian/changelog"
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n'
    printf 'Upstream-Name: tidepool\n\nFiles: *\nCopyright: %s\nLicense: Expat\n' \
        "$(sed -n 's/^Copyright (c) //p' LICENSE)"
    sed '1,/^Copyright/d; /./!s/^/./; s/^/ /' LICENSE | sed '1d'
    printf '\nFiles: debian/*\nCopyright: %s\nLicense: Expat\n' "$(sed -n 's/^Copyright (c) //p' LICENSE)"
    printf '\nFiles: libjemalloc_pic.a\n'
    awk '/^Files: \*$/ { on = 1; next } /^$/ { on = 0 } on' /usr/share/doc/libjemalloc-dev/copyright
    printf 'Comment: of the package libjemalloc-dev; linked into libtidepool.so.\n'
} >"$tree/debian/copyright"

log=$dir/build.log
(cd "$tree" && dpkg-buildpackage -b -us -uc) >"$log" 2>&1 || {
    tail -n 20 "$log"
    echo "deb: the whole of it is in $log" >&2
    exit 1
}
if command -v lintian >/dev/null; then
    lintian --fail-on error,warning --allow-root "$dir"/tidepool_"$version"_*.changes
else
    echo 'deb: SKIPPED lintian, which is not installed' >&2
fi
echo "$2/$(basename "$dir"/tidepool_"$version"_*.deb)"
