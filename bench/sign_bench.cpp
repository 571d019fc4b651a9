// hwid-bench-sign: signatures a second, of 1, 2 and 8 threads.
#include "bench/rounds.h"
#include "bench/signers.h"
#include "bench/world.h"

namespace {

using namespace hwid::bench;

// Calls that a signature costs once the key has been used.
double calls_a_signature(const World& world, const std::string& label, Scheme scheme) {
  const hwid::test::LibraryContext context(world.conf(world.counting.path()));
  const hwid::test::EvpPkey key = context.private_key(world.token.uri(label));
  const Contender counted = evp_signer("counted", context.get(), key.get(), scheme);
  return world.calls_of(counted.worker(0));
}

void measure(Rounds& rounds) {
  const World world;
  const Token raw(hwid::test::softhsm_module(), world.token.label(),
                  hwid::test::SoftHsmToken::kPin);
  const hwid::test::LibraryContext hwid_context(world.conf());
  const hwid::test::LibraryContext software_context(world.software_conf());
  for (const Scheme scheme : {Scheme::kRsaPkcs1, Scheme::kRsaPss, Scheme::kEcdsa}) {
    const std::string label = scheme == Scheme::kEcdsa ? "ec" : "rsa";
    const hwid::test::EvpPkey key = hwid_context.private_key(world.token.uri(label));
    const hwid::test::EvpPkey software =
        software_context.private_key(world.software_key_file(label));
    Comparison comparison{"sign", scheme_name(scheme), 1, true, {}};
    const auto add = [&](Contender contender, double calls) {
      contender.calls = calls;
      comparison.contenders.push_back(std::move(contender));
    };
    add(raw_signer("raw", raw, label, key.get(), scheme, false), 2);
    add(evp_signer("hwid", hwid_context.get(), key.get(), scheme),
        calls_a_signature(world, label, scheme));
    add(raw_signer("raw_copy", raw, label, key.get(), scheme, true), 2);
    add(evp_signer("software", software_context.get(), software.get(), scheme), 0);
    for (const int threads : {1, 2, kMostThreads}) {
      comparison.threads = threads;
      rounds.compare(comparison);
    }
  }
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, measure); }
