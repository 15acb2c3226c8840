# find_package(fussy) gives fussy::fussy (C) and fussy::fussyxx (C++). What to compile and link with is in the .pc files
# beside this one, and only there: one list of flags, not two.
include(CMakeFindDependencyMacro)
find_dependency(PkgConfig)

get_filename_component(_fussy_pc "${CMAKE_CURRENT_LIST_DIR}/../../pkgconfig" ABSOLUTE)
set(_fussy_saved "$ENV{PKG_CONFIG_PATH}")
set(ENV{PKG_CONFIG_PATH} "${_fussy_pc}:${_fussy_saved}")
foreach(_fussy_module IN ITEMS fussy fussy++)
  string(REPLACE "+" "x" _fussy_name "${_fussy_module}")
  if(NOT TARGET fussy::${_fussy_name})
    pkg_check_modules(FUSSY_PC_${_fussy_name} QUIET IMPORTED_TARGET GLOBAL ${_fussy_module})
    if(FUSSY_PC_${_fussy_name}_FOUND)
      add_library(fussy::${_fussy_name} ALIAS PkgConfig::FUSSY_PC_${_fussy_name})
    endif()
  endif()
endforeach()
set(ENV{PKG_CONFIG_PATH} "${_fussy_saved}")

if(NOT TARGET fussy::fussy)
  set(fussy_FOUND FALSE)
  set(fussy_NOT_FOUND_MESSAGE "fussy.pc below ${_fussy_pc} cannot be used")
endif()
