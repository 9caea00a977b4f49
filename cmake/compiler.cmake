# How every file is compiled. No -march: kernels carry target attributes (src/kernel/kernel.h).
# No -ffast-math, and -ffp-contract=off: a score's bits are defined, FMAs are written out.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, RelWithDebInfo or Debug" FORCE)
endif()

add_compile_options(
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wpointer-arith
  -ffp-contract=off -fno-math-errno)
if(DOTK_WERROR)
  add_compile_options(-Werror)
endif()

if(DOTK_SANITIZE)
  add_compile_options(-fsanitize=${DOTK_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${DOTK_SANITIZE})
endif()
if(DOTK_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_link_options(-fsanitize=fuzzer-no-link)
endif()
if(DOTK_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
