# dotk._dotk, the Python extension: one file for Python 3.11 and every later one (limited API), with
# libdotk inside and, where their libraries are, libdotk-text and the command.
#
# With a build of its own (pip install .) it must be there. In a build tree it is made beside the
# package's Python files, in python/dotk, if Python's headers are there; the tests use it from there.

# DOTK_PYTHON is the interpreter that the tests run. build/python is what `make python` sets up.
if(SKBUILD)
  find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
  set(python_headers ${Python_INCLUDE_DIRS})
elseif(CMAKE_CROSSCOMPILING OR DOTK_SANITIZE OR DOTK_FUZZ)
  return() # Python itself would have to be built for that
else()
  set(recent "import sys; assert sys.version_info >= (3, 11)")
  # One that was named, or found before, may be without them or gone.
  set(named ${DOTK_PYTHON})
  unset(DOTK_PYTHON CACHE)
  foreach(python ${named} ${PROJECT_SOURCE_DIR}/build/python/bin/python python3 /usr/bin/python3)
    execute_process(COMMAND ${python} -c "${recent}; import numpy, pytest"
                    RESULT_VARIABLE lacks OUTPUT_QUIET ERROR_QUIET)
    if(lacks EQUAL 0)
      set(DOTK_PYTHON ${python} CACHE STRING "Python with numpy and pytest" FORCE)
      break()
    elseif(python STREQUAL named)
      message(STATUS "${named} is not a Python 3.11 or later with numpy and pytest: another is looked for")
    endif()
  endforeach()
  foreach(python ${DOTK_PYTHON} python3 /usr/bin/python3)
    execute_process(
      COMMAND ${python} -c "${recent}; import sysconfig; print(sysconfig.get_path('include'))"
      OUTPUT_VARIABLE python_headers OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(EXISTS "${python_headers}/Python.h")
      break()
    endif()
  endforeach()
endif()
if(NOT EXISTS "${python_headers}/Python.h")
  message(STATUS "No headers of Python 3.11 or later: no Python module")
  return()
endif()

file(GLOB extension CONFIGURE_DEPENDS faces/python/src/*.c)
set(package ${PROJECT_BINARY_DIR}/python/dotk)
add_library(dotk-python MODULE ${extension})
# What is not in the limited API is not declared.
target_compile_options(dotk-python PRIVATE -Werror=implicit-function-declaration)
target_include_directories(dotk-python SYSTEM PRIVATE ${python_headers})
target_link_libraries(dotk-python PRIVATE dotk Threads::Threads m)
target_link_options(dotk-python PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/python.map
                    -Wl,-z,now -Wl,-z,relro -Wl,--as-needed)
set_target_properties(
  dotk-python PROPERTIES PREFIX "" OUTPUT_NAME _dotk SUFFIX .abi3.so LIBRARY_OUTPUT_DIRECTORY
                         ${package} LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/python.map)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_link_options(dotk-python PRIVATE -s)
endif()

# The command is a function of the extension: python -m dotk.
if(TARGET dotk-text AND JANSSON_FOUND AND ZLIB_FOUND)
  file(GLOB command CONFIGURE_DEPENDS faces/cli/*.c)
  add_library(dotk-command OBJECT ${command})
  target_compile_definitions(dotk-command PRIVATE main=dotk_command)
  target_compile_options(dotk-command PRIVATE -Wno-missing-prototypes)
  target_link_libraries(dotk-command PRIVATE dotk-text dotk PkgConfig::JANSSON ZLIB::ZLIB)
  target_compile_definitions(dotk-python PRIVATE DOTK_COMMAND=1)
  target_link_libraries(dotk-python PRIVATE dotk-command dotk-text PkgConfig::JANSSON ZLIB::ZLIB)
endif()

file(GLOB_RECURSE modules CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/faces/python/dotk
     faces/python/dotk/*.py faces/python/dotk/*.pyi faces/python/dotk/py.typed)
if(SKBUILD)
  install(TARGETS dotk-python DESTINATION dotk COMPONENT python)
else()
  foreach(module ${modules})
    configure_file(faces/python/dotk/${module} ${package}/${module} COPYONLY)
  endforeach()
endif()
