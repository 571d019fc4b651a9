// hwid-bench-cold: a whole process that makes one signature, from its start to its end.
#include <openssl/pem.h>

#include <memory>
#include <stdexcept>

#include "bench/large_token.h"
#include "bench/processes.h"
#include "bench/rounds.h"
#include "bench/signers.h"
#include "tests/fixture/paths.h"
#include "tests/fixture/pki.h"

namespace {

using namespace hwid::bench;
namespace test = hwid::test;

struct Files {
  Files() {
    test::write_file(message(), message_to_sign());
    test::write_file(digest(), digest_to_sign());
    test::OpensslConf().order(test::ProviderOrder::kDefaultOnly).write(conf());
    pki.issue("software-rsa", {}, "rsa:2048");
    pki.issue("software-ec", {}, "ec:P-256");
  }
  std::string message() const { return pki.file("message"); }
  std::string digest() const { return pki.file("digest"); }
  std::string conf() const { return pki.file("software.cnf"); }
  std::string signature() const { return pki.file("signature"); }

  test::Pki pki;
};

Program dgst(const Files& files, const std::string& conf, const std::string& key,
             const std::string& out) {
  return {{"openssl", "dgst", "-sha256", "-sign", key, "-out", out, files.message()},
          {{"OPENSSL_CONF", conf}}};
}

// One token and one key of it.
struct Subject {
  const Files& files;
  const FilledToken& filled;
  std::string label;

  Scheme scheme() const { return label == "ec" ? Scheme::kEcdsa : Scheme::kRsaPkcs1; }
  Program raw(const std::string& module, const std::string& out) const {
    return {{HWID_BENCH_RAW_SIGN, module, filled.token().label(), test::SoftHsmToken::kPin, label,
             label, files.digest(), out},
            filled.token().environment()};
  }
  Program hwid(const std::string& module, const std::string& out) const {
    Program program = dgst(files, filled.conf_file(module), filled.token().uri(label), out);
    program.environment["SOFTHSM2_CONF"] = filled.token().conf();
    return program;
  }
  Program software(const std::string& out) const {
    return dgst(files, files.conf(), files.pki.file("software-" + label + ".key"), out);
  }
  // The public half of the token's key, and of the software key.
  test::EvpPkey public_key(bool of_token) const;
};

test::EvpPkey Subject::public_key(bool of_token) const {
  const std::string out = files.pki.file("public.pem");
  Program program = of_token ? hwid({}, out) : software(out);
  const std::string of = program.argv.at(4);
  program.argv = {"openssl", "pkey", "-in", of, "-pubout", "-out", out};
  run_process(program);
  const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(out.c_str(), "r"), BIO_free);
  test::EvpPkey key(PEM_read_bio_PUBKEY(file.get(), nullptr, nullptr, nullptr));
  if (!key) throw std::runtime_error("no public key in " + out);
  return key;
}

Contender process(std::string name, const Subject& subject, const Program& once,
                  const Program& program) {
  const bool is_software = name == "software";
  const bool is_raw = name == "raw";
  run_process(once);
  require_good(subject.public_key(!is_software).get(), subject.scheme(),
               test::read_file(subject.files.signature()),
               is_raw && subject.scheme() == Scheme::kEcdsa);
  Contender made;
  made.name = std::move(name);
  made.timed = [program] { return run_process(program); };
  return made;
}

void compare(Rounds& rounds, const Subject& subject, int objects) {
  const std::string out = subject.files.signature();
  const std::string nowhere = "/dev/null";
  Comparison comparison{"process", "", 1, false, {}};
  comparison.name = std::string(subject.label == "ec" ? "P-256" : "RSA-2048") + ", " +
                    std::to_string(objects) + " objects";
  Contender raw = process("raw", subject, subject.raw(test::softhsm_module(), out),
                          subject.raw(test::softhsm_module(), nowhere));
  raw.calls = calls_of_process(subject.raw(test::test_module(), nowhere));
  Contender hwid = process("hwid", subject, subject.hwid({}, out), subject.hwid({}, nowhere));
  hwid.calls = calls_of_process(subject.hwid(test::test_module(), nowhere));
  comparison.contenders = {
      raw, hwid, process("software", subject, subject.software(out), subject.software(nowhere))};
  rounds.compare(comparison);
}

void measure(Rounds& rounds) {
  const Files files;
  for (const int objects : {kFewObjects, many_objects(rounds.options().quick).front()}) {
    const FilledToken filled(objects);
    for (const char* const label : {"rsa", "ec"}) compare(rounds, {files, filled, label}, objects);
  }
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, measure); }
