# hwid.so belongs where OpenSSL looks for providers. The path is relative, so that --prefix moves it;
# without a prefix OpenSSL's own is taken.
find_package(PkgConfig REQUIRED)
pkg_get_variable(HWID_OPENSSL_PREFIX libcrypto prefix)
pkg_get_variable(HWID_OPENSSL_MODULES libcrypto modulesdir)
if(NOT HWID_OPENSSL_MODULES)
  pkg_get_variable(HWID_OPENSSL_MODULES libcrypto libdir)
  string(APPEND HWID_OPENSSL_MODULES /ossl-modules)
endif()
file(RELATIVE_PATH HWID_OPENSSL_MODULES ${HWID_OPENSSL_PREFIX} ${HWID_OPENSSL_MODULES})
if(CMAKE_INSTALL_PREFIX_INITIALIZED_TO_DEFAULT)
  set(CMAKE_INSTALL_PREFIX ${HWID_OPENSSL_PREFIX} CACHE PATH "Where to install" FORCE)
endif()
