#!/usr/bin/env python3
"""Writes the hand-made inputs of attributes_fuzz.cpp. Usage: attribute_seeds.py [DIRECTORY]"""

import pathlib
import sys

# In the order of answers.cpp.
TYPES = ("class key_type label id modulus exponent ec_params ec_point spki sign always_authenticate "
         "allowed certificate_type value").split()
CODES = ("ok host_memory slot_id general failed arguments sensitive type_invalid device_error removed "
         "unsupported key_handle mechanism parameter object_handle active session_closed "
         "session_count session_handle not_logged_in too_small not_initialized vendor unknown").split()
LIES = "none unavailable length_if_short claims_more claims_less grows unknown_at_all".split()
LISTS = "none claims_more too_small huge empty endless unknown twice ignores".split()
MECHANISMS = ("rsa x509 pss sha1_rsa sha256_rsa sha384_rsa sha256_pss sha512_pss ecdsa ecdsa_sha1 "
              "ecdsa_sha256 ecdsa_sha384 rsa_gen ec_gen vendor none").split()
NUMBERS = {"data": 0, "certificate": 1, "public": 2, "private": 3, "secret": 4, "rsa": 0, "ec": 3,
           "des": 4, "x509": 0}
# In the order of attributes_fuzz.cpp.
URIS = ("all key private_key id key_and_id public_key all_private all_public all_certificates "
        "empty_label empty_both token token_key token_slot_key no_token token_attributes module "
        "data").split()

N = bytes.fromhex("D6D4043EDDD26BDF2B54F717D90BB6C92D1B6121FC9FAA806252C013572FE2E3EBA0186BA5636866"
                  "9716F5438BF08C41F5F034695C1C829AACACD93FA3A2F60B")
E = b"\x01\x00\x01"
POINT = bytes.fromhex("04c3a6f1330cb679010ba28b6e163b34ac3c8029e6ad5bb82d34748c11bc0b2c5b45f0f10675"
                      "b8763e8738dd3b80237bf66b770550c69ef78196a252b7eb0e567a")
OTHER_POINT = bytes.fromhex("0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903"
                            "fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299")
P256 = bytes.fromhex("06082a8648ce3d030107")
EXPLICIT = bytes.fromhex(
    "3081e0020101302c06072a8648ce3d0101022100fffffffffffffffffffffffffffffffffffffffffffffffffffffffe"
    "fffffc2f3044042000000000000000000000000000000000000000000000000000000000000000000420000000000000"
    "0000000000000000000000000000000000000000000000000007044104" "79be667ef9dcbbac55a06295ce870b07029b"
    "fcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b80221"
    "00fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141020101")
K1_POINT = bytes.fromhex("0425c9dc9d0f39d405c928928458cede6b57d72cd0aa37f9e2c8c64e3d760acf523c861ad5"
                         "ebedbb192ada9173675f934ce939d16fe2cfcb5cca7bd5e6e531326e")
CERTIFICATE = bytes.fromhex(
    "3082015e30820104a003020102020101300a06082a8648ce3d040302300e310c300a06035504030c036b6579301e170d"
    "3236313132343230333635325a170d3336313132313230333635325a300e310c300a06035504030c036b657930593013"
    "06072a8648ce3d020106082a8648ce3d03010703420004c3a6f1330cb679010ba28b6e163b34ac3c8029e6ad5bb82d34"
    "748c11bc0b2c5b45f0f10675b8763e8738dd3b80237bf66b770550c69ef78196a252b7eb0e567aa3533051301d060355"
    "1d0e041604141b030b83c6f9c17d9bb5f8bde71ec158d0e0210c301f0603551d230418301680141b030b83c6f9c17d9b"
    "b5f8bde71ec158d0e0210c300f0603551d130101ff040530030101ff300a06082a8648ce3d0403020348003045022100"
    "9e2dab0f54581ef71d90e649468d1716466fe7fe63f7109ab38a845ba7db98c00220131f5c41f9ff188719e83cfae40c"
    "e88b219df31c995c9d429ef949cb4aa20a1d")


def tlv(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    length = bytes([size]) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + body


def spki(algorithm, key):
    return tlv(0x30, tlv(0x30, algorithm), tlv(0x03, b"\0", key))


RSA_NUMBERS = tlv(0x30, tlv(0x02, b"\0", N), tlv(0x02, E))
RSA_SPKI = spki(bytes.fromhex("06092a864886f70d0101010500"), RSA_NUMBERS)
PSS_SPKI = spki(bytes.fromhex("06092a864886f70d01010a"), RSA_NUMBERS)
EC_OID = bytes.fromhex("06072a8648ce3d0201")
EC_SPKI = spki(EC_OID + P256, POINT)
EXPLICIT_SPKI = spki(EC_OID + EXPLICIT, K1_POINT)


def attribute(name, value, lie="none", claimed=0, how=0):
    out = bytes([TYPES.index(name), LIES.index(lie) + how])
    if lie in ("claims_more", "claims_less"):
        out += claimed.to_bytes(2, "little")
    if name in ("class", "key_type", "certificate_type"):
        return out + bytes([NUMBERS[value]])
    if name == "allowed":
        return out + bytes([len(value)]) + bytes(MECHANISMS.index(one) for one in value)
    return out + len(value).to_bytes(2, "little") + value


def item(*attributes, **values):
    """An object. A value may be (value, lie, claimed, how)."""
    encoded = list(attributes)
    for name, value in values.items():
        encoded.append(attribute(name, *(value if isinstance(value, tuple) else (value,))))
    return bytes([len(encoded)]) + b"".join(encoded)


def module(*objects, uri="all", router=False, signs=True, how=0, wanted=0, plan=(), flags=0,
           label=b"tok", slots=0, slots_lie="none", mechanisms=("rsa", "pss", "ecdsa"),
           mechanisms_lie="none", objects_lie="none", state=3, signature=0):
    codes = bytes(CODES.index(code) for code in plan)
    return (bytes([router + 2 * signs + how, wanted, URIS.index(uri), len(codes)]) + codes
            + bytes([flags, len(label)]) + label
            + bytes([slots, LISTS.index(slots_lie), len(mechanisms)])
            + bytes(MECHANISMS.index(one) for one in mechanisms)
            + bytes([LISTS.index(mechanisms_lie), LISTS.index(objects_lie), state, signature])
            + b"".join(objects))


NAME = {"label": b"key", "id": b"\x01"}
RSA = {"class": "private", "key_type": "rsa", **NAME, "modulus": N, "exponent": E, "sign": b"\1"}
RSA_PUBLIC = {**RSA, "class": "public"}
EC = {"class": "private", "key_type": "ec", **NAME, "ec_params": P256, "sign": b"\1"}
EC_PUBLIC = {"class": "public", "key_type": "ec", **NAME, "ec_params": P256,
             "ec_point": tlv(0x04, POINT)}
CERT = {"class": "certificate", "certificate_type": "x509", **NAME, "value": CERTIFICATE}
PAIR = (item(**EC), item(**EC_PUBLIC))


def without(values, *names):
    return {name: value for name, value in values.items() if name not in names}


def seeds():
    both = (item(**RSA), item(**RSA_PUBLIC))
    yield "rsa-pair", module(*both)
    yield "rsa-pair-by-name", module(*both, uri="key_and_id")
    yield "rsa-signs-with-copies", module(*both, uri="private_key", flags=0x20)
    yield "ec-pair", module(*PAIR)
    yield "ec-pair-and-certificate", module(*PAIR, item(**CERT), uri="key")
    yield "ec-certificate-only", module(item(**EC), item(**CERT), uri="private_key")
    yield "ec-raw-point", module(item(**EC), item(**{**EC_PUBLIC, "ec_point": POINT}))
    compressed = b"\x02" + POINT[1:33]
    yield "ec-compressed", module(item(**EC), item(**{**EC_PUBLIC, "ec_point": compressed}))
    yield "ec-named-by-text", module(item(**EC), item(
        **{**EC_PUBLIC, "ec_params": tlv(0x13, b"prime256v1")}))
    yield "ec-explicit", module(item(**EC), item(
        **{**EC_PUBLIC, "ec_params": EXPLICIT, "ec_point": K1_POINT}), uri="key")
    yield "ec-explicit-spki", module(item(**EC, spki=EXPLICIT_SPKI), uri="key")
    yield "ec-other-point", module(*PAIR, item(
        **{**EC_PUBLIC, "label": b"b", "id": b"\x02", "ec_point": OTHER_POINT}))
    yield "ec-bad-point", module(item(**EC), item(**{**EC_PUBLIC, "ec_point": b"\4" + b"\1" * 64}))
    yield "ec-no-public-half", module(item(**EC), uri="key")
    yield "spki-rsa", module(item(**without(RSA, "modulus"), spki=RSA_SPKI))
    yield "spki-pss", module(item(**without(RSA, "modulus"), spki=PSS_SPKI))
    yield "spki-ec", module(item(**EC, spki=EC_SPKI))
    yield "spki-damaged", module(item(**RSA, spki=RSA_SPKI[:-9]))
    yield "pss-only", module(item(**RSA, allowed=["pss", "sha256_pss"]), wanted=0x10 | 0x40)
    yield "hashes-itself", module(item(**RSA, allowed=["sha256_rsa"]), wanted=0x10)
    yield "always-authenticate", module(item(**RSA, always_authenticate=b"\1"))
    yield "may-not-sign", module(item(**{**RSA, "sign": b"\0"}), plan=["ok"] * 10 + ["key_handle"])
    yield "tiny-modulus", module(item(**{**RSA, "modulus": b"\x0b"}), uri="key")
    yield "tiny-modulus-spki", module(item(**RSA, spki=spki(
        bytes.fromhex("06092a864886f70d0101010500"), tlv(0x30, tlv(2, b"\x0b"), tlv(2, b"\3")))))
    yield "even-modulus", module(item(**{**RSA, "modulus": N[:-1] + b"\0", "exponent": b"\0\2"}))
    yield "long-modulus", module(item(**{**RSA, "modulus": N * 33}))
    yield "long-label", module(item(**{**RSA, "label": b"\xc3\xa9" * 800}))
    yield "label-with-nul", module(item(**{**RSA, "label": b"ke\0y", "id": b""}))
    yield "label-with-controls", module(item(**{**RSA, "label": b"a\nb\x1b[2J"}), uri="all")
    yield "no-names", module(item(**without(RSA, "label", "id")))
    yield "two-keys", module(*both, *both, uri="key")
    yield "two-labels", module(*both, item(**{**RSA, "label": b"b", "id": b"\2"}))
    yield "public-only", module(item(**RSA_PUBLIC), uri="public_key")
    yield "certificate-listed", module(item(**CERT), uri="all_certificates")
    yield "secret-key", module(item(**{**EC, "class": "secret", "key_type": "des"}), uri="key")
    yield "private-des", module(item(**{**EC, "key_type": "des"}), uri="private_key")
    for lie in LIES[1:]:
        yield "lie-" + lie, module(
            item(**{**RSA, "modulus": (N, lie, 40), "label": (b"key", lie, 0xffff, 0x40)}),
            item(**RSA_PUBLIC))
    for lie in ("length_if_short", "claims_more"):
        yield "lie-spki-" + lie, module(item(**RSA, spki=(RSA_SPKI * 30, lie, 0xffff, 0x80)))
    refused = ["ok"] * 10 + ["mechanism"]
    for lie in LISTS[1:]:
        yield "objects-" + lie, module(*PAIR, objects_lie=lie)
    for lie in LISTS[1:5]:
        yield "slots-" + lie, module(*PAIR, slots_lie=lie)
        yield "mechanisms-" + lie, module(*PAIR, mechanisms_lie=lie, plan=refused)
    for code in ("general arguments device_error removed object_handle active session_closed "
                 "not_logged_in too_small not_initialized unknown").split():
        yield "code-" + code, module(*both, uri="key", plan=["ok"] * 9 + [code] * 2)
    for code in "removed session_count not_initialized unknown".split():
        yield "login-" + code, module(*both, uri="key", plan=["ok"] * 3 + [code] * 2)
    yield "sessions-one", module(*both, how=0x10, flags=0x40)
    yield "pin-pad", module(*both, flags=0x02)
    yield "pin-locked", module(*both, flags=0x08)
    yield "pin-final", module(*both, flags=0x04)
    yield "not-logged-in", module(item(**RSA_PUBLIC), state=0)
    yield "label-blank", module(*both, label=b"")
    yield "label-raw", module(*both, label=b"a;b\0c\n\xff%d" + b"x" * 24)
    yield "signature-short", module(*both, signature=0x81)
    for uri in URIS[:5] + URIS[9:10] + URIS[11:]:
        yield "router-" + uri, module(*PAIR, item(**CERT), router=True, uri=uri, slots=3, label=b"")
    yield "router-not-initialized", module(router=True, flags=0x10, label=b"")
    yield "router-wrong-name", module(*PAIR, router=True, uri="empty_label", label=b"")
    for number in range(7):  # the labels of answers.cpp
        yield f"router-label-{number}", module(*PAIR, router=True, uri="all", label=b"x" * number)
    yield "label-begins-with-nul", module(*PAIR, label=b"\0\bt")


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else
                          pathlib.Path(__file__).parent / "corpus/attributes")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
