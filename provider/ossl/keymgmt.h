// OSSL_OP_KEYMGMT: RSA, RSA-PSS, EC, and the curves of RFC 8410 (provider-keymgmt(7)).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "provider/ossl/key_object.h"

namespace hwid::ossl::keymgmt {

// What our signatures are called beside their common names.
inline constexpr char kOwnSignature[] = "HWID-SIGNATURE";
inline constexpr char kOwnEddsa[] = "HWID-EDDSA";

// One key generation, in software or on a token; which is known only when all parameters came. On a
// token it is where a key URI or another parameter of ours was given, or the configuration says so.
class Generation {
 public:
  Generation(Provider& provider, core::Algorithm algorithm, int selection);
  const ErrorSink* errors() const noexcept { return provider_.errors(); }
  void set_template(const KeyObject& object);
  void set_params(const OSSL_PARAM params[]);
  // `progress` may be null. Throws what Router and SoftwareGeneration throw.
  std::unique_ptr<KeyObject> generate(OSSL_CALLBACK* progress, void* argument);

 private:
  void set_uri(const OSSL_PARAM params[]);
  void set_key(const OSSL_PARAM params[]);
  void set_signatures(const OSSL_PARAM params[]);
  void set_own(const OSSL_PARAM params[]);
  void set_pkcs11(const OSSL_PARAM params[]);
  void set_uses(const std::string& usage);
  std::string unkeepable() const;
  std::unique_ptr<KeyObject> generate_on_token();

  Provider& provider_;
  core::Algorithm algorithm_;
  int selection_;
  std::optional<core::KeyUri> uri_;  // of the key on a token
  std::string own_;                  // a parameter of ours that was given, besides the URI
  const char* of_pkcs11_ = nullptr;  // a parameter of keys on PKCS#11 tokens that was given
  std::optional<unsigned long> slot_;
  std::string software_only_;  // a parameter that a key on a token cannot have
  std::string digest_;         // OpenSSL's names; empty: not given
  std::string mgf1_digest_;
  std::optional<int> salt_size_;
  core::KeySpec spec_;
  std::unique_ptr<core::SoftwareGeneration> software_;
};

// RSA and curves are data: what differs is the algorithm, which OpenSSL does not hand to these.
template <core::Algorithm A>
KeyObject* new_key(Provider* provider);
template <core::Algorithm A>
Generation* gen_init(Provider* provider, int selection, const OSSL_PARAM params[]);
template <core::Algorithm A>
const OSSL_PARAM* gen_settable_params(Generation* generation, Provider* provider);
template <core::Algorithm A>
const OSSL_PARAM* key_types(int selection);  // import_types and export_types
template <core::Algorithm A>
const char* query_operation_name(int operation);

void free_key(KeyObject* object);
KeyObject* load(const void* reference, std::size_t size);
KeyObject* dup(const KeyObject* object, int selection);
int has(const KeyObject* object, int selection);
int match(const KeyObject* one, const KeyObject* other, int selection);
int validate(const KeyObject* object, int selection, int check_type);
int import_key(KeyObject* object, int selection, const OSSL_PARAM params[]);
int export_key(KeyObject* object, int selection, OSSL_CALLBACK* callback, void* argument);
int get_params(KeyObject* object, OSSL_PARAM params[]);
const OSSL_PARAM* gettable_params(Provider* provider);
int set_params(KeyObject* object, const OSSL_PARAM params[]);
const OSSL_PARAM* settable_params(Provider* provider);

int gen_set_template(Generation* generation, KeyObject* object);
int gen_set_params(Generation* generation, const OSSL_PARAM params[]);
KeyObject* gen(Generation* generation, OSSL_CALLBACK* progress, void* argument);
void gen_cleanup(Generation* generation);

}  // namespace hwid::ossl::keymgmt
