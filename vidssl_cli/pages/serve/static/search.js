// The search page. The address is the state: whatever changes it calls `go`, and `show` follows it.
"use strict";

const $ = (id) => document.getElementById(id);
const COUNT = 48, COLOURS = 9, FRAMES = 10;
const FILTERS = ["label", "folder", "name", "shortest", "longest", "where", "lasso"];
const WORDS = [...FILTERS, "copies", "from", "to", "level", "one", "own"];

let state = {}, index = null, hits = [], loading = null, reply = null;

// Ask the server -----------------------------------------------------------------------------

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer; is `vidssl serve` still running?");
  }
  const type = response.headers.get("content-type") || "";
  const found = type.startsWith("application/json") ? await response.json() : { error: await response.text() };
  if (response.ok) return found;
  throw Object.assign(new Error(found.error || response.statusText), { hint: found.hint });
}

const known = new Map(); // id → facts with how it is played
function facts(id) {
  if (!known.has(id)) {
    const found = ask(`/api/video?video=${id}`);
    known.set(id, found);
    found.catch(() => known.delete(id));
  }
  return known.get(id);
}

const still = (id, at) => `/still?video=${id}&at=${at.toFixed(2)}`;

// The address --------------------------------------------------------------------------------

function readAddress() {
  const words = new URLSearchParams(location.search);
  const found = {};
  for (const word of WORDS) if (words.get(word)) found[word] = words.get(word);
  // As it stands: names of files need not be UTF-8, which only the server can decode.
  const video = location.search.match(/[?&]video=([^&]+)/);
  if (video) found.video = video[1];
  return found;
}

function query(of = state) {
  const parts = of.video ? [`video=${of.video}`] : [];
  for (const word of WORDS)
    if (of[word]) parts.push(`${word}=${encodeURIComponent(String(of[word]).toWellFormed()).replaceAll("%2F", "/")}`);
  return parts.join("&");
}

function go(change, { replace = false } = {}) {
  const next = { ...state, ...change };
  const text = query(next);
  if (text === query()) return;
  const address = text ? `/?${text}` : "/";
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  show();
}

const openVideo = (id, moment) =>
  go({ video: id, from: moment && moment[0].toFixed(2), to: moment && moment[1].toFixed(2), level: "", copies: "" });

function show() {
  state = readAddress();
  showFilters();
  showStage();
  search();
  map.draw();
}

// Hits ---------------------------------------------------------------------------------------

async function search() {
  if (loading) loading.abort();
  loading = new AbortController();
  const mine = loading;
  const list = $("hits");
  list.classList.add("stale");
  $("status").textContent = state.video ? "searching …" : "";
  try {
    reply = await ask(`/api/search?${query()}&count=${COUNT}`, { signal: mine.signal });
  } catch (error) {
    if (error.name === "AbortError") return;
    list.replaceChildren();
    hits = [];
    reply = null;
    $("status").textContent = "";
    $("more").textContent = "";
    complain(error);
    if (state.where) openFilters(true);
    list.classList.remove("stale");
    return;
  }
  complain(null);
  hits = [];
  list.replaceChildren();
  list.classList.remove("stale");
  add(reply.hits);
  const searched = Boolean(reply.query), copied = Boolean(state.copies) && !searched;
  $("title").textContent = searched ? `Similar to ${reply.query.name}` : copied ? "Copies" : filtered() ? "Filtered" : "Gallery";
  $("title").title = searched ? reply.query.name : "";
  document.title = `${searched ? reply.query.name : "vidssl"} · ${document.querySelector(".index b").textContent}`;
  $("levels").hidden = !searched;
  for (const button of $("levels").children)
    button.setAttribute("aria-pressed", String(button.dataset.level === reply.level));
  $("command").hidden = !searched;
  if (searched) $("command").children[1].textContent = reply.command;
  showStatus();
  map.draw();
}

function showStatus() {
  if (reply.pending) {
    $("status").textContent = "comparing the videos …";
    const mine = reply;
    setTimeout(() => mine === reply && search(), 1000);
    return;
  }
  if (reply.copies) {
    const { groups, copies, bytes } = reply.copies;
    const many = copies === 1 ? "1 copy" : `${copies.toLocaleString("en")} copies`;
    $("status").textContent = `${plural(groups, "group")}, ${many} of ${(bytes / 1e6).toFixed(1)} MB`;
    return;
  }
  if (!reply.query) {
    $("status").textContent = plural(reply.total, "video");
    return;
  }
  const words = [`${(1000 * reply.seconds).toFixed(0)} ms`];
  if (state.to && reply.span) {
    const [start, end] = reply.span;
    const wider = end - start > state.to - (state.from || 0) + 0.1;
    words.unshift(`seconds ${start.toFixed(1)} to ${end.toFixed(1)}${wider ? ", the clips around it" : ""}`);
  }
  $("status").textContent = words.join(" · ");
}

async function more() {
  if (!reply || !reply.more || reply.pending) return;
  const mine = reply;
  mine.pending = true;
  try {
    const next = await ask(`/api/search?${query()}&count=${COUNT}&offset=${hits.length}`);
    if (mine !== reply) return;
    reply.more = next.more;
    add(next.hits);
  } catch (error) {
    complain(error);
  } finally {
    mine.pending = false;
  }
}

function add(rows) {
  const first = hits.length;
  hits.push(...rows);
  $("hits").append(...rows.map((row, place) => card(row, first + place)));
  $("more").textContent = hits.length ? (reply.more ? "…" : "") : reply.pending ? "" : reply.copies ? "There are no copies." : "Nothing was found. Fewer filters may help.";
  sentinel.unobserve($("more"));
  sentinel.observe($("more"));
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined && text !== null) element.textContent = text;
  return element;
}

const seconds = (value) => (value < 60 ? `${value.toFixed(1)} s` : clock(value));
function clock(value) {
  const whole = Math.floor(value), minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function momentOf(row) {
  return row.start === undefined ? [0, row.duration || 1] : [row.start, row.end];
}

function card(row, place) {
  const box = make("li", "hit");
  box.dataset.place = place;
  const picture = make("button", "picture");
  picture.setAttribute("aria-label", `Play ${row.name}`);
  const moment = momentOf(row);
  if (row.there) {
    const image = make("img");
    image.loading = "lazy";
    image.alt = "";
    image.src = still(row.id, (moment[0] + moment[1]) / 2);
    image.onerror = () => image.replaceWith(make("span", "gone", "This video cannot be shown."));
    picture.append(image);
  } else {
    picture.append(make("span", "gone", "The file is not there."));
  }
  if (row.rank || row.role) picture.append(make("span", "rank", row.rank || `${row.group} ${row.role}`));
  const whole = row.start === undefined || reply.level === "video";
  if (row.duration)
    picture.append(make("span", "long", whole ? seconds(row.duration) : `${clock(row.start)} · ${(row.end - row.start).toFixed(1)} s`));
  box.append(picture);
  if (row.score !== undefined) {
    const bar = make("div", "bar"), filled = make("i");
    filled.style.width = `${100 * Math.max(0, row.score)}%`;
    bar.append(filled);
    box.append(bar);
  }
  const words = make("div", "words"), line = make("div", "line"), file = make("div", "file", row.name);
  line.append(make("b", "", row.label || row.name));
  if (row.score !== undefined) line.append(make("span", "faint", row.score.toFixed(3)));
  file.title = `${row.folder}/${row.name}`;
  words.append(line);
  if (row.label) words.append(file);
  if (row.part) words.append(make("div", "file", row.part));
  box.append(words);
  const actions = make("div", "actions");
  const like = make("button", "", "More like this"), open = make("button", "", "Open");
  like.onclick = () => moreLike(row);
  open.onclick = () => openVideo(row.id);
  actions.append(like);
  if (reply.query) actions.append(open); // without a query both would do the same
  box.append(actions);

  const screen = new Screen(picture, { muted: true });
  let hover = 0;
  const begin = () => screen.play(row, moment);
  picture.onclick = () => (screen.on ? screen.stop() : begin());
  picture.onpointerenter = (event) => {
    if (event.pointerType === "mouse" && row.there && !calm.matches) hover = setTimeout(begin, 350);
  };
  picture.onpointerleave = () => {
    clearTimeout(hover);
    if (hover) screen.stop();
    hover = 0;
  };
  box.onpointerenter = () => map.point(row.item);
  box.onpointerleave = () => map.point(null);
  return box;
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");

function moreLike(row) {
  openVideo(row.id, reply.query && reply.level !== "video" ? [row.start, row.end] : null);
  scrollTo({ top: 0 });
}

// Playing: the file itself, or transcoded parts, or moving pictures ----------------------------

class Screen {
  constructor(box, { muted = false, onTime = () => {}, onState = () => {} } = {}) {
    Object.assign(this, { box, muted, onTime, onState, on: false, run: 0, offset: 0 });
  }

  async play(row, moment, { from = moment[0], loop = true, paused = false } = {}) {
    const run = ++this.run;
    this.clear();
    Object.assign(this, { row, moment, loop, on: !paused });
    this.onState();
    let playback;
    try {
      playback = (await facts(row.id)).playback;
    } catch (error) {
      playback = { way: "none", why: error.message };
    }
    if (run !== this.run) return;
    this.playback = playback;
    this.way = playback.way;
    this.load(from);
  }

  load(at) {
    this.clear();
    const { row } = this;
    if (this.way === "none") {
      this.note(`moving pictures: ${this.playback.why}`, this.playback.why);
      const image = make("img");
      const [start, end] = this.moment;
      image.src = `/moving?video=${row.id}&from=${start.toFixed(2)}&to=${Math.max(end, start + 0.1).toFixed(2)}`;
      image.onerror = () => {
        image.remove();
        this.note("cannot be shown", this.playback.why);
      };
      this.box.append(image);
      this.shown = image;
      return;
    }
    const video = make("video");
    Object.assign(video, { muted: this.muted, playsInline: true, preload: "auto", poster: still(row.id, at) });
    this.offset = this.way === "file" ? 0 : this.begin(at);
    video.src = this.way === "file" ? `/media?video=${row.id}` : this.part(at);
    if (this.way !== "file") this.note("transcoded, without sound", this.playback.why);
    const run = this.run;
    video.onloadedmetadata = () => {
      video.currentTime = Math.max(0, at - this.offset);
      if (this.on) video.play().catch(() => {});
    };
    video.onerror = () => {
      if (run !== this.run) return;
      const before = this.way;
      this.way = before === "file" ? "transcoded" : "none";
      this.playback = { ...this.playback, why: this.playback.why || "this browser does not play the file" };
      this.load(at);
    };
    video.onended = () => this.ended();
    video.onplaying = () => {
      const next = this.offset + video.duration;
      if (this.way !== "file" && next < this.moment[1] - 0.1) fetch(this.part(next)); // so that it is there in time
    };
    video.ontimeupdate = () => this.follow();
    this.box.append(video);
    this.shown = video;
    this.follow();
  }

  begin(at) { // of the part that shows a second
    return Math.max(0, Math.floor(10 * Math.min(at, (this.row.duration || 1) - 0.1)) / 10);
  }

  part(at) {
    return `/part?video=${this.row.id}&at=${this.begin(at)}`;
  }

  follow() {
    const video = this.shown;
    if (!(video instanceof HTMLVideoElement)) return;
    this.onTime(this.time);
    if (this.on && this.loop && this.time >= this.moment[1] - 0.02) this.seek(this.moment[0]);
    cancelAnimationFrame(this.frame);
    if (this.on && !video.paused) this.frame = requestAnimationFrame(() => this.follow());
  }

  ended() { // of the file, or of a part of it
    const next = this.offset + (this.shown.duration || 0);
    if (this.way !== "file" && next < Math.min(this.moment[1], this.row.duration || 0) - 0.1) this.load(next);
    else if (this.loop) this.seek(this.moment[0]);
    else this.pause();
  }

  get time() {
    return this.shown instanceof HTMLVideoElement ? this.offset + this.shown.currentTime : (this.moment?.[0] ?? 0);
  }

  seek(at) {
    if (!(this.shown instanceof HTMLVideoElement)) return;
    const inside = this.way === "file" || (at >= this.offset && at < this.offset + (this.shown.duration || 0));
    if (!inside) return this.load(at);
    this.shown.currentTime = at - this.offset;
    if (this.on && this.shown.paused) this.shown.play().catch(() => {});
    this.onTime(at);
  }

  pause() {
    this.on = false;
    if (this.shown instanceof HTMLVideoElement) this.shown.pause();
    this.onState();
  }

  resume() {
    this.on = true;
    if (this.shown instanceof HTMLVideoElement) this.shown.play().catch(() => {});
    this.onState();
    this.follow();
  }

  stop() {
    this.run++;
    this.on = false;
    this.clear();
    this.onState();
  }

  clear() {
    cancelAnimationFrame(this.frame);
    if (this.shown instanceof HTMLVideoElement) {
      this.shown.onerror = null;
      this.shown.removeAttribute("src");
      this.shown.load();
    }
    this.shown?.remove();
    this.said?.remove();
    this.shown = this.said = null;
  }

  note(text, why) {
    this.said?.remove();
    this.said = make("span", "way", text);
    this.said.title = why || "";
    this.box.append(this.said);
  }
}

// The query: scrub to a moment -----------------------------------------------------------------

const stage = {
  row: null,
  screen: null,

  async load(id) {
    this.id = id;
    $("stage").classList.toggle("loaded", Boolean(id));
    $("player").hidden = !id;
    if (!id) {
      this.row = null;
      this.screen.stop();
      return;
    }
    let row;
    try {
      row = await facts(id);
    } catch (error) {
      if (this.id === id) complain(error);
      return;
    }
    if (this.id !== id) return;
    this.row = row;
    this.length = row.duration || 1;
    $("screen").style.aspectRatio = row.width ? String(Math.min(2.4, Math.max(1.2, row.width / row.height))) : "";
    $("frames").replaceChildren(
      ...Array.from({ length: FRAMES }, (_, number) => {
        const image = make("img");
        image.alt = "";
        image.draggable = false;
        image.src = still(id, ((number + 0.5) * this.length) / FRAMES);
        image.onerror = () => image.remove();
        return image;
      }),
    );
    const about = [row.folder, row.width ? `${row.width}×${row.height}` : "", row.fps ? `${row.fps.toFixed(0)} fps` : "", ...row.problems];
    const name = make("b", "", row.name);
    $("about").replaceChildren(name, make("div", "faint", [row.label, ...about].filter(Boolean).join(" · ")));
    this.showRange();
    this.screen.play(row, this.moment, { paused: true, loop: true });
  },

  get moment() {
    return state.to ? [Number(state.from || 0), Math.min(Number(state.to), this.length)] : [0, this.length];
  },

  showRange([start, end] = this.moment, whole = !state.to) {
    const percent = (at) => `${(100 * Math.min(at, this.length)) / this.length}%`;
    $("range").hidden = whole;
    $("range").style.left = percent(start);
    $("range").style.width = percent(end - start);
    $("before").style.width = whole ? "0" : percent(start);
    $("after").style.width = whole ? "0" : percent(this.length - end);
    $("whole").setAttribute("aria-pressed", String(whole));
    for (const [handle, at] of [["start", start], ["end", end]]) {
      $(handle).setAttribute("aria-valuemin", "0");
      $(handle).setAttribute("aria-valuemax", this.length.toFixed(2));
      $(handle).setAttribute("aria-valuenow", at.toFixed(2));
    }
    this.draft = [start, end];
    $("time").textContent = whole ? `${clock(this.screen.time || 0)} / ${clock(this.length)}` : `${start.toFixed(1)}–${end.toFixed(1)} s`;
  },

  search([start, end]) {
    if (end - start < 0.1) return;
    go({ from: start.toFixed(2), to: end.toFixed(2), level: "" });
  },

  set(edge) {
    if (!this.row) return;
    const at = this.screen.time, [start, end] = this.moment;
    this.search(edge === "start" ? [at, state.to && end > at ? end : this.length] : [state.to && start < at ? start : 0, at]);
  },

  toggle() {
    if (!this.row) return;
    if (this.screen.on) this.screen.pause();
    else if (this.screen.time >= this.moment[1] - 0.05 || this.screen.time < this.moment[0]) {
      this.screen.on = true;
      this.screen.seek(this.moment[0]);
      this.screen.resume();
    } else this.screen.resume();
  },

  drag(event) {
    if (!this.row || event.button > 0) return;
    event.preventDefault();
    const strip = $("strip"), area = strip.getBoundingClientRect();
    const at = (e) => Math.min(1, Math.max(0, (e.clientX - area.left) / area.width)) * this.length;
    const handle = event.target.id === "start" || event.target.id === "end" ? event.target.id : null;
    const [start, end] = this.moment, origin = at(event), x = event.clientX;
    let moved = false;
    strip.setPointerCapture(event.pointerId);
    const range = (now) => {
      if (handle === "start") return [Math.min(now, end - 0.1), end];
      if (handle === "end") return [start, Math.max(now, start + 0.1)];
      return [Math.min(origin, now), Math.max(origin, now)];
    };
    strip.onpointermove = (e) => {
      moved ||= Math.abs(e.clientX - x) > 4;
      if (!moved) return;
      this.showRange(range(at(e)), false);
      this.screen.pause();
      this.screen.seek(at(e));
    };
    strip.onpointerup = strip.onpointercancel = (e) => {
      strip.onpointermove = strip.onpointerup = strip.onpointercancel = null;
      if (e.type === "pointercancel") return this.showRange();
      if (moved) this.search(range(at(e)));
      else if (!handle) this.screen.seek(origin);
      if (moved && this.draft[1] - this.draft[0] < 0.1) this.showRange();
    };
  },
};

function showStage() {
  if (state.video !== stage.id) stage.load(state.video);
  else if (stage.row) {
    stage.showRange();
    stage.screen.moment = stage.moment;
    if (stage.screen.time < stage.moment[0] || stage.screen.time > stage.moment[1]) stage.screen.seek(stage.moment[0]);
  }
}

// Filters --------------------------------------------------------------------------------------

const filtered = () => FILTERS.some((word) => state[word]);

function showFilters() {
  for (const word of ["label", "folder", "shortest", "longest", "where", "name", "one"])
    if (document.activeElement !== $(word)) $(word).value = state[word] || "";
  $("own").checked = state.own === "1";
  $("copies-button").setAttribute("aria-pressed", String(Boolean(state.copies)));
  for (const only of document.querySelectorAll(".searched")) only.hidden = !state.video;
  const told = {
    label: (value) => `label ${value}`, folder: (value) => `in ${value}`, name: (value) => `named “${value}”`,
    shortest: (value) => `${value} s or more`, longest: (value) => `${value} s or less`,
    where: (value) => value, lasso: () => "inside the lasso", one: (value) => `one of each ${value}`, own: () => "also the same video", copies: () => "copies only",
  };
  $("chips").replaceChildren(
    ...Object.keys(told).filter((word) => state[word]).map((word) => {
      const chip = make("button", "", `${told[word](state[word])} ×`);
      chip.title = "Remove";
      chip.onclick = () => go({ [word]: "" });
      return chip;
    }),
  );
}

async function readIndex() {
  index = await ask("/api/index");
  $("counts").textContent = `${plural(index.videos, "video")} · ${plural(index.clips, "clip")}`;
  for (const [id, options] of [["label", index.labels], ["folder", index.folders]]) {
    const select = $(id);
    select.replaceChildren(select.options[0], ...options.map(({ name, shown, count }) => {
      const option = make("option", "", `${shown} (${count})`);
      option.value = name.toWellFormed();
      return option;
    }));
    select.closest("label").hidden = !options.length;
  }
  showFilters();
  map.load();
}

let toasted = null;
async function watch() {
  if (document.hidden || !index) return;
  try {
    const now = await ask(`/api/index?known=${index.generation}`);
    if (now.generation === index.generation || now.generation === toasted) return;
    toasted = now.generation;
    const more = now.videos - index.videos;
    const refresh = make("button", "", "Show");
    refresh.onclick = async () => {
      $("toast").hidden = true;
      known.clear();
      await readIndex();
      search();
    };
    $("toast").replaceChildren(make("span", "", more > 0 ? `${plural(more, "new video")} in the index` : "The index has changed"), refresh);
    $("toast").hidden = false;
  } catch { /* the next look may be answered */ }
}

// Drop a video ---------------------------------------------------------------------------------

function upload(file) {
  const drop = $("drop"), before = [...drop.childNodes];
  if (drop.classList.contains("busy")) return;
  if (index && file.size > index.largest)
    return complain(new Error(`${file.name} is larger than ${(index.largest / 1e6).toFixed(0)} MB; \`vidssl serve --max-upload\` allows more`));
  complain(null);
  const bar = make("progress"), said = make("b", "", `Reading ${file.name}`);
  drop.classList.add("busy");
  drop.replaceChildren(said, bar);
  $("stage").classList.remove("loaded");
  const request = new XMLHttpRequest();
  const done = (error, row) => {
    drop.classList.remove("busy");
    drop.replaceChildren(...before);
    $("file").value = "";
    $("stage").classList.toggle("loaded", Boolean(state.video));
    if (error) complain(error);
    else openVideo(row.id);
  };
  request.open("POST", `/api/uploads?name=${encodeURIComponent(file.name.toWellFormed())}`);
  request.upload.onprogress = (event) => Object.assign(bar, { max: event.total, value: event.loaded });
  request.upload.onload = () => bar.removeAttribute("value");
  request.onerror = () => done(new Error("The video did not arrive; it may be too large, or the server has stopped."));
  request.onload = () => {
    let found;
    try { found = JSON.parse(request.responseText); } catch { found = { error: request.responseText }; }
    if (request.status === 200) done(null, found);
    else done(Object.assign(new Error(`${file.name}: ${found.error}`), { hint: found.hint }));
  };
  request.send(file);
}

function complain(error) {
  $("message").hidden = !error;
  if (error) $("message").replaceChildren(make("span", "", error.message), ...(error.hint ? [make("small", "", error.hint)] : []));
}

// The map: every video a point -----------------------------------------------------------------

const map = {
  count: 0, zoom: 1, left: 0, top: 0, path: null, near: null, pointed: null, mode: "lasso",

  async load() {
    const response = await fetch("/api/map");
    if (!response.ok) return;
    const content = await response.arrayBuffer();
    const n = (this.count = content.byteLength / 10);
    this.x = new Uint16Array(content.slice(0, 2 * n));
    this.y = new Uint16Array(content.slice(2 * n, 4 * n));
    this.labels = new Uint16Array(content.slice(4 * n, 6 * n));
    this.items = new Uint32Array(content.slice(6 * n));
    this.draw();
  },

  // Pixels of the canvas, from places of 0 to 1, and back.
  get size() { return [this.canvas.width, this.canvas.height]; },
  toX(place) { return ((0.04 + 0.92 * place - this.left) * this.zoom) * this.canvas.width; },
  toY(place) { return ((0.04 + 0.92 * place - this.top) * this.zoom) * this.canvas.height; },
  fromX(pixel) { return (pixel / this.canvas.width / this.zoom + this.left - 0.04) / 0.92; },
  fromY(pixel) { return (pixel / this.canvas.height / this.zoom + this.top - 0.04) / 0.92; },

  place(item) { // of an item among all, which ascend
    let low = 0, high = this.count - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.items[middle] === item) return middle;
      if (this.items[middle] < item) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  },

  point(item) {
    this.pointed = item;
    this.draw();
  },

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
    });
  },

  paint() {
    const canvas = this.canvas, scale = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (!width || !this.count) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    context.clearRect(0, 0, width, height);
    const colours = Array.from({ length: COLOURS + 1 }, (_, number) => colour(`c${number}`));
    const searched = Boolean(reply?.query);
    if (this.count > 4000) this.dots(context, colours, scale, searched ? 0.5 : 0.9);
    else {
      context.globalAlpha = searched ? 0.45 : 0.9;
      const radius = (this.count > 500 ? 2.5 : 4) * scale;
      for (let i = 0; i < this.count; i++) {
        context.fillStyle = colours[this.hue(i)];
        context.beginPath();
        context.arc(this.toX(this.x[i] / 65535), this.toY(this.y[i] / 65535), radius, 0, 7);
        context.fill();
      }
    }
    context.globalAlpha = 1;
    const ring = (item, radius, line, name) => {
      const at = item === null || item === undefined ? -1 : this.place(item);
      if (at < 0) return;
      context.beginPath();
      context.arc(this.toX(this.x[at] / 65535), this.toY(this.y[at] / 65535), radius * scale, 0, 7);
      context.fillStyle = colours[this.hue(at)];
      context.fill();
      context.lineWidth = line * scale;
      context.strokeStyle = colour(name);
      context.stroke();
    };
    if (searched) for (const row of hits.slice(0, COUNT).reverse()) ring(row.item, 5, 1.5, "ink");
    ring(reply?.query?.item, 8, 3, "accent");
    ring(this.near, 7, 2, "ink");
    ring(this.pointed, 8, 2.5, "ink");
    const polygon = this.path || (state.lasso || "").split(";").map((corner) => corner.split(",").map(Number));
    if (polygon.length > 1) {
      context.beginPath();
      for (const [x, y] of polygon) context.lineTo(this.toX(x), this.toY(y));
      context.closePath();
      context.lineWidth = 2 * scale;
      context.strokeStyle = context.fillStyle = colour("accent");
      context.stroke();
      context.globalAlpha = 0.1;
      context.fill();
      context.globalAlpha = 1;
    }
  },

  hue(i) { return this.labels[i] ? 1 + ((this.labels[i] - 1) % COLOURS) : 0; },

  dots(context, colours, scale, alpha) { // pixel by pixel: 100,000 circles would take too long
    const [width, height] = this.size, image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const values = colours.map((text) => {
      const number = parseInt(text.slice(1), 16);
      return ((alpha * 255) << 24) | ((number & 255) << 16) | (number & 0xff00) | (number >> 16);
    });
    const side = Math.max(2, Math.round((this.count > 30000 ? 1.5 : 2.5) * scale * Math.min(2, Math.sqrt(this.zoom))));
    for (let i = 0; i < this.count; i++) {
      const left = Math.round(this.toX(this.x[i] / 65535) - side / 2), top = Math.round(this.toY(this.y[i] / 65535) - side / 2);
      if (left < 0 || top < 0 || left + side > width || top + side > height) continue;
      const value = values[this.hue(i)];
      for (let row = top * width + left, down = 0; down < side; down++, row += width) pixels.fill(value, row, row + side);
    }
    context.putImageData(image, 0, 0);
  },

  nearest(x, y, within) {
    let best = -1, least = within * within;
    for (let i = 0; i < this.count; i++) {
      const dx = this.toX(this.x[i] / 65535) - x, dy = this.toY(this.y[i] / 65535) - y;
      const far = dx * dx + dy * dy;
      if (far < least) { least = far; best = i; }
    }
    return best;
  },

  at(event) {
    const area = this.canvas.getBoundingClientRect(), scale = this.canvas.width / area.width;
    return [(event.clientX - area.left) * scale, (event.clientY - area.top) * scale, scale];
  },

  async hover(event) {
    const [x, y, scale] = this.at(event);
    const found = this.nearest(x, y, 10 * scale), item = found < 0 ? null : this.items[found];
    this.canvas.style.cursor = found < 0 ? "" : "pointer";
    if (item === this.near) return;
    this.near = item;
    this.draw();
    $("card").hidden = true;
    if (item === null) return;
    await new Promise((resolve) => setTimeout(resolve, 80));
    if (this.near !== item) return;
    const row = await ask(`/api/video?item=${item}`).catch(() => null);
    if (!row || this.near !== item) return;
    const image = make("img");
    image.alt = "";
    image.src = still(row.id, (row.duration || 0) / 2);
    const words = make("div");
    words.append(make("b", "", row.label || row.name), make("div", "faint", row.label ? row.name : ""));
    const box = $("card"), right = x > this.canvas.width / 2, low = y > this.canvas.height / 2;
    box.replaceChildren(image, words);
    Object.assign(box.style, {
      left: right ? "" : `${x / scale + 12}px`, right: right ? `${(this.canvas.width - x) / scale + 12}px` : "",
      top: low ? "" : `${y / scale}px`, bottom: low ? `${(this.canvas.height - y) / scale}px` : "",
    });
    box.hidden = false;
  },

  async open(event) {
    const [x, y, scale] = this.at(event), found = this.nearest(x, y, 14 * scale);
    if (found < 0) return state.lasso && go({ lasso: "" });
    const row = await ask(`/api/video?item=${this.items[found]}`).catch(complain);
    if (row) openVideo(row.id);
  },

  drag(event) {
    if (event.button > 0 || !this.count) return;
    const canvas = this.canvas, [x0, y0, scale] = this.at(event), { left, top } = this;
    const lasso = this.mode === "lasso";
    let moved = false;
    canvas.setPointerCapture(event.pointerId);
    canvas.onpointermove = (e) => {
      const [x, y] = this.at(e);
      if (!moved && Math.hypot(x - x0, y - y0) < 5 * scale) return;
      $("card").hidden = true;
      if (!moved && lasso) this.path = [[this.fromX(x0), this.fromY(y0)]];
      moved = true;
      if (lasso) this.path.push([this.fromX(x), this.fromY(y)]);
      else {
        this.left = left - (x - x0) / canvas.width / this.zoom;
        this.top = top - (y - y0) / canvas.height / this.zoom;
      }
      this.draw();
    };
    canvas.onpointerup = canvas.onpointercancel = (e) => {
      canvas.onpointerup = canvas.onpointercancel = null;
      canvas.onpointermove = (later) => this.hover(later);
      const path = this.path;
      this.path = null;
      if (e.type === "pointercancel") return this.draw();
      if (!moved) this.open(e);
      else if (lasso && path.length > 2) {
        const step = Math.ceil(path.length / 80);
        go({ lasso: path.filter((_, i) => i % step === 0).map((corner) => corner.map((n) => n.toFixed(3)).join(",")).join(";") });
      }
      this.draw();
    };
  },

  scale(factor, x = 0.5, y = 0.5) {
    const before = this.zoom;
    this.zoom = Math.min(200, Math.max(1, this.zoom * factor));
    this.left += x / before - x / this.zoom;
    this.top += y / before - y / this.zoom;
    if (this.zoom === 1) this.left = this.top = 0;
    this.draw();
  },

  use(mode) {
    this.mode = mode;
    for (const id of ["lasso", "pan"]) $(id).setAttribute("aria-pressed", String(id === mode));
  },
};

// What people do -------------------------------------------------------------------------------

const sentinel = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), { rootMargin: "600px" });

function later(run, wait) {
  let timer = 0;
  return (...words) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...words), wait);
  };
}

function openFilters(open = $("filters").hidden) {
  $("filters").hidden = !open;
  $("filter-button").setAttribute("aria-expanded", String(open));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (state.video) go({ video: "", from: "", to: "", level: "", own: "" });
    return;
  }
  if (typing) return;
  const handle = event.target.id === "start" || event.target.id === "end" ? event.target.id : null;
  if (handle && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
    const step = (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 1 : 0.1), [start, end] = stage.draft;
    const limited = (at) => Math.min(stage.length, Math.max(0, at));
    const range = handle === "start" ? [limited(Math.min(start + step, end - 0.1)), end] : [start, limited(Math.max(end + step, start + 0.1))];
    stage.showRange(range, false);
    stage.screen.seek(range[handle === "start" ? 0 : 1]);
    searchDraft();
    event.preventDefault();
    return;
  }
  const box = event.target.closest?.(".hit"), row = box && hits[box.dataset.place];
  const frame = 1 / (stage.row?.fps || 25);
  const run = {
    "/": () => $("name").focus(),
    "?": () => $("keys").showModal(),
    f: () => { openFilters(); if (!$("filters").hidden) $("label").focus(); },
    u: () => $("file").click(),
    m: row && (() => moreLike(row)),
    o: row && (() => openVideo(row.id)),
    w: () => stage.row && go({ from: "", to: "", level: "" }),
    "[": () => stage.set("start"),
    "]": () => stage.set("end"),
    ",": () => { stage.screen.pause(); stage.screen.seek(Math.max(0, stage.screen.time - frame)); },
    ".": () => { stage.screen.pause(); stage.screen.seek(Math.min(stage.length, stage.screen.time + frame)); },
    " ": !event.target.matches("button, a, [role=slider]") && stage.row && (() => stage.toggle()),
    ArrowRight: () => move(1), ArrowLeft: () => move(-1), ArrowDown: () => move(columns()), ArrowUp: () => move(-columns()),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!run) return;
  event.preventDefault();
  run();
}

const searchDraft = later(() => stage.search(stage.draft), 400);
const columns = () => getComputedStyle($("hits")).gridTemplateColumns.split(" ").length;

function move(by) {
  const pictures = [...$("hits").querySelectorAll(".picture")];
  const now = pictures.indexOf(document.activeElement.closest?.(".hit")?.querySelector(".picture"));
  const next = pictures[now < 0 ? 0 : Math.min(pictures.length - 1, Math.max(0, now + by))];
  next?.focus();
  next?.closest(".hit").scrollIntoView({ block: "nearest" });
}

function start() {
  map.canvas = $("map");
  stage.screen = new Screen($("screen"), {
    onTime: (at) => {
      $("head").style.left = `${(100 * at) / stage.length}%`;
      if (!state.to && !$("strip").onpointermove) $("time").textContent = `${clock(at)} / ${clock(stage.length)}`;
    },
    onState: () => $("play").classList.toggle("on", stage.screen.on),
  });
  $("play").onclick = $("screen").onclick = () => stage.toggle();
  $("strip").onpointerdown = (event) => stage.drag(event);
  $("set-start").onclick = () => stage.set("start");
  $("set-end").onclick = () => stage.set("end");
  $("whole").onclick = () => go({ from: "", to: "", level: "" });
  $("close").onclick = () => go({ video: "", from: "", to: "", level: "", own: "" });
  for (const button of $("levels").children) button.onclick = () => go({ level: button.dataset.level });

  $("copies-button").onclick = () => go({ copies: state.copies ? "" : "1", video: "", from: "", to: "", level: "", own: "" });
  $("filter-button").onclick = () => openFilters();
  $("filters").onsubmit = (event) => event.preventDefault();
  for (const word of ["label", "folder", "shortest", "longest", "where", "one"])
    $(word).onchange = () => go({ [word]: $(word).value });
  $("own").onchange = () => go({ own: $("own").checked ? "1" : "" });
  $("name").oninput = later(() => go({ name: $("name").value.trim() }, { replace: Boolean(state.name) }), 250);
  $("keys-button").onclick = () => $("keys").showModal();
  $("command").children[2].onclick = async (event) => {
    await navigator.clipboard?.writeText($("command").children[1].textContent);
    event.target.textContent = "Copied";
    setTimeout(() => (event.target.textContent = "Copy"), 1500);
  };

  $("file").onchange = () => $("file").files[0] && upload($("file").files[0]);
  $("drop").onkeydown = (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), $("file").click());
  let inside = 0;
  const withFile = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  document.ondragenter = (event) => withFile(event) && ($("over").hidden = !++inside);
  document.ondragleave = (event) => withFile(event) && ($("over").hidden = !--inside);
  document.ondragover = (event) => withFile(event) && event.preventDefault();
  document.ondrop = (event) => {
    inside = 0;
    $("over").hidden = true;
    if (!withFile(event)) return;
    event.preventDefault();
    upload(event.dataTransfer.files[0]);
  };

  const canvas = map.canvas;
  canvas.onpointerdown = (event) => map.drag(event);
  canvas.onpointermove = (event) => map.hover(event);
  canvas.onpointerleave = () => { map.near = null; $("card").hidden = true; map.draw(); };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [x, y] = map.at(event);
    map.scale(Math.exp(-event.deltaY / 300), x / canvas.width, y / canvas.height);
  }, { passive: false });
  $("lasso").onclick = () => map.use("lasso");
  $("pan").onclick = () => map.use("pan");
  $("closer").onclick = () => map.scale(1.6);
  $("farther").onclick = () => map.scale(1 / 1.6);
  $("map-button").onclick = () => {
    const open = document.body.classList.toggle("mapped");
    $("map-button").setAttribute("aria-pressed", String(open));
    map.draw();
    if (open) $("map-box").scrollIntoView({ block: "center" });
  };
  matchMedia("(prefers-color-scheme: dark)").onchange = () => map.draw();
  new ResizeObserver(() => map.draw()).observe(canvas);

  document.addEventListener("keydown", onKey);
  addEventListener("popstate", show);
  document.querySelector(".brand").onclick = (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(Object.fromEntries(["video", ...WORDS].map((word) => [word, ""])));
  };
  show();
  readIndex().catch(complain);
  setInterval(watch, 10000);
}

start();
