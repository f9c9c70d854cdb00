#!/bin/sh
# `edgectl validate` beside ajv-cli and check-jsonschema, over the same files, with hyperfine. The peers check the schema
# alone; edgectl checks everything it knows, on all processors.
#
# Usage: benches/validate.sh PATH-TO-edgectl [MANIFESTS]
#
# Needs the Debian packages hyperfine, nodejs, npm and python3-venv, and the registries of npm and PyPI for the peers.
set -eu

edgectl=$(realpath "$1")
manifests=${2:-1000}
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

npm --silent --prefix "$work/node" install ajv-cli@5.0.0 >/dev/null
python3 -m venv "$work/python"
"$work/python/bin/pip" --quiet install check-jsonschema==0.37.4
ajv=$work/node/node_modules/.bin/ajv
check_jsonschema=$work/python/bin/check-jsonschema

python3 "$here/manifests.py" "$work/manifests" "$manifests"
"$edgectl" schema print deployment >"$work/deployment.schema.json"
cd "$work/manifests"
ls -l manifest-0000.json | awk '{ print "one manifest: " $5 " bytes" }' >&2

hyperfine --shell=none --warmup 2 --runs 15 --export-markdown "$work/one.md" \
    --command-name "edgectl validate" "$edgectl validate manifest-0000.json" \
    --command-name "ajv-cli" "$ajv validate --spec=draft2020 --strict=false -s ../deployment.schema.json -d manifest-0000.json" \
    --command-name "check-jsonschema" "$check_jsonschema --schemafile ../deployment.schema.json manifest-0000.json" >&2
hyperfine --warmup 1 --runs 5 --export-markdown "$work/many.md" \
    --command-name "edgectl validate" "$edgectl validate ." \
    --command-name "ajv-cli" "$ajv validate --spec=draft2020 --strict=false -s ../deployment.schema.json -d 'manifest-*.json'" \
    --command-name "check-jsonschema" "$check_jsonschema --schemafile ../deployment.schema.json manifest-*.json" >&2

echo "One manifest:"
echo
cat "$work/one.md"
echo
echo "$manifests manifests in one call:"
echo
cat "$work/many.md"
