// hwid ca crl: the list of what is revoked.
#include "provider/core/error.h"
#include "tools/hwid/ca/authority.h"
#include "tools/hwid/commands.h"
#include "tools/hwid/crypto_error.h"
#include "tools/hwid/delivery.h"
#include "tools/hwid/files.h"
#include "tools/hwid/x509/encoding.h"
#include "tools/hwid/x509/extensions.h"
#include "tools/hwid/x509/name.h"

namespace hwid::tool {
namespace {

using ca::Authority;
using core::Error;
using core::Reason;

constexpr long kDefaultDays = 30;

void add_options(po::options_description& options) {
  ca::add_directory_option(options);
  options.add_options()("days", po::value<long>()->value_name("N"),
                        "when the next list comes at the latest (default: 30)");
  add_delivery_options(options);
}

core::BigNum next_number(const std::string& file) {
  std::string text = read_file(file, 256);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  BIGNUM* number = nullptr;
  const int size = text.empty() ? 0 : BN_hex2bn(&number, text.c_str());
  core::BigNum owned(number);
  // RFC 5280, section 5.2.3: at most 20 octets.
  if (size <= 0 || static_cast<std::size_t>(size) != text.size() || BN_is_negative(number) == 1 ||
      BN_num_bits(number) > 159)
    throw Error(Reason::kBadParameter,
                "file=" + file + ": \"" + text +
                    "\" is no hexadecimal number; write one that is higher than the number of the "
                    "last CRL (openssl crl -crlnumber -in crl.pem)");
  return owned;
}

std::string hex(const BIGNUM* number) {
  char* const text = BN_bn2hex(number);
  if (text == nullptr) throw std::bad_alloc();
  std::string copy = text;
  OPENSSL_free(text);
  return copy;
}

void add_revoked(X509_CRL* crl, const ca::Entry& entry) {
  const core::BigNum number = [&] {
    BIGNUM* parsed = nullptr;
    BN_hex2bn(&parsed, entry.serial.c_str());
    return x509::made(core::BigNum(parsed));
  }();
  const x509::Integer serial = x509::made(x509::Integer(BN_to_ASN1_INTEGER(number.get(), nullptr)));
  const x509::Time at = ca::time_of(entry.revoked_at);
  x509::Revoked revoked = x509::made(x509::Revoked(X509_REVOKED_new()));
  bool good = X509_REVOKED_set_serialNumber(revoked.get(), serial.get()) == 1 &&
              X509_REVOKED_set_revocationDate(revoked.get(), at.get()) == 1;
  const ca::RevocationReason* const reason = ca::find_reason(entry.reason);
  if (good && reason != nullptr && reason->code != 0) {  // section 5.3.1: 0 is to be left out
    const x509::Enumerated code = x509::made(x509::Enumerated(ASN1_ENUMERATED_new()));
    good = ASN1_ENUMERATED_set(code.get(), reason->code) == 1 &&
           X509_REVOKED_add1_ext_i2d(revoked.get(), NID_crl_reason, code.get(), 0, 0) == 1;
  }
  if (!good || X509_CRL_add0_revoked(crl, revoked.get()) != 1)
    throw_crypto_error("X509_CRL_add0_revoked", "see that index.txt is as `hwid ca` wrote it");
  (void)revoked.release();  // the CRL has it
}

x509::Crl make_crl(Authority& ca, const BIGNUM* number, long days, OSSL_LIB_CTX* crypto) {
  x509::Crl crl = x509::made(x509::Crl(X509_CRL_new_ex(crypto, nullptr)));
  const x509::Time now = x509::time_from_now(0, x509::kClockTolerance);
  const x509::Time next = x509::time_from_now(days, 0);
  if (X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2) != 1 ||
      X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(ca.certificate())) != 1 ||
      X509_CRL_set1_lastUpdate(crl.get(), now.get()) != 1 ||
      X509_CRL_set1_nextUpdate(crl.get(), next.get()) != 1)
    throw std::bad_alloc();
  for (const ca::Entry& entry : ca.index().entries()) {
    if (entry.revoked) add_revoked(crl.get(), entry);
  }
  X509_CRL_sort(crl.get());
  x509::Extensions extensions;
  extensions.add_authority_key_id(x509::key_id(ca.certificate(), crypto).get());
  extensions.add_crl_number(x509::made(x509::Integer(BN_to_ASN1_INTEGER(number, nullptr))).get());
  extensions.copy_into(crl.get());
  x509::sign(crl.get(), ca.key(), ca.form(), crypto);
  if (X509_CRL_verify(crl.get(), X509_get0_pubkey(ca.certificate())) != 1)
    throw_crypto_error("X509_CRL_verify", "see that ca.key is the key of ca.pem");
  return crl;
}

Exit run(Invocation& invocation) {
  const long days = x509::parse_days(invocation.value<long>("days").value_or(kDefaultDays));
  check_delivery(invocation, ca::own_files(ca::directory_of(invocation)));
  Authority ca(invocation);
  const core::BigNum number = next_number(ca.path("crlnumber"));
  const core::BigNum after = x509::made(core::BigNum(BN_dup(number.get())));
  if (BN_add_word(after.get(), 1) != 1) throw std::bad_alloc();
  const x509::Crl crl = make_crl(ca, number.get(), days, invocation.crypto());
  // Before the list is seen: no number is given twice.
  write_file(ca.path("crlnumber"), hex(after.get()) + "\n", 0600, Existing::kReplace);
  Product product;
  product.key = "pem";
  product.title = "Certificate revocation list";
  product.content = x509::pem(crl.get());
  write_file(ca.path("crl.pem"), product.content, 0644, Existing::kReplace);
  STACK_OF(X509_REVOKED)* const revoked = X509_CRL_get_REVOKED(crl.get());
  product.facts = {{"issuer", x509::name_text(X509_CRL_get_issuer(crl.get()))},
                   {"number", hex(number.get())},
                   {"revoked", revoked != nullptr ? sk_X509_REVOKED_num(revoked) : 0},
                   {"last_update", x509::time_text(X509_CRL_get0_lastUpdate(crl.get()))},
                   {"next_update", x509::time_text(X509_CRL_get0_nextUpdate(crl.get()))}};
  deliver(invocation, product);
  return kGood;
}

}  // namespace

const Command kCaCrl = {"ca crl",
                        "[--days N] [--out FILE]",
                        "make the list of revoked certificates",
                        "Makes a CRL (version 2) of all certificates that were revoked, with a "
                        "number that only goes up,\n"
                        "keeps it as crl.pem in the CA's directory, and prints it as PEM.",
                        "  hwid ca crl --days 7 --out /etc/mosquitto/crl.pem --force\n"
                        "  hwid ca crl > /dev/null    # in the CA's directory only\n",
                        0,
                        0,
                        add_options,
                        run};

}  // namespace hwid::tool
