# Debian packages, one a component:
#   cmake --preset packages && cmake --build --preset packages
#   (cd build/packages && cpack)
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR hwid)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each package has its own
set(CPACK_PACKAGE_CONTACT "hwid developers <developers@hwid.example>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/deb)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL provider transport transport-dev tools)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
# What the policy of Debian wants in each package, and no other installation has.
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian/documents.cmake)
set(CPACK_HWID_SOURCE ${PROJECT_SOURCE_DIR})
set(CPACK_POST_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian/finish.cmake)
get_target_property(transport_abi hwid_transport SOVERSION)
set(CPACK_HWID_TRANSPORT_PACKAGE libhwid-transport${transport_abi})
# All that they have in directories without the architecture's name is the same for each.
set(CPACK_HWID_MULTI_ARCH_SAME hwid-provider ${CPACK_HWID_TRANSPORT_PACKAGE} libhwid-transport-dev)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
# cpack asks dpkg, which answers for the machine that it is on.
if(CMAKE_CROSSCOMPILING)
  execute_process(
    COMMAND dpkg-architecture -t ${CMAKE_LIBRARY_ARCHITECTURE} -q DEB_HOST_ARCH
    OUTPUT_VARIABLE CPACK_DEBIAN_PACKAGE_ARCHITECTURE OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT CPACK_DEBIAN_PACKAGE_ARCHITECTURE)
    message(WARNING "dpkg-architecture does not know ${CMAKE_LIBRARY_ARCHITECTURE}; cpack would name this machine's architecture in packages")
  endif()
endif()
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=") # Debian Policy 8.6: the oldest that will do
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/transport)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(same_version "(= ${PROJECT_VERSION}-1)")

set(CPACK_DEBIAN_PROVIDER_PACKAGE_NAME hwid-provider)
set(CPACK_DEBIAN_PROVIDER_PACKAGE_SECTION libs)
set(scripts ${CMAKE_CURRENT_LIST_DIR}/debian/provider)
set(CPACK_DEBIAN_PROVIDER_PACKAGE_CONTROL_EXTRA ${scripts}/postinst ${scripts}/prerm ${scripts}/postrm)
# The ways to a TPM are loaded by name; Debian 13 and later have them with t64 in the name.
set(CPACK_DEBIAN_PROVIDER_PACKAGE_RECOMMENDS
    "libtss2-tcti-device0 | libtss2-tcti-device0t64, hwid ${same_version}")
set(CPACK_DEBIAN_PROVIDER_PACKAGE_SUGGESTS
    "softhsm2, opensc-pkcs11, libtss2-tcti-tabrmd0, libtss2-tcti-swtpm0 | libtss2-tcti-swtpm0t64")
set(CPACK_COMPONENT_PROVIDER_DESCRIPTION
"OpenSSL 3 provider for private keys in hardware
Any program that uses OpenSSL 3 can use private keys that are in a PKCS#11
token (an HSM, a smart card, SoftHSM) or in a TPM 2.0, by URI, by a logical
name or by a small reference file in place of the key. The key never leaves
the token.")

set(CPACK_DEBIAN_TRANSPORT_PACKAGE_NAME ${CPACK_HWID_TRANSPORT_PACKAGE})
set(CPACK_DEBIAN_TRANSPORT_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_TRANSPORT_PACKAGE_RECOMMENDS "hwid-provider")
set(CPACK_DEBIAN_TRANSPORT_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/debian/triggers)
set(CPACK_COMPONENT_TRANSPORT_DESCRIPTION
"MQTT and HTTPS with hardware keys, for devices
A library for devices that talk to AWS IoT Core, Azure IoT Hub or a broker of
one's own over mutual TLS, with a private key in a PKCS#11 token or a TPM 2.0.
What it has accepted is delivered, also after a restart.")

set(CPACK_DEBIAN_TRANSPORT-DEV_PACKAGE_NAME libhwid-transport-dev)
set(CPACK_DEBIAN_TRANSPORT-DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_TRANSPORT-DEV_PACKAGE_DEPENDS "${CPACK_HWID_TRANSPORT_PACKAGE} ${same_version}")
# What the samples are built with.
set(CPACK_DEBIAN_TRANSPORT-DEV_PACKAGE_SUGGESTS
    "cmake, libboost-program-options-dev, libssl-dev, nlohmann-json3-dev")
set(CPACK_COMPONENT_TRANSPORT-DEV_DESCRIPTION
"MQTT and HTTPS with hardware keys, for devices: headers
The headers, the CMake package and the pkg-config file of libhwid-transport,
and samples to start from.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME hwid)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS
    "hwid-provider ${same_version}, ${CPACK_HWID_TRANSPORT_PACKAGE} ${same_version}, openssl") # its openssl.cnf
set(scripts ${CMAKE_CURRENT_LIST_DIR}/debian/tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_CONTROL_EXTRA ${scripts}/postinst ${scripts}/prerm ${scripts}/postrm)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SUGGESTS "softhsm2, mosquitto, swtpm")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION
"Keys in hardware: provision, prove and diagnose
The hwid command makes keys and certificate requests on PKCS#11 tokens and
TPMs, writes what openssl.cnf needs, proves that a key cannot leave, and finds
out why something does not work. With it come small programs that publish and
receive MQTT messages over mutual TLS with such keys.")

include(CPack)
