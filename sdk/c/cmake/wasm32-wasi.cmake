# A toolchain for guests: cmake -DCMAKE_TOOLCHAIN_FILE=.../lib/cmake/Refrain/wasm32-wasi.cmake
#
# The compiler is the first of clang-22 to clang-19 and clang that is there, or the one of REFRAIN_CC; that for C++ is the
# clang++ beside it, or the one of REFRAIN_CXX. Programs get a stack of 1 MiB at the bottom of their memory, where an
# overflow traps instead of writing over data. C++ is compiled without exceptions, which Debian's library has not.
# CMake has no platform of the name WASI by itself.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)

if(NOT REFRAIN_CC)
  find_program(REFRAIN_CC NAMES clang-22 clang-21 clang-20 clang-19 clang REQUIRED)
endif()
set(CMAKE_C_COMPILER "${REFRAIN_CC}")
set(CMAKE_C_COMPILER_TARGET wasm32-wasi)
# Where it is not there a project in C++ says so, instead of taking this machine's.
if(NOT REFRAIN_CXX)
  string(REGEX REPLACE "clang(-[0-9]+)?$" "clang++\\1" REFRAIN_CXX "${REFRAIN_CC}")
endif()
set(CMAKE_CXX_COMPILER "${REFRAIN_CXX}")
set(CMAKE_CXX_COMPILER_TARGET wasm32-wasi)
set(CMAKE_CXX_FLAGS_INIT -fno-exceptions)
string(REGEX MATCH "-[0-9]+$" refrain_version "${REFRAIN_CC}")
find_program(CMAKE_AR NAMES "llvm-ar${refrain_version}" llvm-ar REQUIRED)
find_program(CMAKE_RANLIB NAMES "llvm-ranlib${refrain_version}" llvm-ranlib REQUIRED)

set(CMAKE_EXECUTABLE_SUFFIX_C .wasm)
set(CMAKE_EXECUTABLE_SUFFIX_CXX .wasm)
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-z,stack-size=1048576 -Wl,--stack-first")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES REFRAIN_CC REFRAIN_CXX)

# Headers and libraries of this machine are not the guest's. The package of librefrain.a is found beside this file.
get_filename_component(refrain_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
list(APPEND CMAKE_PREFIX_PATH "${refrain_prefix}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
