# For another architecture, on Debian with that one's libraries (multiarch); doc/platforms.md:
#   cmake --preset release --toolchain cmake/toolchains/debian-cross.cmake -DHWID_TRIPLET=aarch64-linux-gnu
# HWID_TRIPLET is what `dpkg-architecture -aarm64 -qDEB_HOST_MULTIARCH` says. Tests run under qemu-user.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES HWID_TRIPLET)
if(NOT HWID_TRIPLET)
  message(FATAL_ERROR "HWID_TRIPLET is not set; say for which architecture, e.g. -DHWID_TRIPLET=aarch64-linux-gnu")
endif()
set(CMAKE_SYSTEM_NAME Linux)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR ${HWID_TRIPLET})
set(CMAKE_C_COMPILER ${HWID_TRIPLET}-gcc)
set(CMAKE_CXX_COMPILER ${HWID_TRIPLET}-g++)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "arm")
  set(CMAKE_CXX_FLAGS_INIT -Wno-psabi)  # a note at each use of containers, of GCC 7's change
endif()
set(CMAKE_LIBRARY_ARCHITECTURE ${HWID_TRIPLET})
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/${HWID_TRIPLET}/pkgconfig:/usr/share/pkgconfig)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-${CMAKE_SYSTEM_PROCESSOR})
