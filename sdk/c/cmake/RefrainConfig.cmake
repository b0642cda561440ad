# find_package(Refrain) defines Refrain::refrain: the headers, librefrain.a, wasi-libc's emulations of signals and of memory
# maps, and a stack of 1 MiB at the bottom of memory, where an overflow traps instead of writing over data.
#
# A project has another stack by options of its own, after the toolchain file beside this one, or by CMAKE_EXE_LINKER_FLAGS
# with any other: of two sizes the linker takes the last, and options from here come after those of a target.
#
# Link it to every target that uses sockets or a call that wasi-libc lacks. Headers come before wasi-libc's own, whose
# calls some of them replace.
get_filename_component(refrain_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET Refrain::refrain)
  set(refrain_link_options "-Wl,--stack-first")
  if(NOT CMAKE_EXE_LINKER_FLAGS MATCHES "stack-size=")
    list(APPEND refrain_link_options "-Wl,-z,stack-size=1048576")
  endif()
  add_library(Refrain::refrain STATIC IMPORTED)
  set_target_properties(Refrain::refrain PROPERTIES
    IMPORTED_LOCATION "${refrain_prefix}/lib/refrain-wasi/librefrain.a"
    INTERFACE_LINK_LIBRARIES "wasi-emulated-signal;wasi-emulated-mman"
    INTERFACE_LINK_OPTIONS "${refrain_link_options}")
  # As plain options: a system folder would come after those of the compiler.
  set_property(TARGET Refrain::refrain PROPERTY INTERFACE_COMPILE_OPTIONS "-I${refrain_prefix}/include/refrain-wasi")
endif()
set(Refrain_FOUND TRUE)
