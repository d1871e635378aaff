#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# node and npm.
. "$(dirname "$0")/lib.sh"
command -v node >/dev/null || { skip node "not installed"; finish; }
limit=120
mkdir -p "$work/src/lib" "$work/src/local"
echo 'module.exports = x => x + 1' >"$work/src/lib/inc.js"
echo '{"name":"local-pkg","version":"1.2.3","main":"i.js","bin":{"hello":"hello.js"}}' >"$work/src/local/package.json"
echo 'module.exports = "local"' >"$work/src/local/i.js"
printf '#!/usr/bin/env node\nconsole.log("hello from bin")\n' >"$work/src/local/hello.js"
chmod +x "$work/src/local/hello.js"

same "node -e" 'node -e "console.log(6*7)"; node -p "require(\"./lib/inc\")(41)"; node -e "process.exit(3)"'
same "files" "node - <<'E'
const fs = require('fs'), os = require('os'), path = require('path');
fs.mkdirSync('a/b/c', {recursive: true}); fs.writeFileSync('a/b/c/f', 'x'.repeat(1000)); console.log(fs.readdirSync('a', {recursive: true}));
fs.cpSync('a', 'a2', {recursive: true}); fs.renameSync('a2', 'a3'); fs.rmSync('a', {recursive: true}); console.log(fs.existsSync('a'), fs.statSync('a3/b/c/f').size);
fs.appendFileSync('lib/inc.js', '// more'); console.log(fs.readFileSync('lib/inc.js', 'utf8')); fs.symlinkSync('lib', 'l'); console.log(fs.realpathSync('l/inc.js').split('/t/')[1]);
const d = fs.mkdtempSync(path.join(os.tmpdir(), 'x-')); fs.writeFileSync(d + '/q', 'q'); console.log(fs.readdirSync(d)); fs.rmSync(d, {recursive: true});
try { fs.readFileSync('nothere') } catch (e) { console.log(e.code) } try { fs.rmdirSync('a3') } catch (e) { console.log(e.code) }
fs.promises.readFile('lib/inc.js').then(b => console.log(b.length));
E"
same "processes, threads, streams" "node - <<'E'
const cp = require('child_process'), {Worker} = require('worker_threads'), fs = require('fs');
console.log(cp.execSync('echo hi').toString(), cp.spawnSync('sh', ['-c', 'exit 7']).status, cp.spawnSync('/nothere').error.code);
new Worker('require(\"worker_threads\").parentPort.postMessage(require(\"fs\").existsSync(\"lib\"))', {eval: true}).on('message', m => {
  console.log('worker', m);
  const c = cp.spawn('cat'); c.stdout.on('data', b => console.log('' + b)); c.on('close', s => {
    console.log('closed', s);
    fs.createReadStream('/usr/bin/env').pipe(fs.createWriteStream('copy')).on('finish', () => console.log(fs.statSync('copy').size == fs.statSync('/usr/bin/env').size));
  }); c.stdin.end('through cat');
});
E"
command -v npm >/dev/null || { skip npm "not installed"; finish; }
same "npm install of a local package" 'export npm_config_cache=$HOME/npm npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false
	npm init -y >/dev/null; npm pack --silent ./local; npm install --silent --no-progress --offline ./local-pkg-1.2.3.tgz; node -p "require(\"local-pkg\")"; ls node_modules node_modules/.bin; npx --no-install hello; npm run env 2>/dev/null | grep -c ^PATH='
# From the registry the user has configured, if it can be reached natively.
export_registry="npm_config_registry=$(npm config get registry 2>/dev/null)"
fetch="export $export_registry npm_config_cache=/tmp/npm-\$\$ npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false npm_config_fetch_retries=1
	npm init -y >/dev/null; npm install --silent --no-progress is-number@7.0.0; node -p 'require(\"is-number\")(\"5\")'; ls node_modules; rm -rf \$npm_config_cache"
fresh
limit=40
if [[ $(native bash -c "$fetch" 2>/dev/null) == true* ]]; then
	limit=120
	options=(--net host)
	check "npm install from the registry with --net host" "$fetch" $'true\nis-number'
	registry=$(npm config get registry 2>/dev/null)
	host=${registry#*://}
	host=${host%%/*}
	if [[ ! ${https_proxy-}${HTTPS_PROXY-}${http_proxy-}$(npm config get proxy https-proxy | grep -v null) ]]; then
		options=(--allow "$host")
		check "npm install from the registry, and only from there" "$fetch" $'true\nis-number'
	fi
	options=()
	[[ ${NATIVE-} ]] || check "and without it: no network" "timeout 60 node -e 'require(\"net\").connect(443, \"192.0.2.1\").on(\"error\", e => console.log(e.code))'" ENETUNREACH
else
	skip "npm install from the registry with --net host" "no registry can be reached"
fi
finish
