# Program, both libraries, public headers, and a file for pkg-config.
include(GNUInstallDirs)
install(TARGETS genet_static genet_shared
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/genet DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET genet)
    install(TARGETS genet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
configure_file(cmake/genet.pc.in ${CMAKE_BINARY_DIR}/genet.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/genet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
