// Full screen of a picture with everything that lies over it. The full screen of a <video> alone has no heat.

import { h } from "./dom.js";

/** A picture's box with a line of tools below it. Its button puts both into full screen, where the browser can. */
export class FullScreen {
  constructor(picture, ...tools) {
    this.button = h("button", { type: "button", class: "fill", onclick: () => this.toggle() }, "Full screen");
    this.tools = h("div", { class: "buttons tools" }, tools, this.button);
    this.picture = picture;
    this.box = h("div", { class: "screen" }, h("div", { class: "stage" }, picture), this.tools);
    this.allow(true);
    this.box.addEventListener("fullscreenchange", () => (this.button.textContent = this.isOn ? "Leave full screen" : "Full screen"));
  }

  get isOn() {
    return document.fullscreenElement === this.box;
  }

  /** Show the button: where there is a picture, and a browser with full screen. */
  allow(isThere) {
    this.button.hidden = !isThere || !document.fullscreenEnabled;
  }

  /** Keep the picture's shape, width / height: everything over it is placed by shares of its box. */
  setShape(shape) {
    this.picture.style.setProperty("--shape", shape);
  }

  /** Add tools before the button. */
  add(...tools) {
    this.button.before(...tools);
  }

  toggle() {
    const done = this.isOn ? document.exitFullscreen() : this.box.requestFullscreen();
    done.catch(() => {}); // a browser may refuse: the page stays as it is
  }
}
