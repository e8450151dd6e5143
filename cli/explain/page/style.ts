/** The look of the page: one set of colours for light and dark, templates by hue, phases by hue of their own. */
export const style = `
:root { color-scheme: light dark; --bg: #fbfbfa; --panel: #ffffff; --ink: #1d2127; --soft: #69717d; --line: #e3e5e8; --hot: #fff1c9; --pin: #ffe08a; --code: #f6f7f8;
  --map: #c98a12; --reduce: #14907f; --gemm: #2f6fd0; --stream: #7d4fc9; --stream-grad: #bf4a90; --scatter: #c9542f; --cumsum: #6d7f2c; --copy: #8b929c;
  --fwd: #5b8fd9; --bwd: #d9874a; --opt: #5aa469; --arg: #b4bac2; }
@media (prefers-color-scheme: dark) { :root { --bg: #15171b; --panel: #1c1f25; --ink: #e4e6ea; --soft: #949ca8; --line: #2f343d; --hot: #3b3520; --pin: #55491d; --code: #20242b;
  --map: #e2ad45; --reduce: #3bbba8; --gemm: #6ba1f2; --stream: #a987ec; --stream-grad: #e17fba; --scatter: #ea8562; --cumsum: #a5b85c; --copy: #949ca8;
  --fwd: #6f9fe6; --bwd: #e39a63; --opt: #74bb83; --arg: #555d69; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 14px/1.45 system-ui, sans-serif; }
header { padding: 18px 24px 10px; }
h1 { font-size: 19px; margin: 0 0 8px; font-weight: 650; letter-spacing: -.01em; }
h1 small { color: var(--soft); font-weight: 400; font-size: 14px; margin-left: 8px; }
h2 { font-size: 13px; margin: 0 0 6px; font-weight: 650; } h2 small { color: var(--soft); font-weight: 400; margin-left: 6px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 0; font-size: 13px; } dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 10px 0 0; font-size: 12px; color: var(--soft); } .legend b { color: var(--ink); font-weight: 600; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px; vertical-align: -1px; }
.strip { padding: 0 24px 12px; } .strip svg { width: 100%; height: 34px; display: block; border-radius: 5px; }
main { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); gap: 14px; padding: 0 24px 24px; align-items: start; }
@media (max-width: 900px) { main { grid-template-columns: minmax(0, 1fr); } .left { position: static !important; max-height: none !important; } }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; margin-bottom: 14px; }
.left { position: sticky; top: 10px; max-height: calc(100vh - 20px); display: flex; flex-direction: column; padding: 10px 0 0; overflow: hidden; }
.tabs { display: flex; flex-wrap: wrap; gap: 2px; padding: 0 10px 6px; border-bottom: 1px solid var(--line); }
.tabs button { border: 0; background: none; color: var(--soft); font: inherit; font-size: 12px; padding: 3px 8px; border-radius: 5px; cursor: pointer; } .tabs button[aria-selected=true] { background: var(--code); color: var(--ink); font-weight: 600; }
.file { overflow: auto; display: none; padding: 6px 0 10px; } .file.on { display: block; }
pre, code, .src { font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.src { white-space: pre; padding-right: 14px; width: max-content; min-width: 100%; } .src span.n { display: inline-block; width: 44px; text-align: right; padding-right: 10px; color: var(--soft); user-select: none; }
.src span.t { display: inline-block; width: 46px; text-align: right; padding-right: 8px; font-size: 10.5px; color: var(--soft); } .src.has { cursor: pointer; box-shadow: inset calc(3px + var(--heat) * 40px) 0 0 -0px transparent; }
.src.has { background: linear-gradient(90deg, color-mix(in srgb, var(--scatter) calc(8% + var(--heat) * 46%), transparent), transparent calc(90px + var(--heat) * 60%)); }
.k { color: var(--stream); } .s { color: var(--reduce); } .c { color: var(--soft); } .m { color: var(--scatter); }
svg text { font: 10.5px system-ui, sans-serif; fill: var(--soft); } svg .grid { stroke: var(--line); } svg [data-l] { cursor: pointer; }
.memory svg { width: 100%; height: auto; display: block; } .memory rect.v { opacity: .82; stroke: var(--panel); stroke-width: .4; } .memory path { fill: none; stroke: var(--ink); stroke-width: 1.2; } .memory text.name { fill: #fff; font-size: 10px; pointer-events: none; }
.status { min-height: 20px; color: var(--soft); font-size: 12px; margin-top: 4px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.rows { display: grid; grid-template-columns: 84px minmax(0, 1fr); } .rows > svg { width: 84px; display: block; } .arc { fill: none; stroke: var(--line); stroke-width: 1.2; } .arc.hot { stroke: var(--gemm); stroke-width: 2; }
.row { height: 24px; display: grid; grid-template-columns: 34px 74px minmax(80px, 1.3fr) minmax(70px, 1fr) minmax(50px, .7fr) 78px; gap: 8px; align-items: center; padding: 0 6px; border-radius: 4px; cursor: pointer; font-size: 12px; white-space: nowrap; }
.row > * { overflow: hidden; text-overflow: ellipsis; } .row .no { color: var(--soft); text-align: right; } .row .scope { color: var(--soft); }
.chip { color: #fff; border-radius: 4px; padding: 0 6px; font-size: 11px; line-height: 18px; text-align: center; } .bar { height: 9px; background: var(--code); border-radius: 3px; } .bar i { display: block; height: 9px; border-radius: 3px; min-width: 1px; } .time { text-align: right; font-variant-numeric: tabular-nums; }
.hot { background-color: var(--hot) !important; } .pin { background-color: var(--pin) !important; } svg .hot { stroke: var(--ink) !important; stroke-width: 1.6 !important; opacity: 1 !important; }
.detail { grid-column: 2; border: 1px solid var(--line); background: var(--code); border-radius: 6px; padding: 10px 12px; margin: 4px 0 8px; overflow: hidden; } .detail pre { overflow: auto; max-height: 340px; margin: 6px 0 10px; } .detail summary { cursor: pointer; font-weight: 600; font-size: 12px; }
.why { margin: 0 0 8px; } .why b { font-weight: 600; } .roof svg, .ranks svg { width: 100%; height: auto; display: block; } ul { margin: 4px 0 0; padding-left: 18px; font-size: 13px; }
.passes { display: flex; flex-wrap: wrap; gap: 4px; font-size: 12px; } .passes span { border: 1px solid var(--line); border-radius: 5px; padding: 1px 7px; } .passes b { font-variant-numeric: tabular-nums; }
`;
