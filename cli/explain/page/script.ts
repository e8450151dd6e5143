/**
 * What moves on the page. It is text that runs in a browser alone: everything that can be seen is in the markup already, and this links it.
 * Elements of a launch carry `data-l`; lines of source `data-ls` of those that are mostly theirs, and `data-besides`; details of kernels are in one JSON element.
 */
export const script = `
const data = JSON.parse(document.getElementById('data').textContent);
const all = (q) => [...document.querySelectorAll(q)];
const by = new Map();
const add = (l, e) => { if (!by.has(l)) by.set(l, []); by.get(l).push(e); };
for (const e of all('[data-l]')) add(e.dataset.l, e);
const numbers = (e, keys) => keys.flatMap((k) => (e.dataset[k] || '').split(' ').filter(Boolean));
/* a launch leads to the first of its lines, which is the main one */
for (const key of ['ls', 'besides']) for (const e of all('.src.has')) for (const l of numbers(e, [key])) add(l, e);
for (const e of all('[data-a]')) for (const l of e.dataset.a.split(' ')) add(l, e);
const launchesOf = (e) => { const t = e.closest('[data-l],[data-ls]'); return t ? (t.dataset.l !== undefined ? [t.dataset.l] : numbers(t, ['ls', 'besides'])) : []; };
let marked = [];
const mark = (ls, name) => { for (const l of ls) for (const e of by.get(l) ?? []) { e.classList.add(name); marked.push([e, name]); } };
const status = document.querySelector('.status');
const about = (l) => { const x = data.launches[l]; return x ? '#' + l + ' ' + x.label + (x.scope ? ' in ' + x.scope : '') + ' · ' + x.time + ', bound by ' + x.bound + ' · ends because: ' + x.reason : ''; };
let pinned = [];
const draw = (ls) => { for (const [e, n] of marked) e.classList.remove(n); marked = []; mark(pinned, 'pin'); mark(ls, 'hot'); };
const show = (file) => { for (const e of all('.file')) e.classList.toggle('on', e.id === file); for (const b of all('.tabs button')) b.setAttribute('aria-selected', String(b.dataset.f === file)); };
for (const b of all('.tabs button')) b.onclick = () => show(b.dataset.f);
document.addEventListener('mouseover', (ev) => { const ls = launchesOf(ev.target); draw(ls); const v = ev.target.closest('[data-v]'); status.textContent = v ? v.dataset.v : ls.length === 1 ? about(ls[0]) : ls.length > 1 ? ls.length + ' launches' : ''; });
const text = (title, body, open) => { if (!body) return ''; const d = document.createElement('details'); d.open = open; const s = document.createElement('summary'); s.textContent = title; const p = document.createElement('pre'); p.textContent = body; d.append(s, p); return d; };
const detail = (l) => {
  for (const e of all('.detail')) e.remove();
  const x = data.launches[l], k = data.kernels[x.kernel], row = document.querySelector('.row[data-l="' + l + '"]');
  const box = document.createElement('div'); box.className = 'detail';
  const why = document.createElement('p'); why.className = 'why'; why.innerHTML = x.why;
  box.append(why, text('Nodes of the graph', k.group, true), text('Kernel ' + k.name, k.text, false), text('Source', k.source, false));
  row.after(box); arcs();
};
const line = (l) => { const e = (by.get(l) ?? []).find((e) => e.classList.contains('src')); if (e) { show(e.closest('.file').id); e.scrollIntoView({ block: 'center' }); } };
document.addEventListener('click', (ev) => {
  if (ev.target.closest('.detail,.tabs')) return;
  const ls = launchesOf(ev.target); pinned = ls; draw([]);
  if (ls.length === 0) { for (const e of all('.detail')) e.remove(); arcs(); return; }
  detail(ls[0]); line(ls[0]);
  if (ev.target.closest('.src,.memory,.strip,.roof')) document.querySelector('.row[data-l="' + ls[0] + '"]').scrollIntoView({ block: 'center' });
});
/* arcs from what writes a value to what reads it; rows move when one is opened */
const arcs = () => {
  const svg = document.getElementById('arcs'), rows = all('.row'), top = svg.parentElement.getBoundingClientRect().top;
  const y = new Map(rows.map((r) => [r.dataset.l, r.getBoundingClientRect().top - top + 12]));
  svg.setAttribute('height', svg.parentElement.scrollHeight);
  for (const p of svg.children) { const [a, b] = p.dataset.a.split(' '); const [u, v] = [y.get(a), y.get(b)], w = Math.min(76, 6 + Math.sqrt(v - u) * 3); p.setAttribute('d', 'M84 ' + u + 'C' + (84 - w) + ' ' + u + ' ' + (84 - w) + ' ' + v + ' 84 ' + v); }
};
arcs(); addEventListener('resize', arcs);
`;
