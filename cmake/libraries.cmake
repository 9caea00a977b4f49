# libdotk and libdotk-text, each static and shared from the same objects.

# Layers 0 - 6: libc, libm, pthreads and nothing else.
file(GLOB_RECURSE core CONFIGURE_DEPENDS src/*.c)
list(FILTER core EXCLUDE REGEX "/src/(text|model|train|collection)/")
# Kernels of other processors: the lines of isa.def that do not apply.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  list(FILTER core EXCLUDE REGEX "/src/kernel/neon")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  list(FILTER core EXCLUDE REGEX "/src/kernel/avx")
endif()
# Layers 7 - 9.
file(GLOB_RECURSE text CONFIGURE_DEPENDS src/text/*.c src/model/*.c src/train/*.c
                                         src/collection/*.c)

# dotk_library(NAME OBJECTS VERSION_SCRIPT): targets NAME (static) and NAME-shared.
function(dotk_library name objects)
  add_library(${name} STATIC $<TARGET_OBJECTS:${objects}>)
  add_library(${name}-shared SHARED $<TARGET_OBJECTS:${objects}>)
  foreach(library ${name} ${name}-shared)
    target_include_directories(
      ${library} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  endforeach()
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${name}-static)
  # Until 1.0 every minor version may change the binary interface, so both numbers name it.
  set_target_properties(
    ${name}-shared
    PROPERTIES OUTPUT_NAME ${name}
               EXPORT_NAME ${name}
               VERSION ${PROJECT_VERSION}
               SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
               LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports.map)
  target_link_options(${name}-shared PRIVATE
                      -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map
                      -Wl,-z,now -Wl,-z,relro -Wl,--as-needed -Wl,-Bsymbolic-functions)
  if(NOT DOTK_SANITIZE AND NOT DOTK_FUZZ) # a sanitizer's symbols come with the program
    target_link_options(${name}-shared PRIVATE -Wl,-z,defs)
  endif()
endfunction()

# Before it has given out registers, gcc 12 moves loads up for which 32 are not enough: tiles spill.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  set(kernels ${core})
  list(FILTER kernels INCLUDE REGEX "/src/kernel/neon")
  set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS -fno-schedule-insns)
endif()

# Kernels read no foreign bytes; instrumented for libFuzzer, one file takes clang minutes.
if(DOTK_FUZZ)
  set(kernels ${core})
  list(FILTER kernels INCLUDE REGEX "/src/kernel/")
  set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS -fno-sanitize=all)
endif()

add_library(dotk-objects OBJECT ${core})
target_include_directories(dotk-objects PRIVATE include src)
dotk_library(dotk dotk-objects)
foreach(library dotk dotk-shared)
  target_link_libraries(${library} PRIVATE Threads::Threads m)
endforeach()

if(text AND UTF8PROC_FOUND)
  add_library(dotk-text-objects OBJECT ${text})
  target_include_directories(dotk-text-objects PRIVATE include src ${UTF8PROC_INCLUDE_DIRS})
  dotk_library(dotk-text dotk-text-objects)
  target_link_libraries(dotk-text PUBLIC dotk PRIVATE ${UTF8PROC_LIBRARIES})
  target_link_libraries(dotk-text-shared PUBLIC dotk-shared PRIVATE ${UTF8PROC_LIBRARIES} m)
endif()
