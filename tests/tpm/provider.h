// A software TPM with keys, and library contexts over it: the TPM backend as a program sees it.
#pragma once

#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/store.h>
#include <openssl/ui.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/fixture/command.h"
#include "tests/fixture/library_context.h"
#include "tests/fixture/openssl_conf.h"
#include "tests/fixture/paths.h"
#include "tests/fixture/swtpm.h"

namespace hwid::test::provider {

inline constexpr const char* kToken = "tpm-token";
inline constexpr const char* kParent = "0x81000001";
inline constexpr const char* kSignDecrypt =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign|decrypt";
inline constexpr const char* kRestricted =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign|restricted";
// A wrong auth value counts against the lockout.
inline constexpr const char* kCounted =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign";

using Bio = std::unique_ptr<BIO, FreeWith<BIO_free>>;

// One a process.
class World {
 public:
  World() {
    // Before there are threads: what the pcap TCTI writes, where a test uses it in this process.
    setenv("TCTI_PCAP_FILE", capture_file().c_str(), 1);
    setenv("TSS2_LOG", "all+NONE", 0);
    swtpm.make_parent(kParent);
  }

  // The section of a backend; what `more` has comes in the stead of what is there.
  Settings section(const Settings& more = {}) const {
    Settings all = {{"type", "tpm2"}, {"tcti", swtpm.tcti()}, {"token", kToken}};
    for (const auto& [name, value] : more) {
      std::erase_if(all, [&key = name](const auto& setting) { return setting.first == key; });
      if (!value.empty()) all.emplace_back(name, value);
    }
    return all;
  }
  OpensslConf conf(const Settings& more = {}) const {
    return OpensslConf().backend("tpm", section(more));
  }
  // Everything that the TPM is asked goes through the pcap TCTI.
  OpensslConf captured_conf(Settings more = {}) const {
    more.emplace_back("tcti", swtpm.capture_tcti());
    return conf(more);
  }

  // A new persistent key: its handle, "0x81000010" and on.
  std::string add_key(const Swtpm::KeyOptions& options, const std::string& saved = {}) {
    char handle[16];
    std::snprintf(handle, sizeof handle, "0x%08x", next_handle_++);
    swtpm.make_key(options, handle, saved);
    return handle;
  }
  std::string add_key(const std::string& algorithm, const std::string& attributes = kSignDecrypt) {
    return add_key({algorithm, attributes, {}, kParent, {}});
  }
  // A new key in a TSS2 PRIVATE KEY file: its path.
  std::string add_file(const Swtpm::KeyOptions& options) {
    const Swtpm::KeyFiles files = swtpm.make_key(options);
    swtpm.encode_key(files, options, files.public_file + ".pem");
    return files.public_file + ".pem";
  }
  std::string file(const std::string& name) const { return swtpm.directory().file(name); }
  std::string capture_file() const { return file("capture"); }

  Swtpm swtpm;

 private:
  unsigned next_handle_ = 0x81000010;
};

inline World& world() {
  static World made;
  return made;
}

// A context with world().conf().
inline const LibraryContext& context() {
  static const LibraryContext made(world().conf());
  return made;
}
inline EvpPkey key(const std::string& uri) { return context().private_key(uri); }
inline std::string by_handle(const std::string& handle) { return "tpm2:handle=" + handle; }

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The message of what `body` throws; empty if it throws nothing.
template <typename Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

// What the program's passphrase callback answers, and how often it was asked.
struct Passphrase {
  std::string value;
  int asked = 0;
  static int answer(char* buffer, int size, int, void* argument) {
    auto& self = *static_cast<Passphrase*>(argument);
    ++self.asked;
    if (self.value.empty() || static_cast<int>(self.value.size()) > size) return -1;
    self.value.copy(buffer, self.value.size());
    return static_cast<int>(self.value.size());
  }
};

// A key file as programs read it. Throws with OpenSSL's errors. Without `passphrase` nobody
// answers.
inline EvpPkey read_pem(const LibraryContext& context, const std::string& pem,
                        Passphrase* passphrase = nullptr) {
  Passphrase nobody;
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  EvpPkey key(PEM_read_bio_PrivateKey_ex(bio.get(), nullptr, &Passphrase::answer,
                                         passphrase != nullptr ? passphrase : &nobody,
                                         context.get(), nullptr));
  if (!key) throw std::runtime_error("PEM_read_bio_PrivateKey_ex:\n" + openssl_errors());
  (void)openssl_errors();
  return key;
}

// A key by its URI, of a program that has a passphrase callback. Throws with OpenSSL's errors.
inline EvpPkey open_asking(const LibraryContext& context, const std::string& uri,
                           Passphrase& passphrase) {
  const std::unique_ptr<UI_METHOD, FreeWith<UI_destroy_method>> ui(
      UI_UTIL_wrap_read_pem_callback(&Passphrase::answer, 0));
  OSSL_STORE_CTX* const store = OSSL_STORE_open_ex(uri.c_str(), context.get(), nullptr, ui.get(),
                                                   &passphrase, nullptr, nullptr, nullptr);
  EvpPkey key;
  while (store != nullptr && !key && OSSL_STORE_eof(store) == 0) {
    OSSL_STORE_INFO* const info = OSSL_STORE_load(store);
    if (info != nullptr) key.reset(OSSL_STORE_INFO_get1_PKEY(info));
    OSSL_STORE_INFO_free(info);
    if (info == nullptr && OSSL_STORE_error(store) != 0) break;
  }
  OSSL_STORE_close(store);
  if (!key) throw std::runtime_error("OSSL_STORE_load " + uri + ":\n" + openssl_errors());
  return key;
}

inline std::string write_pem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    throw std::runtime_error("PEM_write_bio_PrivateKey:\n" + openssl_errors());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

// The public half in a SubjectPublicKeyInfo file, as OpenSSL without us reads it.
inline EvpPkey read_public(const std::string& file) {
  const Bio bio(BIO_new_file(file.c_str(), "r"));
  EvpPkey key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
  if (!key) throw std::runtime_error("no public key in " + file);
  return key;
}

// EVP's key generation, whose parameters point into these. Throws with OpenSSL's errors.
struct Parameters {
  std::map<std::string, std::string> texts;
  std::map<std::string, unsigned> numbers;  // 32 bits
};
inline EvpPkey generate(const LibraryContext& context, const char* algorithm,
                        Parameters parameters) {  // NOLINT(performance-unnecessary-value-param)
  const EvpPkeyCtx ctx(EVP_PKEY_CTX_new_from_name(context.get(), algorithm, "provider=hwid"));
  std::vector<OSSL_PARAM> params;
  for (auto& [name, value] : parameters.texts)
    params.push_back(OSSL_PARAM_construct_utf8_string(name.c_str(), value.data(), 0));
  for (auto& [name, value] : parameters.numbers)
    params.push_back(OSSL_PARAM_construct_uint(name.c_str(), &value));
  params.push_back(OSSL_PARAM_construct_end());
  EVP_PKEY* made = nullptr;
  if (!ctx || EVP_PKEY_keygen_init(ctx.get()) != 1 ||
      EVP_PKEY_CTX_set_params(ctx.get(), params.data()) != 1 ||
      EVP_PKEY_generate(ctx.get(), &made) != 1)
    throw std::runtime_error("EVP_PKEY_generate:\n" + openssl_errors());
  return EvpPkey(made);
}

// Commands by name and how often: "Load 1, Sign 2".
inline std::string commands_text(const std::map<unsigned, int>& counts) {
  static const std::map<unsigned, const char*> kNames = {{0x120, "EvictControl"},
                                                         {0x131, "CreatePrimary"},
                                                         {0x13e, "SequenceComplete"},
                                                         {0x153, "Create"},
                                                         {0x154, "ECDH_ZGen"},
                                                         {0x157, "Load"},
                                                         {0x159, "RSA_Decrypt"},
                                                         {0x15c, "SequenceUpdate"},
                                                         {0x15d, "Sign"},
                                                         {0x161, "ContextLoad"},
                                                         {0x162, "ContextSave"},
                                                         {0x165, "FlushContext"},
                                                         {0x173, "ReadPublic"},
                                                         {0x176, "StartAuthSession"},
                                                         {0x17a, "GetCapability"},
                                                         {0x17b, "GetRandom"},
                                                         {0x17d, "Hash"},
                                                         {0x186, "HashSequenceStart"},
                                                         {0x18a, "TestParms"}};
  std::string text;
  for (const auto& [code, count] : counts) {
    if (count == 0) continue;
    const auto named = kNames.find(code);
    text += (text.empty() ? "" : ", ") +
            (named != kNames.end() ? std::string(named->second) : std::to_string(code)) + " " +
            std::to_string(count);
  }
  return text;
}

// What `body` asks the TPM in this process, through the pcap TCTI.
inline std::string asked(const std::function<void()>& body) {
  const auto counts = [] {
    const bool is_there = std::filesystem::exists(world().capture_file());
    return is_there ? count_commands(world().capture_file()) : std::map<unsigned, int>();
  };
  const std::map<unsigned, int> before = counts();
  body();
  std::map<unsigned, int> since = counts();
  for (const auto& [code, count] : before) since[code] -= count;
  return commands_text(since);
}

// A program of its own, with its own openssl.cnf, whose TPM commands are counted to its very end.
struct Counted {
  RunResult result;
  std::string commands;
  int total = 0;
  std::string bytes;  // all that went over the bus
};
inline Counted run_counted(const OpensslConf& conf, const std::vector<std::string>& argv) {
  const TemporaryDirectory directory;
  const std::string capture = directory.file("capture");
  RunOptions options;
  options.environment = world().swtpm.capture_environment(capture);
  options.environment["OPENSSL_CONF"] = conf.write(directory.file("openssl.cnf"));
  if (const char* const preload = std::getenv("HWID_PRELOAD"))
    options.environment["LD_PRELOAD"] = preload;
  if (const char* const tests = std::getenv("HWID_TESTS_DIR"))  // threads that do not end at exit
    options.environment["TSAN_OPTIONS"] =
        std::string("suppressions=") + tests + "/fixture/tsan_exit.supp";
  Counted counted;
  counted.result = run(argv, options);
  if (!std::filesystem::exists(capture)) return counted;
  counted.bytes = read_file(capture);
  const std::map<unsigned, int> counts = count_commands(capture);
  for (const auto& [code, count] : counts) counted.total += count;
  counted.commands = commands_text(counts);
  return counted;
}
// hwid-test-signer, which never frees its key. (Its configuration is its own, not OpenSSL's.)
inline Counted run_signer(const OpensslConf& conf, const std::string& uri, const std::string& what,
                          const std::string& argument = {}) {
  const TemporaryDirectory directory;
  const std::string file = conf.write(directory.file("signer.cnf"));
  return run_counted(OpensslConf().order(ProviderOrder::kDefaultOnly),
                     {bin_dir() + "/hwid-test-signer", file, uri, what, argument});
}

}  // namespace hwid::test::provider
