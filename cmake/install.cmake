# What `cmake --install` puts where: headers, libraries, the command, and what finds them
# (find_package(dotk) for CMake, dotk.pc and dotk-text.pc for everybody else).
include(CMakePackageConfigHelpers)

set(installed dotk dotk-shared)
if(TARGET dotk-text)
  list(APPEND installed dotk-text dotk-text-shared)
endif()
install(TARGETS ${installed} EXPORT dotkTargets)
install(EXPORT dotkTargets NAMESPACE dotk:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dotk)
install(DIRECTORY include/dotk DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
if(TARGET dotk-cli)
  install(TARGETS dotk-cli)
endif()
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)

configure_package_config_file(cmake/dotkConfig.cmake.in ${PROJECT_BINARY_DIR}/dotkConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dotk)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/dotkConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dotkConfig.cmake ${PROJECT_BINARY_DIR}/dotkConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dotk)

# pkg-config files find their own place, so that an installed tree can be moved.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH up_to_prefix /${pkgconfig_dir} /)
foreach(module dotk dotk-text)
  configure_file(cmake/${module}.pc.in ${PROJECT_BINARY_DIR}/${module}.pc @ONLY)
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/dotk.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(TARGET dotk-text)
  install(FILES ${PROJECT_BINARY_DIR}/dotk-text.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

# The command's manual page and completions come from its own table of options.
if(TARGET dotk-cli)
  set(pages ${PROJECT_BINARY_DIR}/pages)
  file(MAKE_DIRECTORY ${pages})
  add_custom_command(
    TARGET dotk-cli POST_BUILD
    COMMAND dotk-cli --generate man > ${pages}/dotk.1
    COMMAND dotk-cli --generate bash > ${pages}/dotk
    COMMAND dotk-cli --generate zsh > ${pages}/_dotk
    COMMAND dotk-cli --generate fish > ${pages}/dotk.fish
    VERBATIM)
  install(FILES ${pages}/dotk.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${pages}/dotk DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${pages}/_dotk DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${pages}/dotk.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
