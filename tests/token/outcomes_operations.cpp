#include "tests/token/outcomes_operations.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "tests/token/world.h"

namespace hwid::test::outcomes {
namespace {

constexpr char kMessage[] = "message";

void must(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string(what) + ":\n" + openssl_errors());
}

void load(Stage& stage, const std::string& label) {
  stage.key = stage.context.private_key(world().uri(label, "private"));
}

std::string load_and_judge(Stage& stage, const std::string& label) {
  load(stage, label);
  const bool same = EVP_PKEY_eq(stage.key.get(), world().judge(label)) == 1;
  (void)openssl_errors();
  return same ? "right" : "ANOTHER KEY";
}

std::string judged(EVP_PKEY* judge, const std::string& signature) {
  return verifies(judge, "SHA256", kMessage, signature) ? "right" : "WRONG SIGNATURE";
}

std::string sign_and_judge(Stage& stage, const std::string& label) {
  return judged(world().judge(label),
                sign(stage.context.get(), stage.key.get(), "SHA256", kMessage));
}

std::string sign_pss(Stage& stage, const std::string& label) {
  const auto* const message = reinterpret_cast<const unsigned char*>(kMessage);
  EVP_PKEY* const judge = world().judge(label);
  const EvpMdCtx signing(EVP_MD_CTX_new());
  EVP_PKEY_CTX* padding = nullptr;
  must(EVP_DigestSignInit_ex(signing.get(), &padding, "SHA256", stage.context.get(), nullptr,
                             stage.key.get(), nullptr) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING) == 1,
       "EVP_DigestSignInit");
  std::size_t size = 512;
  std::string signature(size, '\0');
  must(EVP_DigestSign(signing.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                      message, sizeof kMessage) == 1,
       "EVP_DigestSign");
  const EvpMdCtx verifying(EVP_MD_CTX_new());
  must(EVP_DigestVerifyInit(verifying.get(), &padding, EVP_sha256(), nullptr, judge) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING) == 1,
       "EVP_DigestVerifyInit");
  return EVP_DigestVerify(verifying.get(), reinterpret_cast<unsigned char*>(signature.data()), size,
                          message, sizeof kMessage) == 1
             ? "right"
             : "WRONG SIGNATURE";
}

std::string name_of(OSSL_STORE_INFO* info) {
  const int type = OSSL_STORE_INFO_get_type(info);
  if (type == OSSL_STORE_INFO_CERT) {
    for (const char* const label : {"rsa", "ec-by-cert"}) {
      if (X509_cmp(OSSL_STORE_INFO_get0_CERT(info), world().certificate(label)) == 0)
        return std::string("Certificate ") + label;
    }
    return "UNKNOWN CERTIFICATE";
  }
  EVP_PKEY* const key = type == OSSL_STORE_INFO_PKEY ? OSSL_STORE_INFO_get0_PKEY(info)
                                                     : OSSL_STORE_INFO_get0_PUBKEY(info);
  for (const char* const label : {"rsa", "ec", "ec-by-id", "ec-by-cert"}) {
    if (key != nullptr && EVP_PKEY_eq(key, world().judge(label)) == 1)
      return OSSL_STORE_INFO_type_string(type) + std::string(" ") + label;
  }
  return "UNKNOWN KEY";
}

// All that a URI lists, sorted.
std::vector<std::string> listed(const LibraryContext& context, const std::string& uri,
                                const std::function<std::string(OSSL_STORE_INFO*)>& name) {
  const std::unique_ptr<OSSL_STORE_CTX, decltype([](OSSL_STORE_CTX* s) { OSSL_STORE_close(s); })>
      store(OSSL_STORE_open_ex(uri.c_str(), context.get(), nullptr, nullptr, nullptr, nullptr,
                               nullptr, nullptr));
  must(store != nullptr, "OSSL_STORE_open");
  std::vector<std::string> names;
  while (OSSL_STORE_eof(store.get()) == 0) {
    const std::unique_ptr<OSSL_STORE_INFO,
                          decltype([](OSSL_STORE_INFO* i) { OSSL_STORE_INFO_free(i); })>
        info(OSSL_STORE_load(store.get()));
    if (info)
      names.push_back(name(info.get()));
    else
      must(OSSL_STORE_error(store.get()) == 0 && ERR_peek_error() == 0, "OSSL_STORE_load");
  }
  std::ranges::sort(names);
  return names;
}

std::string list_all(Stage& stage) {
  static const std::vector<std::string> kAll = {"Certificate rsa", "Pkey rsa", "Public key rsa"};
  const std::vector<std::string> found =
      listed(stage.context, "pkcs11:token=" + stage.token.label(), name_of);
  if (found == kAll) return "right";
  if (found.empty()) return "NOTHING LISTED";
  std::string text = "listed:";
  for (const std::string& name : found) text += " " + name + ",";
  text.pop_back();
  return text;
}

std::string load_certificate(Stage& stage) {
  const Certificate found = stage.context.certificate(world().uri("leaf", "cert"));
  return X509_cmp(found.get(), world().certificate("rsa")) == 0 ? "right" : "ANOTHER CERTIFICATE";
}

std::string generate(Stage& stage) {
  std::string uri =
      "pkcs11:token=" + stage.token.label() + ";object=made-" + std::to_string(++stage.runs);
  const std::unique_ptr<EVP_PKEY_CTX, decltype([](EVP_PKEY_CTX* c) { EVP_PKEY_CTX_free(c); })> ctx(
      EVP_PKEY_CTX_new_from_name(stage.context.get(), "EC", "provider=hwid"));
  char group[] = "P-256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("pkcs11_uri", uri.data(), 0),
                               OSSL_PARAM_construct_utf8_string("group", group, 0),
                               OSSL_PARAM_construct_end()};
  EVP_PKEY* made = nullptr;
  must(ctx && EVP_PKEY_keygen_init(ctx.get()) == 1 &&
           EVP_PKEY_CTX_set_params(ctx.get(), params) == 1 &&
           EVP_PKEY_generate(ctx.get(), &made) == 1,
       "EVP_PKEY_generate");
  stage.key.reset(made);
  world().module("clear");  // the key's signature is no part of the operation
  return judged(software_public(made).get(), sign(stage.context.get(), made, "SHA256", kMessage));
}

// A pair that nobody knows of, or half a one.
std::string orphans(Stage& stage) {
  const auto type = [](OSSL_STORE_INFO* info) {
    return std::string(OSSL_STORE_INFO_type_string(OSSL_STORE_INFO_get_type(info)));
  };
  const LibraryContext other(world().conf(stage.token));
  const auto left = listed(other, "pkcs11:token=" + stage.token.label(), type);
  return left.empty() ? "" : std::to_string(left.size()) + " OBJECTS LEFT";
}

// The rest of the operation happens in a child; this process ends as that one does.
void fork_here() {
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    return;
  }
  int status = 1;
  waitpid(child, &status, 0);
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

void nothing(Stage&) {}

Operation load_of(const std::string& label) {
  return {"load " + label, nothing, [label](Stage& stage) { return load_and_judge(stage, label); }};
}

// `signatures` were made before this one.
Operation signature_of(const std::string& name, const std::string& label, int signatures) {
  return {name,
          [label, signatures](Stage& stage) {
            load(stage, label);
            for (int i = 0; i < signatures; ++i) (void)sign_and_judge(stage, label);
          },
          [label](Stage& stage) { return sign_and_judge(stage, label); }};
}

Operation forked(const std::string& name, const std::string& directive) {
  return {name,
          [directive](Stage& stage) {
            world().module(directive);
            load(stage, "ec");
            (void)sign_and_judge(stage, "ec");
            fork_here();
          },
          [](Stage& stage) { return sign_and_judge(stage, "ec"); }};
}

std::string load_and_sign(Stage& stage) {
  if (!stage.key) load(stage, "ec");
  return sign_and_judge(stage, "ec");
}

// Another library context of a process that has the token open.
std::string reload(Stage& stage) {
  const LibraryContext other(world().conf(stage.token));
  const EvpPkey key = other.private_key(world().uri("ec", "private"));
  return judged(world().judge("ec"), sign(other.get(), key.get(), "SHA256", kMessage));
}

}  // namespace

const std::vector<Operation>& operations() {
  static const std::vector<Operation> kOperations = {
      load_of("rsa"),
      load_of("ec"),
      load_of("ec-by-id"),
      load_of("ec-by-cert"),
      {"load certificate", nothing, load_certificate},
      {"list", nothing, list_all, nullptr, &World::few},
      signature_of("sign rsa", "rsa", 0),
      {"sign rsa-pss", [](Stage& stage) { load(stage, "rsa"); },
       [](Stage& stage) { return sign_pss(stage, "rsa"); }},
      signature_of("sign ec", "ec", 0),
      signature_of("sign ec again", "ec", 1),
      signature_of("sign ec a third time", "ec", 2),
      {"load and sign", nothing, load_and_sign},
      {"load again and sign", [](Stage& stage) { load(stage, "ec"); }, reload},
      forked("sign in a child", "strict-fork off"),
      forked("sign in a child that must initialize", "strict-fork on"),
      {"generate", nothing, generate, orphans, &World::empty, true},
  };
  return kOperations;
}

}  // namespace hwid::test::outcomes
