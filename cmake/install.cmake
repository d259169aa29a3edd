# Program, both libraries, public headers, and files for pkg-config and for
# find_package.  All paths are relative to where those files lie: what is installed
# may be moved.
#
# The static library needs the libraries that it was built with; the shared one
# brings them along.  So the two have an export each, and with CMake a program that
# links the shared one needs no development packages but genet's.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(GENET_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/genet)

set_target_properties(genet_shared PROPERTIES EXPORT_NAME genet)
foreach(kind static shared)
    install(TARGETS genet_${kind} EXPORT genet-${kind}-targets
            ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
            INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    install(EXPORT genet-${kind}-targets NAMESPACE genet:: DESTINATION ${GENET_CMAKE_DIR})
endforeach()
install(DIRECTORY include/genet DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
if(TARGET genet)
    install(TARGETS genet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# What the static library needs, by pkg-config's names.  libcurl is named as a
# library: what it was built with in turn (a dozen libraries) is its own affair,
# and their development packages are seldom there.
set(GENET_REQUIRES_CMAKE JANSSON=jansson ZLIB=zlib PCRE2=libpcre2-8 UTF8PROC=libutf8proc)
set(GENET_PC_REQUIRES "jansson zlib libpcre2-8 libutf8proc")
set(GENET_PC_LIBS "-lm -pthread")
if(PNG_FOUND)
    list(APPEND GENET_REQUIRES_CMAKE PNG=libpng)
    string(APPEND GENET_PC_REQUIRES " libpng")
endif()
if(CURL_FOUND)
    list(APPEND GENET_REQUIRES_CMAKE CURL=libcurl)
    list(JOIN CURL_LDFLAGS " " flags)
    string(APPEND GENET_PC_LIBS " ${flags}")
endif()

# From lib/pkgconfig (or lib/ARCHITECTURE/pkgconfig) back to the prefix.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(GENET_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
    set(GENET_PC_LIBDIR ${CMAKE_INSTALL_FULL_LIBDIR})
    set(GENET_PC_INCLUDEDIR ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
    file(RELATIVE_PATH climb /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
    string(REGEX REPLACE "/$" "" GENET_PC_PREFIX "\${pcfiledir}/${climb}")
    set(GENET_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
    set(GENET_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/genet.pc.in ${CMAKE_BINARY_DIR}/genet.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/genet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_package_config_file(cmake/genet-config.cmake.in ${CMAKE_BINARY_DIR}/genet-config.cmake
    INSTALL_DESTINATION ${GENET_CMAKE_DIR})
# Before 1.0 every minor version may break what the one before promised.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/genet-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/genet-config.cmake ${CMAKE_BINARY_DIR}/genet-config-version.cmake
        DESTINATION ${GENET_CMAKE_DIR})
