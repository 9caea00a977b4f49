# The command, the examples, the benches and the fuzz targets.

# dotk_program(NAME SOURCE...): linked with the static libraries, and able to see src/.
function(dotk_program name)
  add_executable(${name} ${ARGN})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  if(TARGET dotk-text)
    target_link_libraries(${name} PRIVATE dotk-text)
  endif()
  target_link_libraries(${name} PRIVATE dotk Threads::Threads m)
endfunction()

# The command. It sees include/dotk only.
file(GLOB cli CONFIGURE_DEPENDS faces/cli/*.c)
if(cli AND TARGET dotk-text)
  add_executable(dotk-cli ${cli})
  set_target_properties(dotk-cli PROPERTIES OUTPUT_NAME dotk)
  target_link_libraries(dotk-cli PRIVATE dotk-text dotk PkgConfig::JANSSON ZLIB::ZLIB m)
endif()

# Examples are users of the shared library: examples/NAME.c becomes example-NAME.
file(GLOB examples CONFIGURE_DEPENDS examples/*.c)
foreach(source ${examples})
  cmake_path(GET source STEM name)
  add_executable(example-${name} ${source})
  if(TARGET dotk-text-shared)
    target_link_libraries(example-${name} PRIVATE dotk-text-shared)
  endif()
  target_link_libraries(example-${name} PRIVATE dotk-shared m)
endforeach()

# Benches: bench/NAME.c becomes bench-NAME, bench/<folder>/ may have rules of its own.
file(GLOB benches CONFIGURE_DEPENDS bench/*.c)
foreach(source ${benches})
  cmake_path(GET source STEM name)
  dotk_program(bench-${name} ${source})
endforeach()
file(GLOB bench_rules CONFIGURE_DEPENDS bench/CMakeLists.txt bench/*/CMakeLists.txt)
foreach(rules ${bench_rules})
  cmake_path(GET rules PARENT_PATH folder)
  add_subdirectory(${folder})
endforeach()

# Fuzz targets: fuzz/fuzz_WHAT.c, run by libFuzzer here, replayed over their corpus by the tests.
if(DOTK_FUZZ)
  file(GLOB targets CONFIGURE_DEPENDS fuzz/fuzz_*.c)
  foreach(source ${targets})
    cmake_path(GET source STEM name)
    dotk_program(${name} ${source})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endforeach()
endif()
