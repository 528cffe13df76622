/**
 * How `<msao-assistant>` looks: markup and styles of its shadow root. The styles are adopted, not written into the
 * document, so that no policy forbids them.
 */

let sheet;
let template;

export function styles() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}

export function TEMPLATE() {
  if (!template) {
    template = document.createElement("template");
    template.innerHTML = HTML;
  }
  return template;
}

const HTML = `
<form part="form">
  <label for="question">Question</label>
  <textarea id="question" part="question" rows="2" placeholder="Ask about a picture or a sound"></textarea>
  <video part="viewfinder" muted playsinline hidden aria-label="What the camera shows"></video>
  <div part="media"></div>
  <div part="buttons">
    <input type="file" accept="image/*,audio/*" multiple hidden aria-label="Pictures and recordings" />
    <button type="button" part="files">Add files</button>
    <button type="button" part="camera" aria-pressed="false">Camera</button>
    <button type="button" part="microphone" aria-pressed="false">Record</button>
    <button type="button" part="clear" hidden>Remove media</button>
    <button type="submit" part="ask">Ask</button>
    <button type="button" part="stop" hidden>Stop</button>
  </div>
</form>
<p part="status"></p>
<p part="answer" aria-busy="false"></p>
<p part="legend"><span class="token proposed">proposed</span> <span class="token accepted">confirmed</span> <span class="token corrected">corrected</span> <span class="token unverified">this device alone</span></p>
<p part="receipt"></p>
<p class="heard" role="status"></p>
`;

const CSS = `
:host {
  --msao-accent: light-dark(#2457c5, #8fb4ff);
  --msao-line: light-dark(#767b86, #8b93a3);
  --msao-error: light-dark(#a4161a, #ff9a9a);
  color-scheme: light dark;
  display: block;
  max-width: 40rem;
  padding: 1rem;
  border: 1px solid var(--msao-line);
  border-radius: 0.6rem;
  font: 1rem/1.5 system-ui, sans-serif;
  color: light-dark(#14171d, #eceff5);
  background: light-dark(#fff, #171a21);
}
:host([hidden]), [hidden] { display: none !important; }
label { display: block; font-weight: 600; }
textarea { box-sizing: border-box; width: 100%; font: inherit; color: inherit; background: transparent; border: 1px solid var(--msao-line); border-radius: 0.4rem; padding: 0.5rem; resize: vertical; }
video { display: block; width: 100%; max-height: 15rem; margin-block: 0.5rem; background: #000; border-radius: 0.4rem; }
[part=media], [part=buttons] { display: flex; flex-wrap: wrap; gap: 0.5rem; margin-block: 0.5rem; }
canvas { border: 1px solid var(--msao-line); border-radius: 0.3rem; }
button { min-height: 2.5rem; padding: 0.25rem 0.9rem; font: inherit; color: inherit; background: transparent; border: 1px solid var(--msao-line); border-radius: 0.4rem; cursor: pointer; }
button[aria-pressed=true] { border-width: 3px; }
[part=ask], [part=stop] { margin-inline-start: auto; font-weight: 600; border-color: var(--msao-accent); color: var(--msao-accent); }
:focus-visible { outline: 3px solid var(--msao-accent); outline-offset: 2px; }
p { margin: 0.4rem 0 0; min-height: 0; }
[part=answer] { min-height: 1.9em; font-size: 1.2rem; white-space: pre-wrap; }
[part=status], [part=receipt], [part=legend] { font-size: 0.875rem; }
[part=legend] { display: flex; flex-wrap: wrap; gap: 0.9rem; }
.error { color: var(--msao-error); }
.error::before { content: "⚠ "; }
.proposed { font-style: italic; text-decoration: underline dotted; }
.accepted, .written { text-decoration: none; }
.corrected { font-weight: 700; text-decoration: underline double; }
.unverified { text-decoration: underline dashed; }
.heard { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: no-preference) { .proposed { transition: opacity 0.15s; } }
`;
