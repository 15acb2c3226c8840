SUMMARY = "Safe field upgrades of an application directory"
DESCRIPTION = "A signed, optionally encrypted package is verified, unpacked beside the running version and made live in \
one atomic step. When anything fails, the version that ran before runs again."
SECTION = "base"
LICENSE = "BSD-2-Clause"
LIC_FILES_CHKSUM = "file://LICENSE;md5=0adbb2f4c71beb358c1e4503b0827f47"

DEPENDS = "botan bzip2 fmt libarchive zlib zstd"

# Set both in local.conf or the distribution: the directory of the release archives, and the checksum that the
# announcement of the release names.
FUSSY_ARCHIVES ??= "file://${TOPDIR}/archives"
FUSSY_SHA256 ??= ""
SRC_URI = "${FUSSY_ARCHIVES}/fussy-${PV}.tar.xz"
SRC_URI[sha256sum] = "${FUSSY_SHA256}"

inherit meson pkgconfig

# Security updates of Botan and libarchive come with their own recipes.
EXTRA_OEMESON = "-Dtests=disabled -Dstatic_commands=disabled"

PACKAGECONFIG ??= "tools"
PACKAGECONFIG[tools] = "-Dexamples=enabled,-Dexamples=disabled,cli11 nlohmann-json"
# About twice as fast to inflate, on x86-64 and aarch64; it needs a recipe isa-l.
PACKAGECONFIG[isal] = "-Disal=enabled,-Disal=disabled,isa-l"

PACKAGES =+ "${PN}-tools"
SUMMARY:${PN}-tools = "${SUMMARY} - commands, update module for Mender, hooks for RAUC and SWUpdate"
FILES:${PN}-tools = "${bindir} ${datadir}/fussy ${datadir}/mender ${datadir}/bash-completion ${datadir}/zsh"
FILES:${PN}-dev += "${libdir}/cmake"
