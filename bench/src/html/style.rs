//! The style of a page of reports: light and dark, wide and narrow, colours that the colour-blind
//! can tell apart (Okabe and Ito 2008). Invariant: nothing in it names another file.

/// The style sheet.
pub(super) const STYLE: &str = "
:root{--ink:#1c2430;--soft:#667085;--line:#e4e7ec;--card:#fff;--page:#f5f6f8;--mark:#0072b2;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#e69f00;--c5:#56b4e9;--c6:#7a6ff0;
--c7:#8c8c8c;--good:#00734f;--bad:#b42318;--on:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2c3442;
--card:#171c25;--page:#0f131a;--mark:#56b4e9;--c0:#56b4e9;--good:#3fbf8f;--bad:#f97066;
--on:#0f131a}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 20px}
header{margin:0 0 20px}h1{margin:2px 0;font-size:26px;overflow-wrap:anywhere}
h2{margin:0 0 10px;font-size:16px}
.kind{margin:0;color:var(--mark);font-weight:600;text-transform:uppercase;letter-spacing:.08em;
font-size:12px}
.when,.hint,figcaption span,footer{color:var(--soft);margin:0;font-size:13px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;
margin:0 0 16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:14px;padding:0;
border:0;background:none}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 18px}
.tile b{font-size:28px;font-variant-numeric:tabular-nums}.tile i{font-style:normal;
color:var(--soft)}
.tile span{display:block;color:var(--soft);font-size:13px}
.verdict{border-left:5px solid var(--mark)}.verdict h2{font-size:19px;margin:0}
.verdict p{margin:4px 0}.advice{color:var(--mark)}
.verdict ul{margin:10px 0 0;padding:0;list-style:none;columns:2;color:var(--soft);font-size:13px}
.goals{margin:0;padding:0;list-style:none}.met{color:var(--good)}.missed{color:var(--bad);
font-weight:600}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:12px}
.axis{stroke:var(--line);stroke-width:1}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0 0;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;
vertical-align:-1px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:16px;
margin:12px 0 0}
figure{margin:0}figcaption{font-size:13px;margin:4px 0 0}
table{border-collapse:collapse;width:100%}
td{padding:5px 0;border-bottom:1px solid var(--line)}
td:last-child{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr:last-child td{border-bottom:0}
.bars{display:grid;grid-template-columns:minmax(150px,max-content) 1fr 64px;gap:6px 12px;
align-items:center;font-size:13px;margin:10px 0 0}
.bars div{background:var(--line);border-radius:4px;height:12px;overflow:hidden;position:relative}
.bars div i{position:absolute;left:0;height:100%;background:var(--mark);border-radius:4px}
.bars div .behind{background:var(--soft);opacity:.35}
.bars b{font-weight:400;text-align:right;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}th{text-align:right;font-weight:600;font-size:13px;color:var(--soft);
padding:5px 0 5px 14px}th:first-child,td:first-child{text-align:left;padding-left:0}
td{padding-left:14px}.list td,.list th{text-align:left!important;
white-space:normal}.list th+th{padding-left:14px}
.heat{width:auto;min-width:100%;border-spacing:3px;border-collapse:separate}
.heat th{text-align:center;padding:6px 10px}.heat th[scope=row]{text-align:right}
.heat td{text-align:center;border:0;border-radius:6px;padding:12px 10px;min-width:104px;
background:color-mix(in srgb,var(--mark) var(--fill),var(--card))}
.heat td span{display:block;font-size:12px;opacity:.8}.heat .dark{color:var(--on)}
.heat .none{background:none;color:var(--soft);font-size:12px}.corner{font-weight:400}
.sets .dots{width:280px;text-align:left}.sets td{text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}.sets td:first-child{text-align:left}
.notes ul{margin:0 0 14px;padding-left:18px;color:var(--soft);font-size:13px}
@media(max-width:640px){.verdict ul{columns:1}.bars{grid-template-columns:1fr 1fr 56px}}
";
