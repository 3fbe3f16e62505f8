#!/usr/bin/env bash
# Builds the book from README.md, docs/ and the pages outside of docs/ that these link to. Fails on a warning of mdBook.
#
# The source of the book is a copy with the layout of the repository, so that a link such as
# `../../images/jmeter/README.md` leads to a chapter of the book as well as to a page of the repository. The first chapter
# is README.md, because mdBook also writes it to `index.html` without changing its links.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SOURCE=$TARGET/book-source/src
BOOK=$TARGET/book

# links_of PAGE: the files of its relative links, as paths from the root.
links_of() {
  local target
  { grep -o '](\([^)#]*\)' "$1" || true; } | sed 's/^](//' | while read -r target; do
    case "$target" in
      *://* | mailto:* | "") ;;
      *) realpath -m --relative-to=. "$(dirname "$1")/$target" ;;
    esac
  done
}

# add FILE: copies a file and, if it is a page, the files that it links to.
add() {
  local file=$1 link
  if [ ! -f "$file" ] || [ -e "$SOURCE/$file" ]; then return 0; fi
  cp --parents "$file" "$SOURCE/"
  case "$file" in *.md) ;; *) return 0 ;; esac
  for link in $(links_of "$file"); do add "$link"; done
}

title_of() { sed -n '/^# /{s///p;q}' "$1"; }

cd "$ROOT"
rm -rf "${SOURCE%/src}" "$BOOK"
mkdir -p "$SOURCE"
for file in README.md $(find docs -name '*.md' ! -name SUMMARY.md); do add "$file"; done
cp docs/book.toml "${SOURCE%/src}/"
{
  printf '# Summary\n\n[Overview](README.md)\n'
  sed -e '1d' -e 's/](/](docs\//' docs/SUMMARY.md
  printf '\n# The repository\n\n'
  cd "$SOURCE"
  for page in $(find . -name '*.md' ! -path './docs/*' ! -path ./README.md ! -path ./SUMMARY.md | sed 's/^\.\///' | LC_ALL=C sort); do
    printf -- '- [%s](%s)\n' "$(title_of "$page")" "$page"
  done
} >"$TARGET/book-summary.md"
mv "$TARGET/book-summary.md" "$SOURCE/SUMMARY.md"

log=$TARGET/book.log
if ! MDBOOK_BOOK__SRC=src "$TARGET/tools/mdbook" build "${SOURCE%/src}" --dest-dir "$BOOK" >"$log" 2>&1 || grep -q -E 'WARN|ERROR' "$log"; then
  cat "$log" >&2
  die "mdBook failed or printed a warning"
fi
say "book: $BOOK/index.html"
