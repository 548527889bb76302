// Checks every LogQL query of the boards, the rules and the documents: Grafana's own grammar takes it, it is scoped by `env` where
// it is ours, and it names nothing but fields of docs/FIELDS.md (with `_` for `.`), labels of the streams, and what goes with each
// line. Prints what it finds and fails; with --promql it prints the PromQL of the boards instead, as a rule file for promtool.
//
//     cd deploy && npm ci && node check-logql.mjs

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parser } from '@grafana/lezer-logql';
import { parse as parseYaml } from 'yaml';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(ROOT + path, 'utf8');
const list = (folder, end) => readdirSync(ROOT + folder).filter((name) => name.endsWith(end)).sort().map((name) => `${folder}/${name}`);

// Beside the fields: what every line begins with, what the hub adds, labels of streams, structured metadata.
const EVERY_LINE = ['ts', 'run', 'seq', 'event', 'recv', 'runner_name', 'runner_fleet', 'runner_env'];
const LABELS = ['env', 'fleet', 'job', 'os', 'namespace', 'pod', 'container', 'runner', 'boot', 'image'];
const FIELDS = [...read('docs/FIELDS.md').matchAll(/^\| `([a-z0-9_.]+)` \|/gm)].map(([, key]) => key.replaceAll('.', '_'));
const KNOWN = new Set([...EVERY_LINE, ...LABELS, ...FIELDS, '__error__']);

// What Grafana puts in place of its variables, as far as the grammar goes.
const plain = (expr) => expr
  .replaceAll(/\$__auto|\$__range|\$__interval/g, '5m')
  .replaceAll(/\$\{?(env|fleet|runner)\b\}?/g, 'x');

// What is wrong with one query.
function findings(expr, mustBeScoped) {
  const query = plain(expr);
  const found = [];
  if (query.includes('$')) found.push(`a variable that the check does not know: ${query.match(/\$\S*/)[0]}`);
  const name = (node) => query.slice(node.from, node.to);
  const unknown = (key) => KNOWN.has(key) || found.push(`no such field or label: ${key}`);
  parser.parse(query).iterate({
    enter(node) {
      if (node.type.isError) found.push(`no LogQL at ${node.from}: …${query.slice(Math.max(0, node.from - 30), node.to + 10)}…`);
      if (node.name === 'Identifier') unknown(name(node));
      if (node.name === 'Selector' && mustBeScoped && !/\benv(=|=~)"[^"]/.test(name(node))) found.push(`not scoped by env: ${name(node)}`);
      if (node.name === 'String' && ['LineFormatExpr', 'LabelFormatMatcher'].includes(node.node.parent.name)) templateKeys(name(node)).forEach(unknown);
    },
  });
  return found;
}

const templateKeys = (text) => [...text.matchAll(/\{\{.*?\}\}/g)].flatMap(([part]) => [...part.matchAll(/(?<=[ {(])\.([a-z0-9_]+)/g)].map(([, key]) => key));

// Everything below an object or a list, itself first.
function* all(value) {
  if (value === null || typeof value !== 'object') return;
  yield value;
  for (const one of Object.values(value)) yield* all(one);
}

// The queries of a board, each with its kind and what is shown of it.
function* ofBoard(path) {
  for (const one of all(JSON.parse(read(path)))) {
    const shown = [one.legendFormat, one.titleFormat].filter(Boolean).flatMap((text) => [...text.matchAll(/\{\{(.*?)\}\}/g)].map(([, key]) => key));
    const at = `${path}: ${one.title ?? one.name ?? ''} ${one.refId ?? ''}`;
    if (typeof one.expr === 'string') yield { at, kind: one.datasource.type, expr: one.expr, shown };
    if (one.query?.stream) yield { at, kind: one.datasource.type, expr: one.query.stream, shown: [] };
  }
}

function* ofRules(path) {
  for (const group of parseYaml(read(path)).groups) {
    for (const rule of group.rules) {
      const text = Object.values(rule.annotations ?? {}).join(' ');
      const shown = [...text.matchAll(/\$labels\.([a-z_]+)/g)].map(([, key]) => key);
      yield { at: `${path}: ${rule.alert ?? rule.record}`, kind: 'loki', expr: rule.expr, shown, grouped: true };
    }
  }
}

// In a document a query stands in code: from its beginning to the closing quote of a shell, the closing backtick, two spaces or
// the end of the line.
function* ofDocument(path) {
  const code = [...read(path).matchAll(/^ {4}.*$|^```[^]*?^```|`[^`\n]+`/gm)].flatMap(([part]) => part.replaceAll(/^`+|`+$/g, '').split('\n'));
  for (const part of code) {
    const from = part.search(/([a-z_]+ *\()*\{[a-z_]+ *(=|!=|=~|!~) *"/);
    if (from >= 0) yield { at: path, kind: 'loki', expr: part.slice(from).split(/'| {2,}/)[0].trim(), shown: [], isProse: true };
  }
}

const boards = list('deploy/grafana', '.json').flatMap((path) => [...ofBoard(path)]);
if (process.argv.includes('--promql')) {
  const promql = boards.filter(({ kind }) => kind === 'prometheus').map(({ expr }, nth) => ({ record: `board:query:${nth}`, expr: plain(expr) }));
  console.log(JSON.stringify({ groups: [{ name: 'boards', rules: promql }] }));
  process.exit(promql.length ? 0 : 1);
}

const pages = ['README.md', 'deploy/README.md', 'deploy/grafana/README.md', ...list('docs', '.md')];
const documents = pages.filter((path) => existsSync(ROOT + path)).flatMap((path) => [...ofDocument(path)]);
const rules = list('deploy/loki/rules', '.yaml').flatMap((path) => [...ofRules(path)]);
const queries = [...boards, ...rules, ...documents].filter(({ kind }) => kind === 'loki');

// The check itself: each of these is wrong, and a check that takes one is.
const WRONG = ['{env="x"} | logfmt | mem.current > 1', '{env="x"} | logfmt | mem_curent > 1', '{fleet="x"} | logfmt', '{env=""} | logfmt',
  'max_over_time({env="x"} | logfmt | unwrap oom_kil [5m]) by (runner)', 'sum(count_over_time({env="x"}[5m])) by (host)',
  '{env="x"} | logfmt | line_format "{{.mesg}}"', '{env="$environment"}'];
const problems = WRONG.filter((expr) => findings(expr, true).length === 0).map((expr) => `the check takes what is wrong: ${expr}`);

for (const { at, expr, shown, grouped, isProse } of queries) {
  const found = findings(expr, !isProse);
  for (const key of shown) {
    if (!KNOWN.has(key)) found.push(`shows no field or label: ${key}`);
    if (grouped && !new RegExp(`by \\([^)]*\\b${key}\\b`).test(expr)) found.push(`shows ${key}, which its query drops`);
  }
  problems.push(...found.map((one) => `${at}: ${one}`));
}
for (const [what, some] of Object.entries({ boards, rules, documents })) {
  if (some.length === 0) problems.push(`${what}: no query found`);
}
problems.forEach((one) => console.log(one));
console.log(`LogQL: ${queries.length} queries of boards, rules and documents, ${problems.length} findings`);
process.exit(problems.length ? 1 : 0);
