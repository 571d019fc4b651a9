// The picture of what was measured: result.h.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "tools/hwid/bench/result.h"
#include "tools/hwid/verify/chain_picture.h"
#include "tools/hwid/verify/html.h"

namespace hwid::tool::bench {
namespace {

// In pixels of the picture.
constexpr double kWidth = 720;
constexpr double kHeight = 400;
constexpr double kLeft = 74;
constexpr double kRight = 20;
constexpr double kTop = 78;
constexpr double kBottom = 84;
constexpr double kPlotHeight = kHeight - kTop - kBottom;
constexpr double kPlotWidth = kWidth - kLeft - kRight;

constexpr double kRoomForRates = 80;  // of a row, below which its figures would overlap
constexpr double kRoomForTimes = 105;

constexpr char kHwidColour[] = "#2459a6";
constexpr char kRawColour[] = "#9aa4b0";

std::string number(double value) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

std::string count_text(double value) {
  std::array<char, 48> text{};
  const bool is_small = value != 0 && value < 100;
  std::snprintf(text.data(), text.size(), is_small ? "%.1f" : "%.0f", value);
  return text.data();
}

std::string millis(double micros) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f ms", micros < 1e4 ? 2 : 0, micros / 1000);
  return text.data();
}

std::string text_at(double x, double y, const char* anchor, double size, const std::string& text,
                    const char* style = "") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" font-size=\"" + number(size) +
         "\" text-anchor=\"" + anchor + "\"" + style + ">" + verify::html_text(text) + "</text>\n";
}

std::string bar(double x, double width, double height, const char* colour) {
  return "<rect x=\"" + number(x) + "\" y=\"" + number(kTop + kPlotHeight - height) +
         "\" width=\"" + number(width) + "\" height=\"" + number(height) + "\" fill=\"" + colour +
         "\"/>\n";
}

// A round number that is a third or less of the largest: what lies between two lines.
double step_of(double largest) {
  const double power = std::pow(10, std::floor(std::log10(std::max(largest, 1.0) / 3)));
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    if (factor * power * 5 >= largest) return factor * power;
  }
  return 10 * power;
}

std::string grid(double top, double step) {
  std::string svg;
  const auto lines = static_cast<int>(std::lround(top / step));
  for (int line = 0; line <= lines; ++line) {
    const double value = line * step;
    const double y = kTop + kPlotHeight * (1 - value / top);
    svg += "<line x1=\"" + number(kLeft) + "\" x2=\"" + number(kWidth - kRight) + "\" y1=\"" +
           number(y) + "\" y2=\"" + number(y) + "\" stroke=\"" +
           (line == 0 ? "#44505e" : "#e0e4e9") + "\"/>\n";
    svg += text_at(kLeft - 8, y + 4, "end", 11, count_text(value), " fill=\"#55606e\"");
  }
  return svg;
}

std::string legend() {
  const double y = 52;
  return std::string("<rect x=\"74\" y=\"44\" width=\"11\" height=\"11\" fill=\"") + kHwidColour +
         "\"/>\n" + text_at(91, y + 2, "start", 12, "hwid") +
         "<rect x=\"140\" y=\"44\" width=\"11\" height=\"11\" fill=\"" + kRawColour + "\"/>\n" +
         text_at(157, y + 2, "start", 12, "the device's own calls alone (raw)");
}

std::string group(const Row& row, double middle, double room, double scale) {
  const double width = std::min(room * 0.36, 60.0);
  const double top = kTop + kPlotHeight;
  std::string svg = bar(middle - width - 2, width, row.hwid.per_second * scale, kHwidColour);
  const bool is_wide = room >= kRoomForRates;
  if (is_wide)
    svg += text_at(middle - width / 2 - 2, top - row.hwid.per_second * scale - 5, "middle", 11,
                   count_text(row.hwid.per_second));
  if (row.raw) {
    svg += bar(middle + 2, width, row.raw->per_second * scale, kRawColour);
    if (is_wide)
      svg += text_at(middle + width / 2 + 2, top - row.raw->per_second * scale - 5, "middle", 11,
                     count_text(row.raw->per_second), " fill=\"#55606e\"");
  }
  const std::string threads = std::to_string(row.hwid.threads);
  svg += text_at(middle, top + 20, "middle", 12.5,
                 threads + (!is_wide                ? ""
                            : row.hwid.threads == 1 ? " thread"
                                                    : " threads"));
  if (room < kRoomForTimes) return svg;
  svg += text_at(middle, top + 37, "middle", 10.5, "median " + millis(row.hwid.median),
                 " fill=\"#55606e\"");
  svg += text_at(middle, top + 51, "middle", 10.5, "99 % below " + millis(row.hwid.p99),
                 " fill=\"#55606e\"");
  return svg;
}

}  // namespace

std::string plot(const Result& result) {
  double largest = 1;
  for (const Row& row : result.rows)
    largest = std::max({largest, row.hwid.per_second, row.raw ? row.raw->per_second : 0});
  const double step = step_of(largest);
  const double top = step * std::ceil(largest * 1.04 / step);
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(kWidth) +
                    " " + number(kHeight) + "\" width=\"" + number(kWidth) + "\" height=\"" +
                    number(kHeight) +
                    "\" font-family=\"Liberation Sans, Arial, Helvetica, sans-serif\" "
                    "fill=\"#1c2530\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  constexpr double kTitleRoom = kWidth - kLeft - kRight;
  const std::string title =
      "Signatures a second: " + printable(result.name) + ", " + result.type + ", " + result.scheme;
  svg += text_at(kLeft, 28, "start", 15, verify::fitted(title, kTitleRoom, 15 * 1.1),
                 " font-weight=\"bold\"");
  svg += legend() + grid(top, step);
  const double room =
      kPlotWidth / static_cast<double>(std::max<std::size_t>(result.rows.size(), 1));
  for (std::size_t i = 0; i < result.rows.size(); ++i)
    svg += group(result.rows[i], kLeft + room * (static_cast<double>(i) + 0.5), room,
                 kPlotHeight / top);
  if (room < kRoomForRates)
    svg += text_at(kWidth - kRight, kTop + kPlotHeight + 37, "end", 10.5, "threads at once",
                   " fill=\"#55606e\"");
  svg += text_at(kLeft, kHeight - 12, "start", 10.5,
                 verify::fitted(printable(result.device), kTitleRoom, 10.5), " fill=\"#55606e\"");
  return svg + "</svg>\n";
}

}  // namespace hwid::tool::bench
