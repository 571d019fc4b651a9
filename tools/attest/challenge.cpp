#include "tools/attest/challenge.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "provider/core/error.h"
#include "tools/attest/checks.h"

namespace hwid::attest {

using core::Bytes;
using core::ByteView;
using core::Error;
using core::Libcrypto;
using core::Reason;
using core::Secret;

namespace {

constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kIdBytes = 16;

Bytes hex_in(const Document& document, const char* member) {
  std::optional<Bytes> bytes = tpm2::parse_hex(document.text(member));
  if (!bytes) document.fail(member, "hexadecimal digits are wanted");
  return *std::move(bytes);
}

// Of a file of tpm2_makecredential.
void require_form(const tpm2::Credential& credential, const std::string& file) {
  const std::string of_blob = tpm2::fault_of_blob(credential.blob);
  const std::string of_seed =
      tpm2::fault_of_seed({credential.secret.secret, credential.secret.size});
  if (of_blob.empty() && of_seed.empty()) return;
  throw Error(Reason::kBadParameter,
              "file=" + file + ": it is no challenge of tpm2_makecredential: " +
                  (of_blob.empty() ? "secret: " + of_seed : "credential: " + of_blob) +
                  "; have it made anew");
}

// All that the secret stands for. A change of one of them in the verifier's file is found.
Bytes proof_of(const Libcrypto& crypto, const Pending& pending, ByteView secret) {
  const Bytes name = tpm2::object_name(crypto, pending.ak.publicArea);
  const Bytes ek = sha256(crypto, {pending.ek_certificate});
  Bytes hashed = sha256(crypto, {secret});
  const Secret key(hashed);  // who has it makes proofs
  OPENSSL_cleanse(hashed.data(), hashed.size());
  const std::string rest = pending.id + "|" + std::to_string(pending.expires);
  Bytes data = core::Bytes(core::as_bytes(rest).begin(), core::as_bytes(rest).end());
  data.insert(data.end(), name.begin(), name.end());
  data.insert(data.end(), ek.begin(), ek.end());
  const Secret mac = core::hmac_sha256(crypto, key.reveal(), data);
  return {mac.reveal().begin(), mac.reveal().end()};
}

std::string fault_of_ek_certificate(const Libcrypto& crypto, const Request& request,
                                    const Anchors& anchors) {
  const core::Certificate certificate = core::parse_certificate(crypto, request.ek_certificate);
  if (!certificate) return "the EK certificate is damaged";
  const std::string fault =
      fault_of(crypto, certificate.get(), anchors, kEkPurpose, "an endorsement key");
  if (!fault.empty()) return "the EK certificate: " + fault;
  EVP_PKEY* const certified = X509_get0_pubkey(certificate.get());
  if (certified == nullptr)
    return "the EK certificate's public key is of a kind that OpenSSL does not read";
  const core::PublicKey key = tpm2::public_key(crypto, request.ek.publicArea);
  const std::string difference = key_difference(certified, key.pkey());
  return difference.empty()
             ? ""
             : "the EK certificate is another key's than the EK that the request has: " +
                   difference;
}

}  // namespace

std::string to_text(const Request& request) {
  Json json = begin_document(kRequestFormat);
  json["ek"] = {{"public", public_text(request.ek)},
                {"certificate", certificate_text(request.ek_certificate)}};
  json["ak"] = {{"public", public_text(request.ak)}};
  return json.dump(2) + "\n";
}

Request parse_request(const std::string& text, const std::string& file) {
  const Document document(text, file, kRequestFormat);
  return {document.public_area("/ek/public"), document.certificate("/ek/certificate"),
          document.public_area("/ak/public")};
}

std::string to_text(const Challenge& challenge) {
  Json json = begin_document(kChallengeFormat);
  json["id"] = challenge.id;
  json["ak_name"] = core::to_hex(challenge.ak_name);
  json["ek_name"] = core::to_hex(challenge.ek_name);
  json["credential"] = base64(challenge.credential.blob);
  json["secret"] =
      base64(ByteView(challenge.credential.secret.secret, challenge.credential.secret.size));
  return json.dump(2) + "\n";
}

Challenge parse_challenge(const std::string& content, const std::string& file) {
  Challenge challenge;
  if (const auto tools = tpm2::parse_tools_credential(core::as_bytes(content))) {
    challenge.credential = *tools;
    require_form(*tools, file);
    return challenge;
  }
  const Document document(content, file, kChallengeFormat);
  challenge.id = document.text("/id");
  challenge.ak_name = hex_in(document, "/ak_name");
  challenge.ek_name = hex_in(document, "/ek_name");
  challenge.credential.blob = document.bytes("/credential");
  std::string fault = tpm2::fault_of_blob(challenge.credential.blob);
  if (!fault.empty()) document.fail("/credential", fault);
  const Bytes secret = document.bytes("/secret");
  fault = tpm2::fault_of_seed(secret);
  if (!fault.empty()) document.fail("/secret", fault);
  TPM2B_ENCRYPTED_SECRET& seed = challenge.credential.secret;
  seed.size = static_cast<UINT16>(secret.size());
  std::ranges::copy(secret, seed.secret);
  return challenge;
}

std::string to_text(const Pending& pending) {
  Json json = begin_document(kPendingFormat);
  json["id"] = pending.id;
  json["expires"] = static_cast<std::int64_t>(pending.expires);
  json["ak"] = {{"public", public_text(pending.ak)}};
  json["ek"] = {{"certificate", certificate_text(pending.ek_certificate)}};
  json["proof"] = base64(pending.proof);
  return json.dump(2) + "\n";
}

Pending parse_pending(const std::string& text, const std::string& file) {
  const Document document(text, file, kPendingFormat);
  return {document.text("/id"), document.public_area("/ak/public"),
          document.certificate("/ek/certificate"),
          static_cast<std::time_t>(document.number("/expires")), document.bytes("/proof")};
}

std::string to_text(const Answer& answer) {
  Json json = begin_document(kAnswerFormat);
  json["id"] = answer.id;
  json["ak_name"] = core::to_hex(answer.ak_name);
  json["secret"] = "";
  // The library's own copies of the secret would stay in memory: it goes into the text alone, which
  // does not grow any more. (No other text can hold this: in it the quotation marks are escaped.)
  constexpr std::string_view kEmpty = R"("secret": "")";
  std::string secret = base64(answer.secret.reveal());
  const core::Cleansed guard(secret);
  const std::string rest = json.dump(2) + "\n";
  const std::size_t at = rest.rfind(kEmpty) + kEmpty.size() - 1;
  std::string text;
  text.reserve(rest.size() + secret.size());
  text.append(rest, 0, at).append(secret).append(rest, at);
  return text;
}

Answer parse_answer(const std::string& text, const std::string& file) {
  if (text.size() == kSecretBytes) return {{}, {}, Secret(core::as_bytes(text))};
  Document document(text, file, kAnswerFormat);
  Secret secret = document.secret("/secret");  // first: it is wiped there, whatever else is wrong
  return {document.text("/id"), hex_in(document, "/ak_name"), std::move(secret)};
}

std::string fault_of(const Libcrypto& crypto, const Request& request, const Anchors& ek_anchors) {
  try {
    std::string fault = fault_of_ek_certificate(crypto, request, ek_anchors);
    if (!fault.empty()) return fault;
    fault = fault_of_ek(request.ek.publicArea);
    if (!fault.empty()) return "the EK is none: " + fault;
    fault = fault_of_ak(request.ak.publicArea);
    if (!fault.empty()) return "the AK is none: " + fault;
    tpm2::object_name(crypto, request.ak.publicArea);
    fault = weakness_of(tpm2::public_key(crypto, request.ak.publicArea).pkey());
    return fault.empty() ? "" : "the AK is too weak: " + fault;
  } catch (const Error& error) {
    return error.what();
  }
}

Made make_challenge(const Libcrypto& crypto, const Request& request, std::time_t expires) {
  Secret secret(kSecretBytes);
  std::array<std::uint8_t, kIdBytes> id{};
  if (RAND_priv_bytes_ex(crypto.get(), secret.writable().data(), secret.size(), 0) != 1 ||
      RAND_bytes_ex(crypto.get(), id.data(), id.size(), 0) != 1)
    throw Error(Reason::kLibcrypto, "RAND_bytes: " + core::last_libcrypto_error() +
                                        ": there is no secret; check OpenSSL's configuration");
  Made made;
  made.challenge.id = core::to_hex(id);
  made.challenge.ak_name = tpm2::object_name(crypto, request.ak.publicArea);
  made.challenge.ek_name = tpm2::object_name(crypto, request.ek.publicArea);
  made.challenge.credential =
      tpm2::make_credential(crypto, request.ek.publicArea, made.challenge.ak_name, secret);
  made.pending = {made.challenge.id, request.ak, request.ek_certificate, expires, {}};
  made.pending.proof = proof_of(crypto, made.pending, secret.reveal());
  return made;
}

std::string fault_of(const Libcrypto& crypto, const Pending& pending, const Answer& answer,
                     std::time_t now) {
  if (now >= pending.expires) return "the challenge has expired";
  if (!answer.id.empty() && answer.id != pending.id) return "the answer is to another challenge";
  const Bytes name = tpm2::object_name(crypto, pending.ak.publicArea);
  if (!answer.ak_name.empty() && answer.ak_name != name)
    return "the AK was swapped after the challenge: it was made for " + core::to_hex(name) +
           ", and the answer is of " + core::to_hex(answer.ak_name);
  const Bytes proof = proof_of(crypto, pending, answer.secret.reveal());
  const bool is_right = proof.size() == pending.proof.size() &&
                        CRYPTO_memcmp(proof.data(), pending.proof.data(), proof.size()) == 0;
  return is_right ? ""
                  : "the secret is wrong: the answer is not by the TPM of that EK with that AK in "
                    "it, or the verifier's file was changed";
}

}  // namespace hwid::attest
