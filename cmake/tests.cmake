# Tests: every test/<room>/test_WHAT.c is one cmocka program, run once for each instruction set
# that this machine has (test_WHAT/avx2, ...) and that is not covered by a stronger one. test/long/ is built, and run by `ctest -C Long`;
# a program there that is not called test_WHAT is run once, and ends with 77 when it lacks data.
# test/<room>/WHAT.sh is run once, with the build folder as its argument.

# Real data: a folder with a subfolder for each set (mnist/, ...), given or beside the repository.
if(NOT DOTK_DATA)
  set(data "$ENV{DOTK_DATA}")
  if(NOT data)
    file(GLOB data ../data/mnist ../*/data/mnist)
    foreach(found ${data})
      cmake_path(GET found PARENT_PATH data)
    endforeach()
    cmake_path(NORMAL_PATH data)
  endif()
  set(DOTK_DATA "${data}" CACHE PATH "Folder of real data sets; tests skip without it" FORCE)
endif()
set(environment "")
if(DOTK_DATA)
  list(APPEND environment "DOTK_DATA=${DOTK_DATA}")
endif()
if(DOTK_SANITIZE)
  list(APPEND environment "ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1"
       "UBSAN_OPTIONS=print_stacktrace=1"
       "TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1")
endif()
set(timeout 120)
if(DOTK_SANITIZE OR DOTK_COVERAGE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(timeout 600)
endif()
if(CMAKE_CROSSCOMPILING) # an emulator is slow
  set(timeout 1200)
endif()

# The names of isa.def that this CPU, or the emulated one, can run.
set(isas portable)
if((NOT CMAKE_CROSSCOMPILING OR CMAKE_CROSSCOMPILING_EMULATOR) AND NOT DEFINED DOTK_ISAS)
  try_run(ran compiled ${PROJECT_BINARY_DIR}/isas
          SOURCES ${PROJECT_SOURCE_DIR}/cmake/isas.c ${PROJECT_SOURCE_DIR}/src/platform/cpu.c
          CMAKE_FLAGS -DINCLUDE_DIRECTORIES=${PROJECT_SOURCE_DIR}/src
          RUN_OUTPUT_VARIABLE found)
  if(compiled AND ran EQUAL 0)
    set(isas ${found})
  endif()
endif()
set(DOTK_ISAS ${isas} CACHE STRING "Instruction sets that the tests run with")
message(STATUS "Tests run with: ${DOTK_ISAS}")

# avx512, avx512vnni and avx512bf16 (neon, neondot) share all kernels but those of products of bytes
# and of bf16; so those that are not the strongest run only what uses these.
set(covered "")
set(family "")
foreach(isa ${DOTK_ISAS})
  if(isa MATCHES "^(avx512|neon)")
    list(APPEND covered ${family})
    set(family ${isa})
  endif()
endforeach()

# dotk_test(NAME ISA ARGUMENTS... COMMAND...): one line of ctest. COMMAND is a program of ours, or
# bash and a script.
function(dotk_test name)
  cmake_parse_arguments(arg "" "ISA;CONFIGURATION;TIMEOUT" "COMMAND;LABELS" ${ARGN})
  set(full ${name})
  set(variables ${environment})
  if(arg_ISA)
    set(full ${name}/${arg_ISA})
    list(APPEND variables "DOTK_ISA=${arg_ISA}")
  endif()
  set(configurations "")
  if(arg_CONFIGURATION)
    set(configurations CONFIGURATIONS ${arg_CONFIGURATION})
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT ${timeout})
  endif()
  add_test(NAME ${full} COMMAND ${PROJECT_SOURCE_DIR}/tools/run-test
                                 ${CMAKE_CROSSCOMPILING_EMULATOR} ${arg_COMMAND}
           WORKING_DIRECTORY ${PROJECT_BINARY_DIR} ${configurations})
  set_tests_properties(${full} PROPERTIES ENVIRONMENT "${variables}" TIMEOUT ${arg_TIMEOUT}
                                          SKIP_RETURN_CODE 77 LABELS "${arg_LABELS}")
  if(name MATCHES "measure|timing") # what measures time wants the machine to itself
    set_tests_properties(${full} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

if(CMOCKA_FOUND)
  file(GLOB_RECURSE tests CONFIGURE_DEPENDS test/test_*.c)
  if(CMAKE_CROSSCOMPILING) # these start the command themselves, without an emulator
    list(FILTER tests EXCLUDE REGEX "/test/faces/")
  endif()
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    set(no_vectors -fno-tree-vectorize) # gcc 12 fails on loops that sum up by fmax()
  endif()
  foreach(source ${tests})
    cmake_path(GET source STEM name)
    cmake_path(GET source PARENT_PATH folder)
    cmake_path(GET folder FILENAME room)
    if(TARGET ${name})
      string(REGEX REPLACE "^test_" "test_${room}_" name ${name})
    endif()
    add_executable(${name} ${source})
    target_compile_options(${name} PRIVATE ${no_vectors})
    if(CMAKE_CROSSCOMPILING)
      target_compile_definitions(${name} PRIVATE TEST_EMULATED=1)
    endif()
    # Tests of the public interface may see nothing else.
    if(room MATCHES "^(api|onnx)$")
      target_include_directories(${name} PRIVATE test ${CMOCKA_INCLUDE_DIRS})
    else()
      target_include_directories(${name} PRIVATE src test ${CMOCKA_INCLUDE_DIRS})
    endif()
    if(TARGET dotk-text)
      target_link_libraries(${name} PRIVATE dotk-text)
    endif()
    target_link_libraries(${name} PRIVATE dotk PkgConfig::CMOCKA Threads::Threads m)
    if(room STREQUAL "faces") # they read the command's JSON
      target_link_libraries(${name} PRIVATE PkgConfig::JANSSON)
    endif()
    if(TARGET dotk-cli AND room STREQUAL "faces")
      target_compile_definitions(${name} PRIVATE DOTK_CLI="$<TARGET_FILE:dotk-cli>")
      add_dependencies(${name} dotk-cli)
    endif()
    target_compile_definitions(${name} PRIVATE DOTK_SOURCE="${PROJECT_SOURCE_DIR}")
    foreach(isa ${DOTK_ISAS})
      if(isa IN_LIST covered AND NOT name MATCHES "search|screen|i8|i4|bf16|delta|changes")
        continue()
      endif()
      if(room STREQUAL "long")
        dotk_test(${name} ISA ${isa} CONFIGURATION Long TIMEOUT 3600 LABELS long
                  COMMAND $<TARGET_FILE:${name}>)
      else()
        dotk_test(${name} ISA ${isa} LABELS ${room} COMMAND $<TARGET_FILE:${name}>)
      endif()
    endforeach()
  endforeach()
else()
  message(STATUS "cmocka is not installed: no test programs")
endif()

# Programs of their own, which compare the instruction sets themselves.
file(GLOB long CONFIGURE_DEPENDS test/long/*.c)
list(FILTER long EXCLUDE REGEX "/test_[^/]*$")
foreach(source ${long})
  cmake_path(GET source STEM name)
  dotk_program(long-${name} ${source})
  dotk_test(long/${name} CONFIGURATION Long TIMEOUT 3600 LABELS long
            COMMAND $<TARGET_FILE:long-${name}>)
endforeach()

if(NOT CMAKE_CROSSCOMPILING)
  file(GLOB_RECURSE scripts CONFIGURE_DEPENDS test/*.sh)
endif()
foreach(script ${scripts})
  cmake_path(GET script STEM name)
  cmake_path(GET script PARENT_PATH folder)
  cmake_path(GET folder FILENAME room)
  set(longer "")
  if(room STREQUAL "python") # one entry for all of pytest's
    set(longer TIMEOUT 1200)
  endif()
  dotk_test(${room}/${name} LABELS ${room} ${longer} COMMAND bash ${script} ${PROJECT_BINARY_DIR})
endforeach()

# Examples end with 0.
foreach(source ${examples})
  cmake_path(GET source STEM name)
  dotk_test(example/${name} LABELS examples COMMAND $<TARGET_FILE:example-${name}>)
endforeach()

# Each fuzz target over its committed corpus, without libFuzzer.
if(NOT DOTK_FUZZ)
  file(GLOB targets CONFIGURE_DEPENDS fuzz/fuzz_*.c)
  foreach(source ${targets})
    cmake_path(GET source STEM name)
    string(REGEX REPLACE "^fuzz_" "" what ${name})
    dotk_program(${name} ${source} ${PROJECT_SOURCE_DIR}/cmake/replay.c)
    dotk_test(${name} LABELS fuzz
              COMMAND $<TARGET_FILE:${name}> ${PROJECT_SOURCE_DIR}/fuzz/corpus/${what})
  endforeach()
endif()
