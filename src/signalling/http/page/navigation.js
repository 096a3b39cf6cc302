// SPDX-License-Identifier: MPL-2.0
// Mouse and keyboard of the player page go to whatever makes the picture. The server puts it into the page, in place of NAVIGATION
// in double braces, where it was told to take them.

const HELD_BACK = 65536; // bytes: a path that is so far behind gets no more movements
const steering = { channel: null, keys: new Map(), moved: null };

function openNavigation(pc) {
  const channel = pc.createDataChannel('input');
  steering.channel = channel;
  channel.onopen = channel.onclose = showSteering;
}

function steers() {
  return steering.channel?.readyState === 'open' && video.videoWidth > 0;
}

/** For style sheets and tests. */
function showSteering() {
  document.body.classList.toggle('steers', steers());
}

function tell(event, what, more) {
  const state = [['shiftKey', 'shift-mask'], ['ctrlKey', 'control-mask'], ['altKey', 'mod1-mask'], ['metaKey', 'super-mask']]
    .filter(([held]) => event[held]).map(([, name]) => name);
  for (const [bit, name] of [[1, 'button1-mask'], [4, 'button2-mask'], [2, 'button3-mask']]) if (event.buttons & bit) state.push(name);
  steering.channel.send(JSON.stringify({ event: what, ...more, modifier_state: state.join('+') }));
}

/** In pixels of the picture, which keeps its shape within the page; null beside it. */
function place(event, anywhere) {
  const box = video.getBoundingClientRect();
  const scale = Math.min(box.width / video.videoWidth, box.height / video.videoHeight);
  const x = (event.clientX - box.left - (box.width - video.videoWidth * scale) / 2) / scale;
  const y = (event.clientY - box.top - (box.height - video.videoHeight * scale) / 2) / scale;
  return anywhere || (x >= 0 && y >= 0 && x <= video.videoWidth && y <= video.videoHeight) ? { x, y } : null;
}

function tellMove() {
  const event = steering.moved;
  steering.moved = null;
  const where = event && steers() && place(event, event.buttons !== 0);
  if (where && steering.channel.bufferedAmount < HELD_BACK) tell(event, 'MouseMove', where);
}

/** GStreamer counts buttons from 1: left, middle, right. */
function press(event, what) {
  const where = steers() && place(event, what === 'MouseButtonRelease');
  if (!where) return;
  if (steering.moved) tellMove();
  event.preventDefault();
  tell(event, what, { button: event.button < 3 ? event.button + 1 : event.button + 5, ...where });
}

function key(event, what) {
  // What goes to the page itself, and what is being composed.
  if (!steers() || event.isComposing || event.target.matches('input, select, button')) return;
  event.preventDefault();
  event.stopPropagation();
  // The name may be another one when it is let go: shift may have been, before.
  const name = what === 'KeyPress' ? event.key : steering.keys.get(event.code) ?? event.key;
  if (what === 'KeyPress') steering.keys.set(event.code, name);
  else steering.keys.delete(event.code);
  tell(event, what, { key: name });
}

video.addEventListener('resize', showSteering);
video.addEventListener('pointermove', (event) => {
  // One a picture is enough.
  if (!steering.moved) requestAnimationFrame(tellMove);
  steering.moved = event;
});
video.addEventListener('pointerdown', (event) => {
  if (steers()) video.setPointerCapture(event.pointerId);
});
// Of a second button that is pressed meanwhile there is no pointerdown.
video.addEventListener('mousedown', (event) => press(event, 'MouseButtonPress'));
video.addEventListener('mouseup', (event) => press(event, 'MouseButtonRelease'));
video.addEventListener('wheel', (event) => {
  const where = steers() && place(event);
  if (!where) return;
  event.preventDefault();
  // Lines and pages in pixels. GStreamer counts upwards and to the left.
  const unit = -[1, 16, video.videoHeight][event.deltaMode];
  tell(event, 'MouseScroll', { ...where, delta_x: unit * event.deltaX, delta_y: unit * event.deltaY });
}, { passive: false });
for (const kind of ['contextmenu', 'dblclick']) {
  video.addEventListener(kind, (event) => {
    if (!steers()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, { capture: true });
}
// Before the page's own keys.
addEventListener('keydown', (event) => key(event, 'KeyPress'), { capture: true });
addEventListener('keyup', (event) => key(event, 'KeyRelease'), { capture: true });
addEventListener('blur', (event) => {
  for (const name of steering.keys.values()) if (steers()) tell(event, 'KeyRelease', { key: name });
  steering.keys.clear();
});
