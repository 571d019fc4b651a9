"""Who may include whom, and what else the layers must not know: design.md as data."""

import re

CORE, OSSL = "provider/core", "provider/ossl"
PKCS11, TPM2, SOFTWARE = "provider/pkcs11", "provider/tpm2", "provider/software"
ATTEST = "tools/attest"
BACKENDS = (PKCS11, TPM2, SOFTWARE)

# What puts the layers together, in provider/ itself.
NO_LAYER = ("provider/entry.cpp", "provider/backends.h", "provider/backends.cpp")

# A folder to the folders that its files may include, its own aside. A file belongs to the longest
# folder that matches. "provider" itself is what puts them together.
MAY_INCLUDE = {
    "provider": {CORE, OSSL, *BACKENDS},
    CORE: set(),
    OSSL: {CORE},
    PKCS11: {CORE},
    TPM2: {CORE},
    SOFTWARE: {CORE},
    "transport/include": set(),
    "transport": {"transport/include"},
    "samples": {"transport/include"},
    "tools": {"provider", CORE, *BACKENDS, "transport/include", "transport", ATTEST},
    ATTEST: {CORE, TPM2},
}

# Headers of others that a folder must not include: (folders, pattern, reason).
FORBIDDEN_HEADERS = [
    ((OSSL, SOFTWARE, "transport", "transport/include", "samples"),
     re.compile(r"p11-kit/|pkcs11\.h|pkcs11t\.h|tss2/"), "it knows no PKCS#11 and no TPM"),
    ((PKCS11, CORE), re.compile(r"tss2/"), "it knows no TPM"),
    ((TPM2,), re.compile(r"p11-kit/|pkcs11\.h"), "it knows no PKCS#11"),
    (BACKENDS, re.compile(r"openssl/core_dispatch\.h"), "a backend knows no OSSL_DISPATCH"),
    (("transport/include",), re.compile(r"mqtt/|MQTT|curl/|nlohmann/|boost/"),
     "public headers show no library that the transport is made of"),
]

# Identifiers that a folder must not contain, comments and strings aside.
FORBIDDEN_WORDS = [
    ((OSSL,), re.compile(r"\b(?:CK[A-Z]?_\w+|C_[A-Z][A-Za-z]+|TPM2?_\w+|TPM2B_\w+|TSS2_\w+|ESYS_\w+)"),
     "this layer knows no PKCS#11 and no TPM"),
    (BACKENDS, re.compile(r"\bOSSL_(?:DISPATCH|ALGORITHM|FUNC_\w+)\b"),
     "a backend knows no OSSL_DISPATCH"),
    ((ATTEST,), re.compile(r"\b(?:Tpm|Tcti|open_tcti|Connection|Commands|Residency|Attester)\b"),
     "a verifier has no TPM"),
]

# Variables in these objects are the process-wide state that design.md allows.
MUTABLE_STATE_IN = re.compile(r"^process\.cpp\.o$")
# What compilers and libraries bring.
NOT_OURS = re.compile(r"^(?:DW\.ref\.|__|_DYNAMIC|completed\.|std::|guard variable for std::|\.)")
