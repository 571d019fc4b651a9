// Keys that EVP makes in a TPM: at a handle, or wrapped in a file that tpm2-tools read as well.
#include <openssl/core_names.h>

#include "tests/fixture/life.h"
#include "tests/fixture/operations.h"
#include "tests/tpm/provider.h"

using namespace hwid::test;
using namespace hwid::test::provider;

namespace {

constexpr const char* kValue = "an-auth-value";

const LibraryContext& maker() {
  static const LibraryContext made(
      world()
          .conf({{"parent", kParent}, {"objects", "device=0x81000020 nowhere=/tmp/nowhere"}})
          .setting("keygen", "tpm")
          .key("name", "pkcs11:token=tpm-token;object=device"));
  return made;
}

EvpPkey generate(const char* algorithm, Parameters parameters) {
  return provider::generate(maker(), algorithm, std::move(parameters));
}
Parameters at(const std::string& uri) { return {{{"group", "P-256"}, {"hwid_uri", uri}}, {}}; }
std::string refusal(const char* algorithm, const Parameters& parameters) {
  return error_of([&] { (void)generate(algorithm, parameters); });
}

bool signs(const LibraryContext& context, EVP_PKEY* key, const SignAs& as = {}) {
  return verifies(key, as, "message", sign(context.get(), key, as, "message"));
}
bool signs(EVP_PKEY* key) { return signs(maker(), key); }

// Attributes as tpm2-tools see them.
std::string attributes(const std::string& object) {
  const std::string text = world().swtpm.tool({"tpm2_readpublic", "-c", object});
  const std::string name = "attributes:\n  value: ";
  const std::size_t start = text.find(name) + name.size();
  return text.substr(start, text.find('\n', start) - start);
}

// What tpm2-tools make of a key file: the public half.
EvpPkey read_by_tools(const std::string& pem) {
  const std::string file = world().file("by-tools.pem");
  write_file(file, pem);
  const Swtpm& tpm = world().swtpm;
  tpm.tool({"tpm2_load", "-Q", "-r", file, "-c", file + ".ctx"});
  tpm.tool({"tpm2_readpublic", "-Q", "-c", file + ".ctx", "-f", "pem", "-o", file + ".pub"});
  return read_public(file + ".pub");
}

}  // namespace

TEST_CASE("tpm generate: a persistent key signs at once, and is there for others") {
  const EvpPkey made = generate("EC", at("tpm2:handle=0x81000003"));
  CHECK(signs(made.get()));
  const EvpPkey again = context().private_key("tpm2:handle=0x81000003");
  CHECK(EVP_PKEY_eq(made.get(), again.get()) == 1);
  CHECK(signs(context(), again.get()));
  CHECK(attributes("0x81000003") ==
        "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|decrypt|sign");
}

TEST_CASE("tpm generate: RSA, and curves") {
  const EvpPkey rsa = generate("RSA", {{{"hwid_uri", "tpm2:handle=0x81000004"}}, {{"bits", 2048}}});
  CHECK(EVP_PKEY_get_bits(rsa.get()) == 2048);
  CHECK(signs(maker(), rsa.get()));
  CHECK(signs(maker(), rsa.get(), {"SHA256", RSA_PKCS1_PSS_PADDING}));
  CHECK(signs(maker(), rsa.get(), {"SHA256", RSA_PKCS1_PSS_PADDING, 20}));
  for (const char* const group : {"P-384", "P-521"}) {
    const EvpPkey ec = generate("EC", {{{"group", group}}, {}});
    CHECK(EVP_PKEY_get_bits(ec.get()) == std::stoi(std::string(group).substr(2)));
    CHECK(signs(ec.get()));
  }
}

TEST_CASE("tpm generate: an RSA-PSS key is one for its TPM, and stays one") {
  const EvpPkey made = generate("RSA-PSS", {{{"digest", "SHA256"}}, {{"bits", 2048}}});
  CHECK(EVP_PKEY_is_a(made.get(), "RSA-PSS") == 1);
  CHECK(signs(maker(), made.get(), {"SHA256", RSA_PKCS1_PSS_PADDING}));
  const EvpPkey again = read_pem(context(), write_pem(made.get()));
  CHECK(EVP_PKEY_is_a(again.get(), "RSA-PSS") == 1);
  CHECK(signs(context(), again.get(), {"SHA256", RSA_PKCS1_PSS_PADDING}));
}

TEST_CASE("tpm generate: under the name tpm2, a program that asks for it gets a key in the TPM") {
  const LibraryContext named(world().conf().name("tpm2"));
  const EvpPkey made(EVP_PKEY_Q_keygen(named.get(), "provider=tpm2", "EC", "P-256"));
  REQUIRE_MESSAGE(made, openssl_errors());
  CHECK(contains(write_pem(made.get()), "BEGIN TSS2 PRIVATE KEY"));
  CHECK(signs(named, made.get()));
}

TEST_CASE("tpm generate: who asks for nobody gets a key of the provider that comes first") {
  const auto made = [](ProviderOrder order, const char* query) {
    const LibraryContext own(
        world().conf({{"parent", kParent}}).setting("keygen", "tpm").order(order));
    const EvpPkey key(EVP_PKEY_Q_keygen(own.get(), query, "EC", "P-256"));
    REQUIRE_MESSAGE(key, openssl_errors());
    return write_pem(key.get());
  };
  CHECK(contains(made(ProviderOrder::kDefaultFirst, nullptr), "BEGIN PRIVATE KEY"));
  CHECK(contains(made(ProviderOrder::kDefaultFirst, "?provider=hwid"), "BEGIN TSS2 PRIVATE KEY"));
  CHECK(contains(made(ProviderOrder::kHwidFirst, nullptr), "BEGIN TSS2 PRIVATE KEY"));
}

TEST_CASE("tpm generate: by the names of the configuration") {
  const EvpPkey made = generate("EC", at("hwid:name"));
  CHECK(signs(made.get()));
  const EvpPkey again = maker().private_key("pkcs11:token=tpm-token;object=device");
  CHECK(EVP_PKEY_eq(made.get(), again.get()) == 1);
  const EvpPkey by_handle = maker().private_key("handle:0x81000020");
  CHECK(EVP_PKEY_eq(made.get(), by_handle.get()) == 1);
  const std::string unnamed = refusal("EC", at("pkcs11:token=tpm-token;object=other"));
  CHECK_MESSAGE(contains(unnamed, "the name has no handle; add other=0x81000002"), unnamed);
  CHECK(contains(refusal("EC", at("pkcs11:token=tpm-token;object=nowhere")), "has no handle"));
}

TEST_CASE("tpm generate: a handle that is taken, or none for a key, is refused") {
  const EvpPkey before = context().private_key(by_handle(kParent));
  const std::string taken = refusal("EC", at(by_handle(kParent)));
  CHECK_MESSAGE(contains(taken, "TPM_RC_NV_DEFINED"), taken);
  CHECK_MESSAGE(contains(taken, "a key is there; choose another handle"), taken);
  CHECK_MESSAGE(contains(taken, "hwid delete 'tpm2:handle="), taken);
  const EvpPkey after = context().private_key(by_handle(kParent));
  CHECK(EVP_PKEY_eq(before.get(), after.get()) == 1);
  for (const char* const handle : {"0x81800000", "0x80000001"}) {
    const std::string wrong = refusal("EC", at(std::string("tpm2:handle=") + handle));
    CHECK_MESSAGE(contains(wrong, "0x81000000 to 0x817fffff"), wrong);
  }
}

TEST_CASE("tpm generate: what the TPM does not have is an error, and no software key") {
  const std::string bits = refusal("RSA", {{}, {{"bits", 4096}}});
  CHECK_MESSAGE(contains(bits, "TPM2_Create"), bits);
  CHECK(!refusal("EC", {{{"group", "secp256k1"}}, {}}).empty());
}

TEST_CASE("tpm generate: a wrapped key is written as TSS2 PRIVATE KEY, read by us and by tools") {
  for (const char* const algorithm : {"EC", "RSA"}) {
    CAPTURE(std::string(algorithm));
    const bool is_ec = algorithm == std::string("EC");
    const EvpPkey made = generate(
        algorithm, is_ec ? Parameters{{{"group", "P-256"}}, {}} : Parameters{{}, {{"bits", 2048}}});
    CHECK(signs(made.get()));
    const std::string pem = write_pem(made.get());
    CHECK_MESSAGE(pem.starts_with("-----BEGIN TSS2 PRIVATE KEY-----\n"), pem);
    const EvpPkey again = read_pem(context(), pem);
    CHECK(EVP_PKEY_eq(made.get(), again.get()) == 1);
    CHECK(signs(context(), again.get()));
    CHECK(write_pem(again.get()) == pem);
    const EvpPkey theirs = read_by_tools(pem);
    CHECK(EVP_PKEY_eq(made.get(), theirs.get()) == 1);
  }
}

TEST_CASE("tpm generate: below the hierarchy that the program names") {
  Parameters parameters{{{"group", "P-256"}}, {{"parent", 0x40000001}}};
  const EvpPkey made = generate("EC", parameters);
  CHECK(signs(made.get()));
  const EvpPkey again = read_pem(context(), write_pem(made.get()));
  CHECK(signs(context(), again.get()));
  CHECK(EVP_PKEY_eq(made.get(), again.get()) == 1);
}

TEST_CASE("tpm generate: an auth value, of a persistent key and of one in a file") {
  Parameters persistent = at("tpm2:handle=0x81000006");
  persistent.texts["user-auth"] = kValue;
  const EvpPkey made = generate("EC", persistent);
  CHECK(signs(made.get()));
  const EvpPkey without = context().private_key("tpm2:handle=0x81000006");
  CHECK(contains(error_of([&] { (void)signs(context(), without.get()); }), "auth value"));
  const EvpPkey with =
      context().private_key(std::string("tpm2:handle=0x81000006?pin-value=") + kValue);
  CHECK(signs(context(), with.get()));

  const EvpPkey wrapped = generate("EC", {{{"group", "P-256"}, {"user-auth", kValue}}, {}});
  CHECK(signs(wrapped.get()));
  const std::string pem = write_pem(wrapped.get());
  CHECK(!contains(pem, kValue));
  Passphrase right{kValue};
  const EvpPkey again = read_pem(context(), pem, &right);
  CHECK(right.asked == 1);
  CHECK(signs(context(), again.get()));
  // Not sent in clear, when it was new either.
  const OpensslConf conf = world().captured_conf({{"parent", kParent}}).setting("keygen", "tpm");
  const Counted counted =
      run_counted(conf, {"openssl", "genpkey", "-propquery", "provider=hwid", "-algorithm", "EC",
                         "-pkeyopt", "group:P-256", "-pkeyopt", std::string("user-auth:") + kValue,
                         "-out", world().file("genpkey.pem")});
  CHECK_MESSAGE(counted.result.ok(), counted.result.err);
  CHECK(contains(counted.commands, "Create 1"));
  CHECK(!contains(counted.bytes, kValue));
  // A TPM keeps as many bytes as the key's name has.
  const auto with_size = [](std::size_t size) {
    return Parameters{{{"group", "P-256"}, {"user-auth", std::string(size, 'v')}}, {}};
  };
  CHECK(signs(generate("EC", with_size(32)).get()));
  const std::string long_one = refusal("EC", with_size(33));
  CHECK_MESSAGE(contains(long_one, "auth value has 33 bytes, and such a key takes 32 at most"),
                long_one);
  const EvpPkey stock = read_pem(context(), read_file(world().file("genpkey.pem")), &right);
  CHECK(signs(context(), stock.get()));
}

TEST_CASE("tpm generate: a parent's auth value, from the program") {
  const std::string parent = world().add_key(
      {"ecc256:aes128cfb",
       "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt",
       kValue,
       kParent,
       {}});
  Parameters parameters{{{"group", "P-256"}}, {{"parent", std::stoul(parent, nullptr, 16)}}};
  CHECK(contains(refusal("EC", parameters), "auth value"));
  parameters.texts["parent-auth"] = kValue;
  CHECK(signs(generate("EC", parameters).get()));
}

TEST_CASE("tpm generate: the owner's auth value, for a handle below another parent") {
  const Swtpm& tpm = world().swtpm;
  tpm.tool({"tpm2_changeauth", "-Q", "-c", "owner", kValue});
  Parameters parameters = at("tpm2:handle=0x81000012");
  const std::string none = refusal("EC", parameters);
  parameters.texts["owner-auth"] = "another";
  const std::string wrong = refusal("EC", parameters);
  parameters.texts["owner-auth"] = kValue;
  const std::string right = error_of([&] { CHECK(signs(generate("EC", parameters).get())); });
  tpm.tool({"tpm2_changeauth", "-Q", "-c", "owner", "-p", kValue});
  CHECK(contains(none, "TPM2_EvictControl: tpm="));
  CHECK(contains(none, "the owner hierarchy has an auth value"));
  CHECK(contains(none, "give the parameter owner-auth"));
  CHECK(contains(wrong, "TPM_RC_BAD_AUTH"));
  CHECK(right.empty());
}

TEST_CASE("tpm generate: without keygen, a program's own keys are software") {
  const EvpPkey made(EVP_PKEY_Q_keygen(context().get(), "provider=hwid", "EC", "P-256"));
  REQUIRE(made);
  CHECK(contains(write_pem(made.get()), "BEGIN PRIVATE KEY"));
}

TEST_CASE("tpm generate: random numbers of the TPM, for who asks") {
  EVP_RAND* const rand = EVP_RAND_fetch(context().get(), "HWID-RAND", nullptr);
  REQUIRE(rand != nullptr);
  EVP_RAND_CTX* const ctx = EVP_RAND_CTX_new(rand, nullptr);
  unsigned char one[100] = {};
  unsigned char other[100] = {};
  CHECK(EVP_RAND_instantiate(ctx, 0, 0, nullptr, 0, nullptr) == 1);
  CHECK(EVP_RAND_generate(ctx, one, sizeof one, 0, 0, nullptr, 0) == 1);
  CHECK(EVP_RAND_generate(ctx, other, sizeof other, 0, 0, nullptr, 0) == 1);
  CHECK(std::string(one, one + sizeof one) != std::string(other, other + sizeof other));
  EVP_RAND_CTX_free(ctx);
  EVP_RAND_free(rand);
}
