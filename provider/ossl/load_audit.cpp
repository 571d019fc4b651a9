#include "provider/ossl/load_audit.h"

namespace hwid::ossl {

void LoadAudit::taken(const core::Object& object) const {
  if (provider_.audit() == nullptr || !object.key) return;
  const std::string name = core::name_of(object.description);
  provider_.audit()->record({.operation = core::audit_field::kLoad,
                             .backend = object.description.backend,
                             .token = object.description.token,
                             .object = name,
                             .result = core::audit_field::kOk,
                             .duration = duration_});
}

// As far as the URI says.
core::AuditEvent LoadAudit::sought(const core::KeyUri* uri) {
  using Scheme = core::KeyUri::Scheme;
  core::AuditEvent event{.operation = core::audit_field::kLoad};
  if (uri == nullptr || uri->scheme() == Scheme::kTpm2) event.backend = "tpm2";
  if (uri == nullptr) return event;
  if (uri->token()) event.token = *uri->token();
  event.object = uri->object() ? *uri->object() : uri->text();
  return event;
}

}  // namespace hwid::ossl
