// How the report looks, on a screen and on paper.
#pragma once

#include <string_view>

namespace hwid::tool::verify {

inline constexpr std::string_view kStyle = R"(
@page { size: A4; margin: 12mm 13mm; }
* { box-sizing: border-box; }
html { background: #e9ecf0; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
body { margin: 1.5rem auto; max-width: 56rem; padding: 2rem 2.4rem; background: #fff;
  color: #1c2530; font: 13px/1.4 "Liberation Sans", Arial, Helvetica, sans-serif;
  box-shadow: 0 1px 6px #0003; }
code, pre, .code { font-family: "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace;
  font-size: .85em; overflow-wrap: anywhere; }
header { display: grid; grid-template-columns: 1fr auto; align-items: baseline; column-gap: 2rem;
  border-bottom: 2px solid #1c2530; padding-bottom: .5rem; }
header p { margin: 0; color: #55606e; }
header p:first-child { grid-column: 1 / 3; text-transform: uppercase; letter-spacing: .09em;
  font-size: .8em; }
h1 { margin: .1rem 0 0; font-size: 1.65em; overflow-wrap: anywhere; }
h2 { margin: 0 0 .3rem; font-size: 1.05em; }
.verdict { margin: 1rem 0; padding: .8rem 1rem; border: 1px solid; border-left-width: 8px;
  border-radius: 4px; }
.verdict h2 { font-size: 1.25em; color: inherit; }
.verdict p { margin: .2rem 0; color: #1c2530; }
.verdict div { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; }
.verdict .word { padding: .15rem .6rem; border-radius: 3px; color: #fff; font-weight: bold;
  white-space: nowrap; }
.attested { border-color: #1a7f4b; background: #eef8f2; color: #14643b; }
.attested .word { background: #1a7f4b; }
.claimed { border-color: #2459a6; background: #eff4fb; color: #1d4a8c; }
.claimed .word { background: #2459a6; }
.software { border-color: #c77700; background: #fff7ea; color: #8a5300; }
.software .word { background: #a86400; }
.leaves { border-color: #b3202a; background: #fdf0f0; color: #98141e; }
.leaves .word { background: #b3202a; }
figure { margin: 1rem 0; }
.chain { display: block; width: 100%; height: auto; }
.chain text { font-family: "Liberation Sans", Arial, Helvetica, sans-serif; fill: #1c2530; }
.chain .there { fill: #f6f8fa; stroke: #44505e; stroke-width: 1.3; }
.chain .missing { fill: #fff; stroke: #9aa4b0; stroke-width: 1.3; stroke-dasharray: 5 4; }
.chain .kind { font-size: 10px; letter-spacing: .06em; fill: #55606e; }
.chain .title { font-size: 12.5px; font-weight: bold; }
.chain .none { font-size: 12.5px; fill: #55606e; }
.chain .line { font-size: 10px; fill: #3a4552; }
.chain .caption { font-size: 9.5px; text-anchor: middle; fill: #3a4552; }
.chain .holds { stroke: #1a7f4b; stroke-width: 2.2; }
.chain .open { stroke: #9aa4b0; stroke-width: 2; stroke-dasharray: 5 4; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr));
  gap: .4rem 2rem; }
dl { margin: 0; }
dl div { display: grid; grid-template-columns: 7.2em 1fr; column-gap: .8em; padding: .1rem 0; }
dt { color: #55606e; }
dd { margin: 0; overflow-wrap: anywhere; }
.checks, .signature { margin-top: 1rem; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
th { text-align: left; font-weight: normal; color: #55606e; border-bottom: 1px solid #9aa4b0;
  padding: .1rem .3rem; }
.checks ~ .checks thead { display: none; }
.checks ~ .checks table { border-top: 1px solid #9aa4b0; }
col:nth-child(1) { width: 1.9rem; } col:nth-child(2) { width: 35%; } col:nth-child(3) { width: 23%; }
td { padding: .16rem .3rem; border-bottom: 1px solid #e3e7ec; vertical-align: top;
  overflow-wrap: anywhere; }
tr { break-inside: avoid; }
tr.bad td { background: #fdf0f0; } tr.warning td { background: #fff7ea; }
.mark { width: 14px; height: 14px; display: block; margin-top: 1px; }
pre { margin: .3rem 0; padding: .4rem .6rem; background: #f6f8fa; white-space: pre-wrap; }
.signature p { margin: 0; }
footer { margin-top: 1.2rem; padding-top: .4rem; border-top: 1px solid #9aa4b0; color: #55606e;
  font-size: .9em; }
footer p { margin: 0; }
@media print {
  html { background: #fff; }
  body { margin: 0; padding: 0; max-width: none; box-shadow: none; font-size: 8.6pt;
    line-height: 1.28; }
  .verdict { margin: .5rem 0; padding: .45rem .7rem; }
  figure { margin: .5rem 0; }
  .checks, .signature { margin-top: .5rem; }
  td { padding-top: .06rem; padding-bottom: .06rem; }
  h2 { break-after: avoid; }
  figure, .verdict, .signature { break-inside: avoid; }
}
)";

}  // namespace hwid::tool::verify
