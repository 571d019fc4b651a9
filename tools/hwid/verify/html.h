// The report as a page that can be filed.
#pragma once

#include <string>
#include <string_view>

#include "tools/hwid/verify/report.h"

namespace hwid::tool::verify {

// One self-contained document: no script, nothing that is loaded, and nothing of what a token, a
// certificate or a file says that a browser would take for more than text.
std::string html_page(const Report& report);

// `text` of anybody in HTML and SVG: printable(), and no markup.
std::string html_text(std::string_view text);

// "A device cannot ...": the verdict for people.
const char* verdict_title(const Report& report);
// "good", "claimed", "software", "bad": its look.
const char* verdict_class(Verdict verdict) noexcept;

}  // namespace hwid::tool::verify
