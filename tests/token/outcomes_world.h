// The token on which each call is failed once: keys of all the kinds that are found differently.
#pragma once

#include <map>
#include <string>

#include "tests/fixture/library_context.h"
#include "tests/fixture/module_control.h"
#include "tests/fixture/pki.h"
#include "tests/fixture/softhsm.h"

namespace hwid::test::outcomes {

// Made by child processes: this one never initializes SoftHSM, so each child that is forked from
// it starts as a program does. The test module is loaded here, once for all.
class World {
 public:
  World();

  // A configuration with `token`, behind the test module.
  OpensslConf conf(const SoftHsmToken& of) const {
    return OpensslConf().backend("dev", of.backend(module.path()));
  }
  std::string uri(const std::string& label, const std::string& type) const {
    return "pkcs11:token=" + token.label() + ";object=" + label + ";type=" + type;
  }
  // The certificate that was issued for a key, and its public half of the default provider: the
  // judges.
  X509* certificate(const std::string& label) const { return certificates_.at(label).get(); }
  EVP_PKEY* judge(const std::string& label) const { return X509_get0_pubkey(certificate(label)); }

  // rsa and ec are pairs; the public object of ec-by-id has another label; ec-by-cert has only a
  // certificate, of another label, beside it; leaf is a certificate.
  SoftHsmToken token;
  SoftHsmToken few{"few"};  // rsa, and leaf
  SoftHsmToken empty{"empty"};
  ModuleControl module;
  Pki pki;

 private:
  void hide_public_halves() const;

  std::map<std::string, Certificate> certificates_;
};

World& world();

}  // namespace hwid::test::outcomes
