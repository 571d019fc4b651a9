// What can be wrong, as data: the table that `hwid doctor` goes by and doc/troubleshooting.md is
// printed from.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace hwid::tool::doctor {

// What is looked at, in the order of the way from openssl.cnf to the broker.
enum class Probe : std::uint32_t {
  kGreengrass,      // config.yaml, where --config names one
  kConfFile,        // openssl.cnf is there and can be read
  kConfLayout,      // it leads to hwid
  kProviderModule,  // hwid.so can be loaded
  kConfKeys,        // its settings are known
  kConfValues,      // and have values that make sense
  kUris,            // what names the key means it
  kModule,          // the PKCS#11 module, the way to the TPM
  kToken,
  kPin,  // where the PIN is, its state, and whether it is right
  kKey,
  kUse,  // the key signs, through OpenSSL as programs use it
  kCertificate,
  kTrust,
  kPolicy,  // of AWS IoT, where a file of it is given
  kNetwork,
  kTls,
  kMqtt,
  kDoctor,  // no part of the way: the examination itself
};
inline constexpr Probe kLastProbe = Probe::kDoctor;
const char* title_of(Probe probe) noexcept;  // "openssl.cnf", for people

// A set of probes.
class Probes {
 public:
  constexpr Probes() noexcept = default;
  constexpr Probes(std::initializer_list<Probe> probes) noexcept {
    for (const Probe probe : probes) bits_ |= bit(probe);
  }
  // That one and all behind it.
  static constexpr Probes from(Probe first) noexcept {
    Probes all;
    for (unsigned at = static_cast<unsigned>(first); at <= static_cast<unsigned>(kLastProbe); ++at)
      all.bits_ |= 1U << at;
    return all;
  }
  constexpr bool has(Probe probe) const noexcept { return (bits_ & bit(probe)) != 0; }

 private:
  static constexpr std::uint32_t bit(Probe probe) noexcept {
    return 1U << static_cast<unsigned>(probe);
  }
  std::uint32_t bits_ = 0;
};

// kRisk: all works, and somebody should still do something about it.
enum class Weight : std::uint32_t { kBroken, kRisk };

// One row. In the texts a name in braces stands for what the probe saw: "{file}".
struct Cause {
  const char* id;  // stable: in JSON, and as a heading of doc/troubleshooting.md
  Probe probe;     // that finds it
  Weight weight;
  const char* cause;
  const char* evidence;
  const char* fix;
  Probes silences;  // what cannot but fail because of it, so that nothing is said of that
};

// In the order in which they are looked for.
std::span<const Cause> causes() noexcept;
// Throws kInternal where there is none.
const Cause& cause_of(std::string_view id);

using Values = std::map<std::string, std::string>;
// `text` with the values in the places of their names; in that of {'name'} one word of a shell. A
// name without a value stays as it is.
std::string filled(std::string_view text, const Values& values);

// doc/troubleshooting.md.
std::string markdown();

}  // namespace hwid::tool::doctor
