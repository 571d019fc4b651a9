// hwid-bench-load: a key loaded again in one process, and for the first time in a new one, from a
// token with few and with many objects.
#include "bench/large_token.h"
#include "bench/processes.h"
#include "bench/rounds.h"
#include "bench/signers.h"
#include "bench/world.h"

namespace {

using namespace hwid::bench;
namespace test = hwid::test;

const std::vector<std::string> kLabels = {"rsa", "ec"};

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

void measure_first_load(Rounds& rounds, int objects) {
  const FilledToken filled(objects);
  for (const std::string& label : kLabels) {
    Comparison comparison{
        "first load", type_name(label) + ", " + std::to_string(objects) + " objects", 1, false, {}};
    comparison.contenders.push_back(first_load(
        "raw", filled,
        {"raw", test::softhsm_module(), filled.token().label(), test::SoftHsmToken::kPin, label}));
    comparison.contenders.push_back(
        first_load("hwid", filled, {"store", filled.conf_file(), filled.token().uri(label)}));
    rounds.compare(comparison);
  }
}

void measure(Rounds& rounds) {
  measure_reload(rounds);
  measure_first_load(rounds, kFewObjects);
  measure_first_load(rounds, many_objects(rounds.options().quick));
}

}  // namespace

int main(int argc, char** argv) { return run_program(argc, argv, measure); }
