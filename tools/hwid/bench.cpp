// hwid bench: how fast a key signs.
#include <charconv>

#include "provider/core/error.h"
#include "provider/core/rsa_padding.h"
#include "tools/hwid/bench/device_counter.h"
#include "tools/hwid/bench/raw.h"
#include "tools/hwid/bench/result.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/facts.h"
#include "tools/hwid/files.h"
#include "tools/hwid/invocation.h"
#include "tools/hwid/key_source.h"
#include "tools/hwid/verify/possession.h"

namespace hwid::tool {
namespace {

using bench::Task;
using core::Error;
using core::Reason;

constexpr double kUsualSeconds = 2;
constexpr double kMostSeconds = 3600;
constexpr unsigned kMostThreads = 256;

void add_options(po::options_description& options) {
  auto add = options.add_options();
  add("threads", po::value<std::string>()->value_name("LIST"),
      "how many threads sign at once, a row for each number (default: 1,2,4,8)");
  add("seconds", po::value<double>()->value_name("N"),
      "how long each row is measured, hwid and raw (default: 2)");
  add("plot", po::value<std::string>()->value_name("FILE"), "draw the rates as SVG");
  add("force", po::bool_switch(), "replace the file of --plot");
}

struct Wish {
  std::vector<unsigned> threads;
  bench::Seconds duration{};
  std::string plot;
  Existing existing = Existing::kRefuseWithoutForce;
};

std::vector<unsigned> parse_threads(const std::string& text) {
  std::vector<unsigned> all;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    unsigned value = 0;
    const char* const last = text.data() + end;
    const auto [stop, failure] = std::from_chars(text.data() + at, last, value);
    if (failure != std::errc() || stop != last || value == 0 || value > kMostThreads)
      throw UsageError("--threads: numbers from 1 to " + std::to_string(kMostThreads) +
                       " are expected, with commas between them");
    all.push_back(value);
    at = end + 1;
  }
  return all;
}

Wish read_wish(Invocation& invocation) {
  Wish wish;
  wish.threads = parse_threads(invocation.has("threads") ? invocation.text("threads") : "1,2,4,8");
  const double seconds = invocation.value<double>("seconds").value_or(kUsualSeconds);
  if (!(seconds > 0 && seconds <= kMostSeconds))
    throw UsageError("--seconds: more than 0 and at most 3600 is expected");
  wish.duration = bench::Seconds(seconds);
  wish.plot = invocation.text("plot");
  if (invocation.flag("force")) wish.existing = Existing::kReplace;
  if (invocation.flag("force") && wish.plot.empty())
    throw UsageError("--force: it is for --plot, which is not there");
  if (!wish.plot.empty()) require_writable(wish.plot, wish.existing);
  return wish;
}

core::Object open_key(Invocation& invocation, const std::string& source) {
  using Origin = core::Router::Origin;
  const bool is_uri = is_key_uri(source);
  std::string content = is_uri ? "" : read_file(source);
  const core::Cleansed guard(content);
  const std::string uri = is_uri ? source : uri_in_file(source, content);
  if (uri.empty())
    throw Error(Reason::kUnsupported, "file=" + source +
                                          ": it is no key in hardware; measure ordinary keys with "
                                          "`openssl speed`");
  const core::KeyUri parsed = invocation.parse(uri);
  std::vector<core::Object> found = invocation.router().open(
      parsed, core::Wanted{true, false, false}, Invocation::prompt(),
      is_uri || invocation.has("pin-source") ? Origin::kProgram : Origin::kReferenceFile);
  if (found.size() == 1) return std::move(found.front());
  throw Error(found.empty() ? Reason::kNoPrivateKey : Reason::kSeveralObjects,
              parsed.text() + ": " + std::to_string(found.size()) +
                  " private keys; name one by object= or id= (`hwid list` shows them)");
}

// The first way to sign that the key takes. The signature is verified.
Task task_for(const core::Libcrypto& crypto, const core::Key& key) {
  Task task;
  const std::string text = "hwid bench: a message, no document\n";
  task.message.assign(text.begin(), text.end());
  const std::vector<core::SignScheme> schemes = verify::signing_schemes(key);
  for (const core::SignScheme& scheme : schemes) {
    task.scheme = scheme;
    const bool is_hashed = scheme.digest != core::Digest::kNone;
    if (is_hashed)
      task.digest =
          core::hash(crypto.fetch_digest(core::digest_name(scheme.digest)).get(), {task.message});
    core::Bytes signature;
    try {
      signature = verify::sign_message(crypto, key, scheme, task.message);
    } catch (const Error& error) {
      if (error.reason != Reason::kMechanismMissing || &scheme == &schemes.back()) throw;
      continue;
    }
    if (!core::verifies(crypto, key.public_key(), scheme,
                        is_hashed ? core::ByteView(task.digest) : core::ByteView(task.message),
                        signature))
      throw Error(Reason::kDeviceError, key.description().uri +
                                            ": the signature does not fit the key's public half; "
                                            "`hwid verify` tells more");
    return task;
  }
  throw Error(Reason::kUnsupported,
              key.description().uri + ": the key does not sign; name one that does");
}

bench::Series measure_hwid(const core::Key& key, const Task& task, unsigned threads,
                           bench::Seconds duration) {
  core::SignScheme scheme = task.scheme;
  scheme.message |= key.sign_input(scheme) == core::SignInput::kMessage;
  const core::Bytes& input = scheme.message ? task.message : task.digest;
  return bench::measure(threads, duration, [&](bench::Run& run) {
    while (run.next()) (void)key.sign(scheme, input);
  });
}

std::optional<bench::Series> measure_raw(const core::Libcrypto& crypto, const core::Key& key,
                                         const Task& task, unsigned threads,
                                         bench::Seconds duration) {
  const auto* const on_token = dynamic_cast<const pkcs11::Key*>(&key);
  const auto* const in_tpm = dynamic_cast<const tpm2::Key*>(&key);
  try {
    if (on_token != nullptr)
      return bench::measure(threads, duration, [&](bench::Run& run) {
        bench::sign_raw(crypto, *on_token, task, run);
      });
    if (in_tpm != nullptr)
      return bench::measure(1, duration,
                            [&](bench::Run& run) { bench::sign_raw(crypto, *in_tpm, task, run); });
  } catch (const Error& error) {
    Output::note(std::string("the raw limit is not known: ") + error.what());
  }
  return std::nullopt;
}

std::string device_text(const core::Key& key) {
  core::TokenInfo info;
  if (const auto* const on_token = dynamic_cast<const pkcs11::Key*>(&key))
    info = on_token->device_info();
  else if (const auto* const in_tpm = dynamic_cast<const tpm2::Key*>(&key))
    info = in_tpm->device_info();
  return (info.kind == "tpm2" ? "TPM " : "token ") + info.label + " (" + info.manufacturer + " " +
         info.model + ")";
}

bench::Row measure_row(const core::Libcrypto& crypto, const core::Key& key, const Task& task,
                       unsigned threads, bench::Seconds duration,
                       const bench::DeviceCounter& counter) {
  bench::Row row;
  const auto before = counter.counts();
  row.hwid = measure_hwid(key, task, threads, duration);
  for (const auto& [name, count] : bench::difference(counter.counts(), before))
    row.calls[name] = static_cast<double>(count) /
                      static_cast<double>(std::max<std::uint64_t>(row.hwid.operations, 1));
  row.raw = measure_raw(crypto, key, task, threads, duration);
  return row;
}

Exit run(Invocation& invocation) {
  const Wish wish = read_wish(invocation);
  const std::string& source = invocation.arguments()[0];
  if (!is_key_uri(source)) require_readable(source);
  invocation.router();  // sets the environment that the configuration wants
  const bench::DeviceCounter counter(core::Config::read(invocation.section().lookup()));
  const core::Libcrypto& crypto = invocation.software();
  const core::Object object = open_key(invocation, source);
  const core::Key& key = *object.key;
  const Task task = task_for(crypto, key);

  bench::Result result;
  result.uri = key.description().uri;
  result.name = core::name_of(key.description());
  result.type = key_type(key.public_key());
  result.scheme = core::scheme_text(task.scheme);
  result.device = device_text(key);
  result.is_tpm = dynamic_cast<const tpm2::Key*>(&key) != nullptr;
  result.seconds = wish.duration.count();
  for (int i = 0; i < 2; ++i)  // a session copy of the key is made for the second
    (void)verify::sign_message(crypto, key, task.scheme, task.message);
  for (const unsigned threads : wish.threads)
    result.rows.push_back(measure_row(crypto, key, task, threads, wish.duration, counter));
  if (!wish.plot.empty()) write_file(wish.plot, bench::plot(result), 0644, wish.existing);
  Output& out = invocation.out();
  if (!out.json()) bench::print(out, result);
  out.document(bench::to_json(result));
  return kGood;
}

}  // namespace

const Command kBench = {
    "bench",
    "URI [--threads LIST] [--seconds N] [--plot FILE]",
    "how fast a key signs: rate, latency, calls, beside the device's limit",
    "Signs as fast as it can with the key that URI names (or a file: key reference, TSS2 PEM), by\n"
    "several threads, as hwid-provider(7) does it. Beside it stands the raw limit: the device's "
    "own\n"
    "calls on a session that each thread keeps (of a TPM: its one command, again and again). The "
    "calls\n"
    "that one signature costs are counted; on a chip or a network HSM their number is the speed.\n"
    "Figures of a machine with other work to do are lower.",
    "  hwid bench hwid:device\n"
    "  hwid bench 'pkcs11:token=line-7;object=web' --threads 1,16,64 --plot web-key.svg\n"
    "  hwid bench tpm2:handle=0x81000002 --seconds 10 --json\n",
    1,
    1,
    add_options,
    run};

}  // namespace hwid::tool
