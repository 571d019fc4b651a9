// Whether it is time to renew, and what there is to say of credentials as they are. Changes
// nothing.
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "tools/hwid/renewal/renewal.h"
#include "transport/openssl_handles.h"

namespace hwid::tool::renewal {

using Generation = transport::CredentialStore::Generation;

constexpr const char* kWhat = "renew";  // in messages

// The first one of the generation's file; null where it has none, or where it cannot be read.
transport::X509Ptr readable_certificate_of(const Generation& generation);
// The same; null where it has no file. Throws transport::Error, core::Error where that says
// nothing.
transport::X509Ptr certificate_of(const Generation& generation);

transport::RenewAt policy_of(const transport::DeviceConfig& config);
std::time_t due_time(const X509* certificate, const transport::RenewAt& policy);

// Empty where hwid-renew.timer looks some times between the moment that a certificate is due and
// its end; else what is to be done.
std::string advice_on_haste(std::time_t due, std::time_t ends);

// Generation, certificate and times of the current pair. Throws as certificate_of.
void describe(const std::optional<Generation>& current, const transport::RenewAt& policy,
              Report& report);

// Whether a try is to be made now; else the report, which describe() has filled, says when.
bool is_time(const Orders& orders, const transport::CredentialStore::View& view, const State& state,
             Report& report);

// Without a current pair: what a first enrolment by EST left can be gone on with. Throws
// transport::Error of kind usage, which says to enrol, or to provision, first.
void require_begun(const std::optional<Generation>& candidate,
                   const transport::DeviceConfig& config, const Place& place);

// What Renewal::renew() would do. Nothing is written, and nobody is kept from writing.
// Throws as that.
Report forecast(const transport::DeviceConfig& config, const Place& place, const Orders& orders);

}  // namespace hwid::tool::renewal
