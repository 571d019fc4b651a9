# Half of what compiling a file of ours costs is reading the standard library and OpenSSL. The
# presets dev and tsan read them once for each large target. Off by default, and so in what users
# install, with ASan, clang and clang-tidy: there each file must include what it uses.
option(HWID_PRECOMPILE "Precompile the headers that most files include" OFF)

set(HWID_PRECOMPILED
  <algorithm> <array> <atomic> <chrono> <cstdint> <cstring> <filesystem> <functional> <map> <memory>
  <mutex> <optional> <span> <stdexcept> <string> <string_view> <utility> <vector>
  <openssl/err.h> <openssl/evp.h>)

# hwid_precompile(TARGETS target... [ALSO header...])
function(hwid_precompile)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "" "" "TARGETS;ALSO")
  if(NOT HWID_PRECOMPILE)
    return()
  endif()
  foreach(target IN LISTS ARG_TARGETS)
    if(TARGET ${target})
      target_precompile_headers(${target} PRIVATE ${HWID_PRECOMPILED} ${ARG_ALSO})
    endif()
  endforeach()
endfunction()

hwid_precompile(TARGETS
  hwid_core hwid_pkcs11 hwid_tpm2 hwid_ossl hwid_openssl_conf hwid_transport_objects
  hwid_test_fixture transport_fixture)
hwid_precompile(TARGETS hwid_command ALSO <iostream> <nlohmann/json.hpp>)
hwid_precompile(ALSO <doctest/doctest.h> TARGETS
  unit-tests token-tests tpm-tests fixture-tests
  transport_unit transport_tls transport_broker transport_cloud)
