// Certificate, key, token and evidence, and what holds between them, as a picture.
#pragma once

#include <string>
#include <string_view>

#include "tools/hwid/verify/report.h"

namespace hwid::tool::verify {

// An <svg> element. Its symbols "mark-good" and so on are those that the page's tables use.
std::string chain_picture(const Report& report);

// `text` cut so that it is at most `width` pixels wide in a sans-serif font of `size` pixels, with
// U+2026 for what is left out. Not escaped.
std::string fitted(std::string_view text, double width, double size);

}  // namespace hwid::tool::verify
