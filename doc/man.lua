-- pandoc's man pages as this project wants them: literal text in quotation marks, commands that can be
-- copied, links as their text alone, and nothing hyphenated.

local function roff(text)
  local names = {["\\"] = "rs", ["'"] = "aq", ["`"] = "ga", ["^"] = "ha", ["~"] = "ti"}
  text = text:gsub("[\\'`^~]", function(character) return "\\[" .. names[character] .. "]" end)
  return (text:gsub("-", "\\-"))
end

function Code(code)
  return pandoc.RawInline("man", "\\[oq]" .. roff(code.text) .. "\\[cq]")
end

-- Options: a hyphen would not be what has to be typed.
function Strong(strong)
  return strong:walk({Str = function(str)
    if str.text:find("-", 1, true) then return pandoc.RawInline("man", roff(str.text)) end
  end})
end

function CodeBlock(block)
  local text = ("\n" .. roff(block.text)):gsub("\n%.", "\n\\&."):sub(2)
  return pandoc.RawBlock("man", '.IP "" 4\n.EX\n' .. text .. "\n.EE")
end

function Link(link)
  return link.content
end

-- A heading makes the room before its first paragraph; another one there is bad form to mandoc.
function Pandoc(document)
  local blocks = document.blocks
  for i = 2, #blocks do
    if blocks[i - 1].t == "Header" and blocks[i].t == "Para" then
      blocks[i] = pandoc.Plain(blocks[i].content)
    end
  end
  table.insert(blocks, 1, pandoc.RawBlock("man", ".nh\n.ad l"))
  return pandoc.Pandoc(blocks, document.meta)
end
