#include "tools/attest/evidence.h"

#include "provider/core/error.h"

namespace hwid::attest {

using core::Bytes;
using core::Error;
using core::Reason;

namespace {

Json statement_json(const Statement& statement) {
  return {{"attest", base64(statement.attest)}, {"signature", base64(statement.signature)}};
}

std::optional<Statement> statement_in(const Document& file, const std::string& member) {
  if (!file.has(member.c_str())) return std::nullopt;
  return Statement{file.bytes((member + "/attest").c_str()),
                   file.bytes((member + "/signature").c_str())};
}

std::vector<tpm2::PcrValue> values_in(const Document& file, const char* member) {
  const std::optional<tpm2::WrittenPcrs> written = tpm2::parse_pcrs(file.text(member));
  if (!written || written->values.empty())
    file.fail(member, "PCRs with their values are wanted, as \"sha256:7=HEX\"");
  return written->values;
}

}  // namespace

std::string to_text(const Evidence& evidence) {
  Json json = begin_document(kEvidenceFormat);
  json["ak"] = Json::object();
  if (evidence.ak) json["ak"]["public"] = public_text(*evidence.ak);
  if (!evidence.ak_certificate.empty())
    json["ak"]["certificate"] = certificate_text(evidence.ak_certificate);
  if (!evidence.ek_certificate.empty())
    json["ek"] = {{"certificate", certificate_text(evidence.ek_certificate)}};
  if (evidence.key) {
    json["key"] = {{"public", public_text(*evidence.key)}};
    if (evidence.certify) json["key"]["certify"] = statement_json(*evidence.certify);
    if (evidence.creation) {
      json["key"]["creation"] = statement_json(*evidence.creation);
      json["key"]["creation"]["data"] = base64(evidence.creation_data);
    }
  }
  if (evidence.quote) {
    json["quote"] = statement_json(*evidence.quote);
    json["quote"]["pcrs"] = tpm2::values_text(evidence.pcrs);
  }
  return json.dump(2) + "\n";
}

Evidence parse_evidence(const std::string& text, const std::string& file) {
  const Document document(text, file, kEvidenceFormat);
  Evidence evidence;
  if (document.has("/ak/public")) evidence.ak = document.public_area("/ak/public");
  if (document.has("/ak/certificate"))
    evidence.ak_certificate = document.certificate("/ak/certificate");
  if (document.has("/ek/certificate"))
    evidence.ek_certificate = document.certificate("/ek/certificate");
  if (document.has("/key")) {
    evidence.key = document.public_area("/key/public");
    evidence.certify = statement_in(document, "/key/certify");
    evidence.creation = statement_in(document, "/key/creation");
    if (evidence.creation) evidence.creation_data = document.bytes("/key/creation/data");
  }
  evidence.quote = statement_in(document, "/quote");
  if (evidence.quote) evidence.pcrs = values_in(document, "/quote/pcrs");
  return evidence;
}

std::string to_text(const Creation& creation) {
  Json json = begin_document(kCreationFormat);
  json["data"] = base64(creation.data);
  json["hash"] = base64(creation.hash);
  json["ticket"] = base64(marshal_ticket(creation.ticket));
  return json.dump(2) + "\n";
}

Creation parse_creation(const std::string& text, const std::string& file) {
  const Document document(text, file, kCreationFormat);
  const std::optional<TPMT_TK_CREATION> ticket = unmarshal_ticket(document.bytes("/ticket"));
  if (!ticket) document.fail("/ticket", "a TPMT_TK_CREATION is wanted");
  return {document.bytes("/data"), document.bytes("/hash"), *ticket};
}

std::string trusted_text(const core::Libcrypto& crypto, const TPM2B_PUBLIC& ak,
                         core::ByteView ek_certificate) {
  Json json = begin_document(kTrustedFormat);
  json["public"] = public_text(ak);
  json["name"] = core::to_hex(tpm2::object_name(crypto, ak.publicArea));
  json["ek_certificate"] = certificate_text(ek_certificate);
  return json.dump(2) + "\n";
}

TPM2B_PUBLIC parse_trusted(const std::string& content, const std::string& file) {
  const auto area = unmarshal_any_public(core::as_bytes(content));
  if (area) return *area;
  if (content.starts_with("-----BEGIN "))
    throw Error(Reason::kBadParameter,
                "file=" + file +
                    ": a PEM file does not say what the AK may sign; give what `hwid attest accept "
                    "--out` wrote, or the AK's TPM2B_PUBLIC (tpm2_readpublic -o); an AK's "
                    "certificate is believed with --ak-ca");
  return Document(content, file, kTrustedFormat).public_area("/public");
}

Bytes trusted_ek_certificate(const std::string& content, const std::string& file) {
  if (unmarshal_any_public(core::as_bytes(content))) return {};
  const Document document(content, file, kTrustedFormat);
  return document.has("/ek_certificate") ? document.certificate("/ek_certificate") : Bytes();
}

}  // namespace hwid::attest
