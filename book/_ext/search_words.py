r"""A Sphinx extension: the search finds numbers and Chinese words.

Sphinx looks for words of letters alone: it cuts 98.523 into two numbers, which it then leaves out
of every question, and takes a Chinese sentence for one word. Here

- a number is one word, however it is written: 70000, 70,000, 70_000, and in a formula 70\,000;
- Chinese is cut into pairs of neighbouring characters, 迁移学习 into 迁移, 移学 and 学习, since a
  question is then found wherever all its pairs are. The index holds single characters too.

The index is cut in Python when the book is built, a question in the page's JavaScript, which is
written below from the same patterns; a test holds that both cut every page alike.
"""

from __future__ import annotations

import re
from itertools import pairwise

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

CHINESE = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
LETTER = rf"(?:(?![{CHINESE}])WORD)"
BETWEEN_DIGITS = r"(?:[.,_]|\\,|\{,\})"
# Python and JavaScript differ in what they call a letter, and in nothing else here.
WORDS = rf"[0-9]+(?:{BETWEEN_DIGITS}[0-9]+)*(?!{LETTER})|[{CHINESE}]+|{LETTER}+"
IN_PYTHON = re.compile(WORDS.replace("WORD", r"\w"))
IN_JAVASCRIPT = WORDS.replace("WORD", r"[\p{L}\p{N}_]")
GROUPS = r"(?:[,_]|\\,|\{,\})(?=[0-9]{3}(?![0-9]))"  # of 70,000, but not of the shape 28,28

SPLITTER = rf"""
var splitQuery = (query) => {{
  const words = query.match(/{IN_JAVASCRIPT}/gu) || [];
  return words.flatMap((word) => {{
    if (/^[{CHINESE}]{{2}}/.test(word)) return [...word].slice(1).map((c, i) => word[i] + c);
    return [/^[0-9]/.test(word) ? word.replace(/{GROUPS}/g, "") : word];
  }});
}};

// Sphinx drops whole numbers from a question; what it shows of a page begins at the word found.
{{
  const parse = Search._parseQuery, show = Search.makeSearchSummary;
  Search._parseQuery = (query) => {{
    const parsed = parse(query);
    for (const word of splitQuery(query)) {{
      if (!/^[0-9]+$/.test(word)) continue;
      const written = Number(word).toLocaleString("en");
      parsed[1].add(word);
      parsed[3].add(word).add(written);
      localStorage.setItem("sphinx_highlight_terms", [...parsed[3]].join(" "));
    }}
    return parsed;
  }};
  Search.makeSearchSummary = (page, words, anchor) => {{
    const written = [...words].filter((w) => /^[0-9]+$/.test(w));
    return show(page, [...words, ...written.map((w) => Number(w).toLocaleString("en"))], anchor);
  }};
}}
"""


class SearchBook(SearchEnglish):
    """English, with numbers and Chinese."""

    js_splitter_code = SPLITTER

    def split(self, input: str) -> list[str]:
        """Cut a text into the words under which its page is found."""
        words: list[str] = []
        for word in IN_PYTHON.findall(input):
            if re.match(f"[{CHINESE}]", word):
                words += [*word, *map("".join, pairwise(word))]
            else:
                words.append(re.sub(GROUPS, "", word) if re.match("[0-9]", word) else word)
        return words


def setup(app: Sphinx) -> dict[str, bool]:
    """Search in this way wherever the language is English."""
    app.add_search_language(SearchBook)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
