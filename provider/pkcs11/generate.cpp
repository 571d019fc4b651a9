#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

#include "provider/core/shell_word.h"
#include "provider/pkcs11/token.h"

namespace hwid::pkcs11 {

using core::Access;
using core::Bytes;
using core::Error;
using core::KeySpec;
using core::Reason;

namespace {

// A way to name key pairs of a kind to a token.
struct PairMechanism {
  CK_MECHANISM_TYPE type;
  Bytes curve;  // CKA_EC_PARAMS; empty: RSA
};

// DER of the curve's number: CKA_EC_PARAMS.
Bytes curve_parameters(const std::string& group) {
  int nid = EC_curve_nist2nid(group.c_str());
  if (nid == NID_undef) nid = OBJ_txt2nid(group.c_str());
  const ASN1_OBJECT* const name = nid != NID_undef ? OBJ_nid2obj(nid) : nullptr;
  unsigned char* der = nullptr;
  const int size = name != nullptr ? i2d_ASN1_OBJECT(name, &der) : 0;
  if (size <= 0)
    throw Error(Reason::kUnsupported,
                "curve " + group + " is not known; name one such as P-256 or P-384");
  const std::unique_ptr<unsigned char, core::FreeWith<[](void* memory) { OPENSSL_free(memory); }>>
      owned(der);
  return {der, der + size};
}

// DER of the curve's name, for tokens from before its number was told (PKCS#11 v3.0, 2.3.5).
Bytes named_curve(std::string_view name) {
  Bytes der = {V_ASN1_PRINTABLESTRING, static_cast<std::uint8_t>(name.size())};
  der.insert(der.end(), name.begin(), name.end());
  return der;
}

// In the order in which they are tried: the standard's way, and what tokens took before.
std::vector<PairMechanism> pair_mechanisms(const KeySpec& spec) {
  using core::Algorithm;
  const auto number = [&] { return curve_parameters(core::algorithm_name(spec.algorithm)); };
  switch (spec.algorithm) {
    case Algorithm::kEc:
      return {{CKM_ECDSA_KEY_PAIR_GEN, curve_parameters(spec.group)}};
    case Algorithm::kEd25519:
      return {{kEdwardsKeyPairGen, number()}, {kEdwardsKeyPairGen, named_curve("edwards25519")}};
    case Algorithm::kEd448:
      return {{kEdwardsKeyPairGen, number()}, {kEdwardsKeyPairGen, named_curve("edwards448")}};
    case Algorithm::kX25519:
      return {{kMontgomeryKeyPairGen, number()},
              {kMontgomeryKeyPairGen, named_curve("curve25519")},
              {kEdwardsKeyPairGen, number()}};  // SoftHSM
    case Algorithm::kX448:
      return {{kMontgomeryKeyPairGen, number()},
              {kMontgomeryKeyPairGen, named_curve("curve448")},
              {kEdwardsKeyPairGen, number()}};
    default:
      return {{CKM_RSA_PKCS_KEY_PAIR_GEN, {}}};
  }
}

// The two templates of a key pair. Attributes point into the members.
class PairTemplates {
 public:
  // What a token may reject without harm, and is then made without.
  struct Extras {
    bool allowed_mechanisms;       // of the private half: the token holds programs to them
    bool allowed_mechanisms_told;  // of the public half, too: who reads it sees them
    bool other_uses;  // DECRYPT/ENCRYPT of RSA, DERIVE of EC, beside signing; or that uses which
                      // a key of the kind cannot have are none
  };

  PairTemplates(const KeySpec& spec, Bytes curve)
      : spec_(spec),
        signs_(!core::is_montgomery(spec.algorithm)),
        bits_(spec.rsa_bits),
        curve_(std::move(curve)) {
    if (spec.algorithm == core::Algorithm::kRsaPss) allowed_ = pss_mechanisms();
  }
  bool restricts() const { return !allowed_.empty(); }
  bool has_other_uses() const {
    return spec_.uses || spec_.algorithm == core::Algorithm::kRsa ||
           spec_.algorithm == core::Algorithm::kEc;
  }

  std::vector<CK_ATTRIBUTE> public_half(const Extras& extras) {
    std::vector<CK_ATTRIBUTE> list = common();
    add(list, CKA_PRIVATE, no_);
    if (spec_.uses)
      add_uses(list, &UseRow::public_half, extras.other_uses);
    else if (signs_)
      add(list, CKA_VERIFY, yes_);
    if (is_curve()) {
      list.push_back({CKA_EC_PARAMS, curve_.data(), curve_.size()});
    } else {
      add(list, CKA_MODULUS_BITS, bits_);
      exponent_ = spec_.rsa_exponent;
      list.push_back({CKA_PUBLIC_EXPONENT, exponent_.data(), exponent_.size()});
      if (extras.other_uses && has_other_uses() && !spec_.uses) add(list, CKA_ENCRYPT, yes_);
    }
    if (extras.allowed_mechanisms_told) add_allowed_mechanisms(list);
    return list;
  }

  std::vector<CK_ATTRIBUTE> private_half(const Extras& extras) {
    std::vector<CK_ATTRIBUTE> list = common();
    add(list, CKA_PRIVATE, yes_);
    add(list, CKA_SENSITIVE, yes_);
    add(list, CKA_EXTRACTABLE, no_);
    if (spec_.uses) {
      add_uses(list, &UseRow::private_half, extras.other_uses);
    } else {
      if (signs_) add(list, CKA_SIGN, yes_);
      if (!signs_ || (extras.other_uses && has_other_uses()))
        add(list, is_curve() ? CKA_DERIVE : CKA_DECRYPT, yes_);
    }
    if (extras.allowed_mechanisms) add_allowed_mechanisms(list);
    return list;
  }

 private:
  // PKCS#11 v2.40, 4.8, table 23. Of an RSA key, of one on a curve, or of both.
  struct UseRow {
    core::KeyUse use;
    bool rsa, curve;
    CK_ATTRIBUTE_TYPE private_half, public_half;
  };
  static constexpr std::array<UseRow, 4> kUses{
      {{core::kUseSign, true, true, CKA_SIGN, CKA_VERIFY},
       {core::kUseDecrypt, true, false, CKA_DECRYPT, CKA_ENCRYPT},
       {core::kUseDerive, false, true, CKA_DERIVE, CKA_DERIVE},
       {core::kUseUnwrap, true, false, CKA_UNWRAP, CKA_WRAP}}};

  // Said of each use, wanted or not, and possible or not: what is not said may be true (SoftHSM).
  void add_uses(std::vector<CK_ATTRIBUTE>& list, CK_ATTRIBUTE_TYPE UseRow::*half, bool all) {
    for (const UseRow& row : kUses) {
      const bool is_wanted = (*spec_.uses & row.use) != 0;
      if (all || (is_curve() ? row.curve : row.rsa)) add(list, row.*half, is_wanted ? yes_ : no_);
    }
  }
  void add_allowed_mechanisms(std::vector<CK_ATTRIBUTE>& list) {
    if (restricts())
      list.push_back({CKA_ALLOWED_MECHANISMS, allowed_.data(),
                      static_cast<CK_ULONG>(allowed_.size() * sizeof(CK_MECHANISM_TYPE))});
  }
  bool is_curve() const { return !curve_.empty(); }
  template <typename T>
  static void add(std::vector<CK_ATTRIBUTE>& list, CK_ATTRIBUTE_TYPE type, T& value) {
    list.push_back({type, &value, sizeof value});
  }
  std::vector<CK_ATTRIBUTE> common() {
    std::vector<CK_ATTRIBUTE> list;
    add(list, CKA_TOKEN, spec_.in_session ? no_ : yes_);
    label_ = spec_.label;
    id_ = spec_.id;
    if (!label_.empty()) list.push_back({CKA_LABEL, label_.data(), label_.size()});
    list.push_back({CKA_ID, id_.data(), id_.size()});
    return list;
  }

  const KeySpec& spec_;
  const bool signs_;
  CK_BBOOL yes_ = CK_TRUE;
  CK_BBOOL no_ = CK_FALSE;
  CK_ULONG bits_;
  Bytes curve_;
  std::string label_;
  Bytes id_, exponent_;
  std::vector<CK_MECHANISM_TYPE> allowed_;
};

// "Not this way": another template or mechanism may do.
bool is_refusal(CK_RV rv) noexcept {
  return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID ||
         rv == CKR_ATTRIBUTE_READ_ONLY || rv == CKR_TEMPLATE_INCONSISTENT ||
         rv == CKR_FUNCTION_FAILED || rv == CKR_ARGUMENTS_BAD || rv == CKR_GENERAL_ERROR ||
         rv == CKR_MECHANISM_INVALID || rv == CKR_DOMAIN_PARAMS_INVALID || rv == kCurveNotSupported;
}

struct Pair {
  CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
};

// Tries what a token may reject without harm; an answer other than CKR_OK says that nothing helped.
CK_RV make_key_pair(Lease& lease, CK_MECHANISM_TYPE type, PairTemplates& templates, Pair& pair,
                    const Place& place, const core::Log& log) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  CK_RV first = CKR_OK;
  for (const PairTemplates::Extras& extras : {PairTemplates::Extras{true, true, true},
                                              {true, false, true},
                                              {false, false, true},
                                              {true, true, false}}) {
    if (!extras.allowed_mechanisms_told && !templates.restricts()) continue;
    if (!extras.other_uses && !templates.has_other_uses()) continue;
    std::vector<CK_ATTRIBUTE> public_half = templates.public_half(extras);
    std::vector<CK_ATTRIBUTE> private_half = templates.private_half(extras);
    const CK_RV rv = lease->C_GenerateKeyPair(
        lease.session(), &mechanism, public_half.data(), public_half.size(), private_half.data(),
        private_half.size(), &pair.public_key, &pair.private_key);
    if (rv == CKR_OK && templates.restricts() && !extras.allowed_mechanisms)
      HWID_LOG(log, kWarn,
               "C_GenerateKeyPair:" + place_text(place) +
                   ": the token cannot restrict the key to RSA-PSS; only its certificate will");
    if (rv == CKR_OK) return rv;
    if (first == CKR_OK) first = rv;
    if (!is_refusal(rv)) raise(rv, "C_GenerateKeyPair", place);
    if (rv == CKR_MECHANISM_INVALID) break;  // whatever the templates say
  }
  return first;
}

Pair make_key_pair(Lease& lease, const KeySpec& spec, const Place& place, const core::Log& log) {
  CK_RV first = CKR_OK;
  for (const PairMechanism& mechanism : pair_mechanisms(spec)) {
    PairTemplates templates(spec, mechanism.curve);
    Pair pair;
    const CK_RV rv = make_key_pair(lease, mechanism.type, templates, pair, place, log);
    if (rv == CKR_OK) return pair;
    if (first == CKR_OK) first = rv;
  }
  if (first == CKR_MECHANISM_INVALID || first == kCurveNotSupported)
    raise(Reason::kUnsupported, first, "C_GenerateKeyPair", place,
          "the token makes no keys of type " + core::spec_text(spec) +
              "; choose another type, or another token");
  raise(first, "C_GenerateKeyPair", place);
}

void refuse_existing(Lease& lease, const SearchFor& search, const std::string& name,
                     const Place& place) {
  if (find_handles(lease, search, place).empty()) return;
  std::string there = "pkcs11:token=" + core::uri_escape(place.token);
  if (search.label) there += ";object=" + core::uri_escape(*search.label);
  if (search.id) there += ";id=" + core::uri_escape_id(*search.id);
  throw Error(Reason::kExists, "C_GenerateKeyPair:" + place_text(place) +
                                   ": a private key with that " + name +
                                   " is there already; choose another " + name +
                                   ", or delete it first: hwid delete " + core::shell_word(there));
}

// To look for a key and to make one is one step for all programs here that use the module: a lock
// on its own file, which each can read, and where nothing is left. Without that where it is no
// file, or another one holds it for too long.
class MakingLock {
 public:
  MakingLock(Lease& lease, const Place& place, const core::Log& log) {
    constexpr std::chrono::seconds kLongest{60};
    constexpr std::chrono::milliseconds kPause{20};
    Dl_info module{};
    if (::dladdr(reinterpret_cast<const void*>(lease->C_GenerateKeyPair), &module) == 0) return;
    fd_ = ::open(module.dli_fname, O_RDONLY | O_CLOEXEC);
    const auto end = std::chrono::steady_clock::now() + kLongest;
    while (fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      const bool busy = errno == EWOULDBLOCK || errno == EINTR;
      if (busy && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(kPause);
        continue;
      }
      if (busy)
        HWID_LOG(log, kWarn,
                 "C_GenerateKeyPair:" + place_text(place) +
                     ": another program has been making a key for a minute; not waited for");
      return;
    }
  }
  ~MakingLock() {
    if (fd_ < 0) return;
    ::flock(fd_, LOCK_UN);  // also for a child that was forked meanwhile
    ::close(fd_);
  }
  MakingLock(const MakingLock&) = delete;
  MakingLock& operator=(const MakingLock&) = delete;

 private:
  int fd_ = -1;
};

// The pair of one call: made once, and found again where what it was made on was lost meanwhile.
class NewPair {
 public:
  NewPair(const KeySpec& spec, bool chosen_id, const Place& place, const core::Log& log)
      : spec_(spec), chosen_id_(chosen_id), place_(place), log_(log) {}

  // `again`: handles of before mean nothing.
  Pair get(Lease& lease, bool again) {
    const MakingLock alone(lease, place_, log_);
    if (began_ && again) {
      const Pair found{find(lease, CKO_PUBLIC_KEY), find(lease, CKO_PRIVATE_KEY)};
      if (found.public_key != CK_INVALID_HANDLE && found.private_key != CK_INVALID_HANDLE)
        return found;
      destroy(lease);  // half a pair
    } else {
      if (!spec_.label.empty())
        refuse_existing(lease, {spec_.label, std::nullopt, CKO_PRIVATE_KEY}, "label", place_);
      if (!chosen_id_)
        refuse_existing(lease, {std::nullopt, spec_.id, CKO_PRIVATE_KEY}, "id", place_);
    }
    began_ = true;
    const Pair pair = make_key_pair(lease, spec_, place_, log_);
    made_ = true;
    return pair;
  }

  bool made() const noexcept { return made_; }

  void destroy(Lease& lease) const {
    for (const CK_OBJECT_CLASS object_class : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
      const CK_OBJECT_HANDLE object = find(lease, object_class);
      if (object != CK_INVALID_HANDLE)
        check(lease->C_DestroyObject(lease.session(), object), "C_DestroyObject", place_);
    }
  }

 private:
  CK_OBJECT_HANDLE find(Lease& lease, CK_OBJECT_CLASS object_class) const {
    SearchFor ours{std::nullopt, spec_.id, object_class};
    if (!spec_.label.empty()) ours.label = spec_.label;
    const std::vector<CK_OBJECT_HANDLE> found = find_handles(lease, ours, place_);
    return found.size() == 1 ? found.front() : CK_INVALID_HANDLE;
  }

  const KeySpec& spec_;
  const bool chosen_id_;  // by us, at random
  const Place& place_;
  const core::Log& log_;
  bool began_ = false;
  bool made_ = false;
};

core::PublicKey read_public_key(Lease& lease, CK_OBJECT_HANDLE object, const KeySpec& spec,
                                const Access& access, const Place& place) {
  const ObjectAttributes attributes = read_object(lease, object, place);
  std::optional<core::PublicKey> key;
  try {
    key = public_key_of(access.crypto, attributes, spec.algorithm == core::Algorithm::kRsaPss);
  } catch (const Error& error) {
    throw Error(error.reason, "C_GenerateKeyPair:" + place_text(place) + ": " + error.what() +
                                  "; see the module's own log");
  }
  if (!key)
    throw Error(Reason::kDeviceError, "C_GenerateKeyPair:" + place_text(place) +
                                          ": the token does not show the new public key; see "
                                          "the module's own log");
  return *key;
}

// The objects of a pair in a session go when nobody has the key any more; where their handles have
// lost their meaning meanwhile, with the session.
class SessionPair {
 public:
  // Of `generation`, in this process.
  SessionPair(std::shared_ptr<SharedToken> token, const TokenPolicy& policy, const Pair& pair,
              std::uint64_t generation, const core::Log& log)
      : token_(std::move(token)),
        policy_(policy),
        pair_(pair),
        generation_(generation),
        epoch_(core::Process::get().fork_epoch()),
        log_(log) {}
  ~SessionPair() {
    const Credentials nobody{policy_, log_, nullptr, nullptr, nullptr};
    try {
      if (epoch_ != core::Process::get().fork_epoch() || token_->handle_generation() != generation_)
        return;
      token_->with_session(SessionRequest{false, false, nobody}, [this](Lease& lease, bool) {
        if (lease.handle_generation() != generation_) return;
        for (const CK_OBJECT_HANDLE object : {pair_.private_key, pair_.public_key})
          lease->C_DestroyObject(lease.session(), object);
      });
    } catch (...) {  // then the sessions are lost, and the objects with them
    }
  }
  SessionPair(const SessionPair&) = delete;
  SessionPair& operator=(const SessionPair&) = delete;

 private:
  const std::shared_ptr<SharedToken> token_;
  const TokenPolicy policy_;
  const Pair pair_;
  const std::uint64_t generation_;
  const std::uint64_t epoch_;
  const core::Log& log_;
};

// Nobody would know of the pair.
void discard(SharedToken& token, const NewPair& pair, const SessionRequest& request,
             const Place& place) noexcept {
  try {
    token.with_session(request, [&](Lease& lease, bool) { pair.destroy(lease); });
  } catch (const Error& error) {
    HWID_LOG(request.credentials.log, kWarn,
             "C_GenerateKeyPair:" + place_text(place) +
                 ": the new key pair could not be used and may still be there: " + error.what());
  }
}

}  // namespace

std::shared_ptr<const core::Key> Token::generate(const KeySpec& asked, const Access& access) {
  if (asked.auth || asked.parent || asked.parent_auth || asked.owner_auth || asked.persistent_at)
    throw Error(Reason::kUnsupported,
                "C_GenerateKeyPair:" + place_text(token_->place()) +
                    ": auth values, parents and handles are of keys in a TPM; leave user-auth, "
                    "parent, parent-auth and owner-auth out");
  KeySpec spec = asked;
  const bool chosen_id = spec.id.empty();
  if (chosen_id) {
    spec.id.resize(16);
    if (RAND_bytes_ex(access.crypto.get(), spec.id.data(), spec.id.size(), 0) != 1)
      throw Error(Reason::kLibcrypto, "random bytes for a CKA_ID: " + core::last_libcrypto_error());
  }
  const std::string name = spec.label.empty() ? core::to_hex(spec.id) : spec.label;
  const std::string mechanism = access.audit != nullptr ? core::spec_text(spec) : std::string();
  return core::audited(access.audit,
                       {.operation = core::audit_field::kGenerate,
                        .backend = "pkcs11",
                        .token = token_->label(),
                        .object = name,
                        .mechanism = mechanism},
                       [&] { return generate_pair(spec, chosen_id, access); });
}

std::shared_ptr<const core::Key> Token::generate_pair(const KeySpec& spec, bool chosen_id,
                                                      const Access& access) {
  const Place place{token_->label(), spec.label, {}};
  const SharedToken::Hold hold(token_, KeptPin::For::kCall);
  const Credentials with = credentials(access, access.pins);
  const SessionRequest request{token_->needs_login(policy_), !spec.in_session, with};
  NewPair pair(spec, chosen_id, place, access.log);
  std::shared_ptr<const core::Key> key;
  try {
    key = token_->with_session(request, [&](Lease& lease, bool again) {
      const std::uint64_t generation = lease.handle_generation();
      const Pair handles = pair.get(lease, again);
      if (spec.in_session) lease.has_objects();
      const core::PublicKey public_key =
          read_public_key(lease, handles.public_key, spec, access, place);
      ObjectAttributes private_half;
      private_half.handle = handles.private_key;
      private_half.object_class = CKO_PRIVATE_KEY;
      private_half.label = spec.label;
      private_half.id = spec.id;
      core::KeyDescription description = describe(private_half, nullptr);
      if (spec.in_session) description.uri.clear();  // it leads nobody else there
      return make_key(private_half, public_key, std::move(description), access, generation,
                      spec.in_session ? std::make_shared<const SessionPair>(
                                            token_, policy_, handles, generation, access.log)
                                      : nullptr);
    });
  } catch (const Error&) {
    if (pair.made()) discard(*token_, pair, request, place);
    throw;
  }
  info_is_fresh_ = false;
  if (policy_.cache_pin) {
    core::PinChain pins = access.pins;
    pins.prompt = nullptr;
    token_->keep_pin(credentials(access, pins));
  }
  return key;
}

}  // namespace hwid::pkcs11
