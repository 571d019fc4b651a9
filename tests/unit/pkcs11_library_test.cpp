#include <doctest/doctest.h>

#include "provider/core/error.h"
#include "provider/pkcs11/library.h"
#include "tests/fixture/paths.h"

using hwid::pkcs11::load_library;
using hwid::pkcs11::Mapping;

TEST_CASE("pkcs11 library: a copy of one's own has functions of its own, each time") {
  const std::string path = hwid::test::test_module();
  CK_FUNCTION_LIST* const shared = load_library(path, Mapping::shared);
  CHECK(load_library(path, Mapping::shared) == shared);
  CK_FUNCTION_LIST* const own = load_library(path, Mapping::own);
  REQUIRE(own != shared);
  CHECK((own->C_Initialize != shared->C_Initialize));
  CHECK(load_library(path, Mapping::own) != own);
}

TEST_CASE("pkcs11 library: what is no module is named, in both ways") {
  for (const Mapping mapping : {Mapping::shared, Mapping::own}) {
    CHECK_THROWS_WITH_AS(load_library("/nonexistent/module.so", mapping),
                         doctest::Contains("dlopen: module=/nonexistent/module.so: No such file"),
                         hwid::core::Error);
    CHECK_THROWS_WITH_AS(load_library("/dev/null", mapping), doctest::Contains("module=/dev/null"),
                         hwid::core::Error);
  }
}
