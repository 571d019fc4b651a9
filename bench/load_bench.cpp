// hwid-bench-load: a key loaded again in one process, and for the first time in a new one, from a
// token with few and with many objects; and everything on such a token listed.
#include <algorithm>

#include "bench/large_token.h"
#include "bench/processes.h"
#include "bench/rounds.h"
#include "bench/signers.h"
#include "bench/ways.h"
#include "bench/world.h"

namespace {

using namespace hwid::bench;
namespace test = hwid::test;

const std::vector<std::string> kLabels = {"rsa", "ec"};
constexpr int kMostListings = 7;  // one of ten thousand objects takes seconds

std::string type_name(const std::string& label) { return label == "ec" ? "P-256" : "RSA-2048"; }

// A key that is loaded and freed, while another reference to it is open.
Contender reload(std::string name, const test::LibraryContext& context, const std::string& uri) {
  const auto open = std::make_shared<test::EvpPkey>(context.private_key(uri));
  const test::LibraryContext* const where = &context;
  Contender made;
  made.name = std::move(name);
  made.worker = [open, where, uri](int) {
    return [open, where, uri] { (void)where->private_key(uri); };
  };
  return made;
}

// What a program without a cache asks: one search on a session that is open already.
Contender search(const Token& raw, const std::string& label) {
  Contender made;
  made.name = "raw";
  made.calls = 3;
  made.worker = [&raw, label](int) {
    return [&raw, label] { (void)raw.find(raw.session(), label); };
  };
  return made;
}

void measure_reload(Rounds& rounds) {
  const World world;
  const Token raw(test::softhsm_module(), world.token.label(), test::SoftHsmToken::kPin);
  const test::LibraryContext context(world.conf());
  const test::LibraryContext counted_context(world.conf(world.counting.path()));
  const test::LibraryContext software_context(world.software_conf());
  for (const std::string& label : kLabels) {
    const std::string uri = world.token.uri(label);
    Comparison comparison{"reload", type_name(label), 1, false, {}};
    comparison.contenders.push_back(search(raw, label));
    comparison.contenders.push_back(reload("hwid", context, uri));
    comparison.contenders.back().calls =
        world.calls_of(reload("counted", counted_context, uri).worker(0));
    comparison.contenders.push_back(
        reload("software", software_context, world.software_key_file(label)));
    rounds.compare(comparison);
  }
}

Contender first_load(std::string name, const FilledToken& filled, std::vector<std::string> words) {
  words.insert(words.begin(), HWID_BENCH_FIRST_LOAD);
  const Program program{std::move(words), filled.token().environment()};
  number_from(program);  // that it works, and the files are in the system's cache
  Contender made;
  made.name = std::move(name);
  made.timed = [program] { return number_from(program); };
  return made;
}

void measure_first_load(Rounds& rounds, const FilledToken& filled, const std::string& what,
                        const std::string& label, const std::string& uri) {
  Comparison comparison{"first load", what, 1, false, {}};
  comparison.contenders.push_back(first_load(
      "raw", filled,
      {"raw", test::softhsm_module(), filled.token().label(), test::SoftHsmToken::kPin, label}));
  comparison.contenders.push_back(first_load("hwid", filled, {"store", filled.conf_file(), uri}));
  rounds.compare(comparison);
}

void measure_first_loads(Rounds& rounds, const FilledToken& filled) {
  const std::string objects = ", " + std::to_string(filled.objects()) + " objects";
  for (const std::string& label : kLabels)
    measure_first_load(rounds, filled, type_name(label) + objects, label,
                       filled.token().uri(label));
  measure_first_load(rounds, filled, "P-256 by id" + objects, "ec",
                     "pkcs11:token=" + filled.token().label() + ";id=%02;type=private");
}

void measure_listing(Rounds& rounds, const FilledToken& filled) {
  const std::string count = std::to_string(filled.objects());
  const auto way = [&](const std::string& name, std::vector<std::string> words) {
    words.insert(words.begin(), HWID_BENCH_LIST_TOKEN);
    words.push_back(count);
    return Way{name, {std::move(words), filled.token().environment()}};
  };
  if ((count + " objects").find(rounds.options().only) == std::string::npos) return;
  std::vector<Way> ways = {
      way("raw", {"raw", test::softhsm_module(), filled.token().label(), test::SoftHsmToken::kPin}),
      way("hwid", {"store", filled.conf_file(), "pkcs11:token=" + filled.token().label()})};
  run_in_turn(ways, std::min(rounds.options().rounds, kMostListings));
  add_figures(rounds, ways, "listing", count + " objects", false);
}

void measure(Rounds& rounds) {
  measure_reload(rounds);
  std::vector<int> sizes = many_objects(rounds.options().quick);
  sizes.insert(sizes.begin(), kFewObjects);
  for (const int objects : sizes) {
    const FilledToken filled(objects);
    measure_first_loads(rounds, filled);
    measure_listing(rounds, filled);
  }
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, measure); }
