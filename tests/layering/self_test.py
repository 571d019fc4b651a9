#!/usr/bin/env python3
"""Shows that each check of this folder can fail. Usage: self_test.py C++-COMPILER"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import check_module
import check_objects
import check_sources

COMPILER = sys.argv.pop(1)


class Sources(unittest.TestCase):
    GOOD = {
        "provider/entry.cpp": '#include "provider/pkcs11/backend.h"\n#include "provider/ossl/o.h"\n',
        "provider/core/key.h": "#pragma once\n#include <openssl/core_dispatch.h>\n",
        "provider/ossl/o.h": '#pragma once\n#include "provider/core/key.h"\n'
                             '// C_Sign and CKR_OK in words\nconst char* t = "CKA_ID";\n',
        "provider/pkcs11/backend.h": "#pragma once\n#include <p11-kit/pkcs11.h>\nCK_RV x;\n",
        "provider/software/s.cpp": '#include "provider/core/key.h"\n',
        "transport/include/hwid/transport.h": "#pragma once\n#include <future>\n",
        "transport/mqtt/m.cpp": '#include "hwid/transport.h"\n#include "mqtt/async_client.h"\n',
        "samples/publish.cpp": '#include "hwid/transport.h"\n',
        "tools/list.cpp": '#include "provider/pkcs11/backend.h"\n',
        "tools/attest/checks.h": "#pragma once\n#include <tss2/tss2_mu.h>\n// no Tpm\n",
        "tools/hwid/attest.cpp": '#include "tools/attest/checks.h"\n',
        "tests/unit/u.cpp": '#include "provider/ossl/o.h"\n',
    }
    BAD = [
        ("provider/ossl/x.cpp", '#include "provider/pkcs11/backend.h"\n'),
        ("provider/ossl/x.cpp", '#include "../pkcs11/backend.h"\n'),
        ("provider/ossl/x.cpp", "#include <p11-kit/pkcs11.h>\n"),
        ("provider/ossl/x.cpp", "int f() { return CKR_OK; }\n"),
        ("provider/ossl/x.cpp", "CK_MECHANISM_TYPE type;\n"),
        ("provider/ossl/x.cpp", "TPM2_HANDLE handle;\n"),
        ("provider/ossl/x.cpp", "void f() { list->C_Sign(); }\n"),
        ("provider/core/x.cpp", '#include "provider/ossl/o.h"\n'),
        ("provider/core/x.cpp", '#include "provider/software/gone.h"\n'),
        ("provider/pkcs11/x.cpp", '#include "provider/ossl/o.h"\n'),
        ("provider/pkcs11/x.cpp", "#include <openssl/core_dispatch.h>\n"),
        ("provider/pkcs11/x.cpp", "const OSSL_DISPATCH table[] = {};\n"),
        ("provider/pkcs11/x.cpp", "#  include <tss2/tss2_esys.h>\n"),
        ("provider/software/x.cpp", '#include "provider/pkcs11/backend.h"\n'),
        ("provider/tpm2/x.cpp", "#include <p11-kit/pkcs11.h>\n"),
        ("provider/other.cpp", '#include "provider/core/key.h"\n'),
        ("transport/mqtt/x.cpp", '#include "provider/core/key.h"\n'),
        ("transport/include/hwid/x.h", '#pragma once\n#include "mqtt/async_client.h"\n'),
        ("samples/x.cpp", '#include "provider/core/key.h"\n'),
        ("samples/x.cpp", '#include "transport/mqtt/m.h"\n'),
        ("tools/x.cpp", '#include "provider/ossl/o.h"\n'),
        ("tools/attest/x.cpp", '#include "provider/pkcs11/backend.h"\n'),
        ("tools/attest/x.cpp", "void f(Tpm& tpm);\n"),
        ("provider/core/x.h", "int x();\n"),
        ("tests/fixture/x.h", "int x();\n"),
    ]

    def problems(self, extra):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**self.GOOD, **extra}.items():
                file = pathlib.Path(root, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            return check_sources.check(root)[0]

    def test_good(self):
        self.assertEqual(self.problems({}), [])

    def test_bad(self):
        for path, text in self.BAD:
            with self.subTest(path=path, text=text):
                found = self.problems({path: text})
                self.assertEqual(len(found), 1, found)
                self.assertIn(path, found[0])


class Binaries(unittest.TestCase):
    def build(self, root, name, source, *flags):
        pathlib.Path(root, "x.cpp").write_text(source, encoding="utf-8")
        subprocess.run([COMPILER, "-std=c++20", "-fPIC", *flags, "-o", f"{root}/{name}",
                        f"{root}/x.cpp"], check=True)
        return f"{root}/{name}"

    def test_objects(self):
        good = ("namespace n { void g(); constexpr int k = 1; const char* const t[] = {\"a\"};\n"
                "void (*const table[])() = {&g};\n"
                "void g() { static const int x = 5; (void)x; } const void* f() { return table; }\n"
                "const void* h() { return t; } }")
        bad = ["namespace n { int counter; }", "namespace n { static int c = 3; int f() { return c++; } }",
               "int f() { static int calls; return ++calls; }",
               "thread_local int mine; int f() { return ++mine; }",
               "inline int shared = 1; int* f() { return &shared; }",
               "struct S { S(); ~S(); }; const S constructed;",
               "extern \"C\" int g(); int f() { static const int once = g(); return once; }",
               "int g(); int* p; "]
        with tempfile.TemporaryDirectory() as root:
            found, seen = check_objects.check([self.build(root, "x.o", good, "-c")])
            self.assertEqual(found, [])
            self.assertGreater(seen, 0)
            for source in bad:
                with self.subTest(source=source):
                    found, _ = check_objects.check([self.build(root, "x.o", source, "-c")])
                    self.assertNotEqual(found, [])
            process = self.build(root, "process.cpp.o", bad[0], "-c")
            other = self.build(root, "other.cpp.o", bad[0], "-c")
            subprocess.run(["ar", "rc", f"{root}/lib.a", process, other], check=True)
            found, _ = check_objects.check([f"{root}/lib.a"])
            self.assertEqual(len(found), 1, found)
            self.assertTrue(found[0].startswith("other.cpp.o: n::counter"), found)

    def test_module(self):
        init = 'extern "C" int OSSL_provider_init() { return 1; }\n'
        nodelete = ("-shared", "-Wl,-z,nodelete")
        with tempfile.TemporaryDirectory() as root:
            self.assertEqual(check_module.check(self.build(root, "g.so", init, *nodelete)), [])
            for source, flags in ((init, ("-shared",)), (init + "void more() {}", nodelete),
                                  ("static int nothing = 0;", nodelete)):
                with self.subTest(source=source, flags=flags):
                    found = check_module.check(self.build(root, "b.so", source, *flags))
                    self.assertEqual(len(found), 1, found)


if __name__ == "__main__":
    unittest.main()
