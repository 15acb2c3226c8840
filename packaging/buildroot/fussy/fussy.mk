################################################################################
#
# fussy
#
################################################################################

FUSSY_VERSION = 0.1.0
FUSSY_SOURCE = fussy-$(FUSSY_VERSION).tar.xz
FUSSY_SITE = $(call qstrip,$(BR2_PACKAGE_FUSSY_SITE))
FUSSY_LICENSE = BSD-2-Clause
FUSSY_LICENSE_FILES = LICENSE
FUSSY_INSTALL_STAGING = YES
FUSSY_DEPENDENCIES = host-pkgconf botan bzip2 fmt libarchive zlib zstd

# ISA-L inflates about twice as fast; Buildroot has no package of it.
FUSSY_CONF_OPTS = \
	-Dtests=disabled \
	-Disal=disabled \
	-Dstatic_commands=disabled

ifeq ($(BR2_PACKAGE_FUSSY_TOOLS),y)
FUSSY_DEPENDENCIES += cli11 json-for-modern-cpp
FUSSY_CONF_OPTS += -Dexamples=enabled
else
FUSSY_CONF_OPTS += -Dexamples=disabled
endif

$(eval $(meson-package))
